"""The run by which a backup took a store's place: told in the store that it became."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from jobctl.model.backup import BackupKind, PutBack
from jobctl.model.names import from_stored, to_stored
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.store import lastruns
from jobctl.store.engine import Connection
from jobctl.store.schema import run
from jobctl.store.statements import put_rows

COMMAND = "restore"
_BACKUP = "backup"
_KEY = "restored"


class Doer(NamedTuple):
    """Who puts a backup back, on which host, and as which run."""

    run_id: str
    actor: str
    host: str


def record(
    connection: Connection,
    doer: Doer,
    put_back: PutBack,
    *,
    generations: Mapping[str, int],
    counts: Mapping[str, int],
    at: datetime,
) -> None:
    """Journal a restore, and how ``backup`` and ``restore`` ended last; told again, it is replaced."""
    header = {"command": COMMAND, "roots": dict(generations), _KEY: _to_json(put_back)}
    values = {
        "run_id": doer.run_id,
        "command": COMMAND,
        "state": "finished",
        "actor": doer.actor,
        "host": doer.host,
        "header": header,
        "generations": dict(generations),
        "counts": dict(counts),
        "exit_code": 0,
        "actions": 0,
        "started_at": at,
        "finished_at": at,
    }
    put_rows(connection, run, [values])
    _record_success(connection, COMMAND, doer.host, at)
    # The backup's own records are older than the backup.
    if put_back.made_at is not None:
        _record_success(connection, _BACKUP, doer.host, put_back.made_at)


def _record_success(connection: Connection, command: str, host: str, ended: datetime) -> None:
    lastruns.record(
        connection,
        command=command,
        host=host,
        started_at=ended,
        finished_at=ended,
        exit_code=0,
        error=None,
        succeeded=True,
    )


def newest(connection: Connection) -> tuple[datetime, PutBack] | None:
    """The last restore of all, and when it took place."""
    mine = run.c.command == COMMAND
    latest = select(run.c.started_at, run.c.header).where(mine).order_by(run.c.started_at.desc()).limit(1)
    row = connection.execute(latest).one_or_none()
    put_back = None if row is None else put_back_of(row.header)
    return None if row is None or put_back is None else (row.started_at, put_back)


def all_kept(connection: Connection) -> list[str]:
    """What the stores are kept as that restores replaced, as far as this one's journal tells."""
    headers = connection.execute(select(run.c.header).where(run.c.command == COMMAND)).scalars()
    told = filter(None, map(put_back_of, headers))
    return [put_back.kept_as for put_back in told if put_back.kept_as is not None]


def put_back_of(header: Mapping[str, Any] | None) -> PutBack | None:
    """What the header of a run tells of a restore; ``None`` for every other run."""
    told = (header or {}).get(_KEY)
    return None if told is None else _from_json(told)


def _to_json(put_back: PutBack) -> dict[str, Any]:
    return {
        "file": to_stored(put_back.file),
        "kind": put_back.kind.value,
        "made_at": format_timestamp(put_back.made_at) if put_back.made_at else None,
        "kept_as": None if put_back.kept_as is None else to_stored(put_back.kept_as),
        "was_sound": put_back.was_sound,
    }


def _from_json(told: Mapping[str, Any]) -> PutBack:
    return PutBack(
        file=from_stored(told["file"]),
        kind=BackupKind(told["kind"]),
        made_at=parse_timestamp(told["made_at"]) if told["made_at"] else None,
        kept_as=None if told["kept_as"] is None else from_stored(told["kept_as"]),
        was_sound=told["was_sound"],
    )
