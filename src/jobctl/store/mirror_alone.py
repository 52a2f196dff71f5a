"""A job recorded, or fields of it changed, in a transaction of its own: hot paths of services, so fixed SQL.

Each is one statement on PostgreSQL, and so one round trip. Both do what there nearly always is to do, and
where it is something else nothing: ``store.mirror`` then looks at what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from jobctl.model.job import Job
from jobctl.model.storable import storable_json, storable_text
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.store.engine import Connection, Store
from jobctl.store.enqueue import payload_text
from jobctl.store.mirror import Whole, highest_progress
from jobctl.store.statements import run_plain

T = TypeVar("T")
_MOMENTS = frozenset({"created_at", "completed_at", "last_heartbeat"})
_LIST = "created_files"
_OF_A_SERVICE = (
    "progress",
    "error",
    "video_url",
    "thumbnail_url",
    "slide_image_path",
    "completed_at",
    "last_heartbeat",
    _LIST,
    "max_progress",
)
"""What a service may say of a new job, beside its id, kind and the moment it was created."""
_NEW = ("job_id", "kind", *_OF_A_SERVICE, "created_at")
_COLUMNS = f"{', '.join(_NEW)}, updated_at, status, queue, origin"

_JOB = f"""
INSERT INTO job ({_COLUMNS}) VALUES ({", ".join("?" * len(_NEW))}, ?, 'queued', 'default', 'created')
ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of our own
_BODY = "INSERT INTO job_body (job_id, payload) VALUES (?, ?)"
_REBORN = "UPDATE tombstone SET closed_at = ? WHERE job_id = ? AND closed_at IS NULL"
_EVENT = "INSERT INTO event (job_id, at, kind, actor, to_status) VALUES (?, ?, 'created', ?, 'queued')"

_ALL = f"""
WITH made AS (
    INSERT INTO jobctl.job ({_COLUMNS})
    VALUES ({", ".join("%s::jsonb" if name == _LIST else "%s" for name in _NEW[:-1])},
        coalesce(%s::timestamptz, now()), now(), 'queued', 'default', 'created')
    ON CONFLICT DO NOTHING
    RETURNING job_id, created_at, updated_at
),
kept AS (
    INSERT INTO jobctl.job_body (job_id, payload)
    SELECT made.job_id, given.payload FROM made, (SELECT %s::jsonb) AS given (payload)
    WHERE given.payload IS NOT NULL
),
reborn AS (
    UPDATE jobctl.tombstone AS t SET closed_at = now() FROM made
    WHERE t.job_id = made.job_id AND t.closed_at IS NULL
),
told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, to_status)
    SELECT job_id, updated_at, 'created', %s, 'queued' FROM made
)
SELECT created_at, updated_at FROM made
"""  # noqa: S608 - names of our own


class Seen(NamedTuple):
    """A record as who writes to it knows it. ``fields``: those he knows of, all of which he is told anew."""

    job_id: str
    version: int
    updated_at: datetime
    fields: Mapping[str, Any]


class Written(NamedTuple):
    """What a record says of these fields once it was written, and when that was by the store's clock."""

    fields: Mapping[str, Any]
    updated_at: datetime


def create_alone(
    store: Store,
    job_id: str,
    kind: str,
    fields: Mapping[str, Any],
    payload: Mapping[str, Any],
    *,
    actor: str,
    patience_s: float | None = None,
) -> Whole | None:
    """Record a queued job, and close a tombstone of its id; ``None`` where something stands in its way.

    ``patience_s`` as of ``Store.write``. Raises ``ValueError`` for a payload that is no JSON.
    """
    said = {name: storable_json(value) for name, value in fields.items()}
    new = Job(job_id=storable_text(job_id), kind=storable_text(kind), **said)
    new.max_progress = highest_progress(None, fields)
    kept = storable_json(payload)
    text = payload_text(kept) if kept else None
    is_postgresql = store.dialect.name == "postgresql"
    row = [_put(name, getattr(new, name), is_postgresql=is_postgresql) for name in _NEW]

    def statement(connection: Connection) -> tuple[Any, Any] | None:
        if is_postgresql:
            return run_plain(connection, _ALL, [*row, text, actor]).fetchone()  # type: ignore[no-any-return]
        return _create(connection, row, text, actor, format_timestamp(store.now(connection)))

    moments = _alone(store, statement, patience_s)
    if moments is None:
        return None
    new.created_at, new.updated_at = map(_moment, moments)
    return Whole(new, kept)


def _create(
    connection: Connection, row: list[Any], payload: str | None, actor: str, stamp: str
) -> tuple[str, str] | None:
    """Write the rows of a new job on SQLite; when it was created and written, unless its id is taken."""
    job_id, *_, created_at = row
    if run_plain(connection, _JOB, [*row[:-1], created_at or stamp, stamp]).rowcount != 1:
        return None
    if payload is not None:
        run_plain(connection, _BODY, (job_id, payload))
    run_plain(connection, _REBORN, (stamp, job_id))
    run_plain(connection, _EVENT, (job_id, stamp, actor))
    return created_at or stamp, stamp


def change_alone(
    store: Store, seen: Seen, changes: Mapping[str, Any], *, beats: bool, patience_s: float | None = None
) -> Written | None:
    """Write fields of a job other than its status; ``None``, and nothing is written, unless it is as seen.

    What changes without a new version, as a heartbeat does, may be another one where it is not written.
    ``beats``: with a sign of life. ``patience_s`` as of ``Store.write``.
    """
    is_postgresql = store.dialect.name == "postgresql"
    names, known = tuple(changes), tuple(seen.fields)
    put = [_put(name, storable_json(value), is_postgresql=is_postgresql) for name, value in changes.items()]
    reported = highest_progress(None, changes)
    if reported is not None:
        put.append(reported)
    sql = _update(names, known, reports=reported is not None, beats=beats, is_postgresql=is_postgresql)
    guard = [_put(name, seen.fields[name], is_postgresql=is_postgresql) for name in names]
    seen_at = seen.updated_at if is_postgresql else format_timestamp(seen.updated_at)
    found = [storable_text(seen.job_id), seen.version, seen_at, *guard]

    def statement(connection: Connection) -> Any:
        stamps = [] if is_postgresql else [format_timestamp(store.now(connection))] * (1 + beats)
        return run_plain(connection, sql, [*put, *stamps, *found]).fetchone()

    row = _alone(store, statement, patience_s)
    if row is None:
        return None
    *told, at = row
    return Written(dict(zip(known, map(_got, known, told), strict=True)), _moment(at))


def _alone(store: Store, statement: Callable[[Connection], T], patience_s: float | None) -> T:
    if store.dialect.name == "postgresql" and patience_s is None:
        return store.write_at_once(statement)
    with store.write(patience_s=patience_s) as connection:
        return statement(connection)


@lru_cache(maxsize=200)
def _update(
    names: tuple[str, ...], known: tuple[str, ...], *, reports: bool, beats: bool, is_postgresql: bool
) -> str:
    """The statement that changes some fields, and tells all that are known."""
    table, mark, now = ("jobctl.job", "%s", "now()") if is_postgresql else ("job", "?", "?")
    is_same, most = ("IS NOT DISTINCT FROM", "greatest") if is_postgresql else ("IS", "max")
    put = [f"{name} = {_mark(name, mark)}" for name in names]
    if reports:
        put.append(f"max_progress = {most}(coalesce(max_progress, 0.0), {mark})")
    if beats:
        put.append(f"last_heartbeat = {now}")
    put.append(f"version = version + 1, updated_at = {now}")
    as_seen = [f"{name} = {mark}" for name in ("job_id", "version", "updated_at")]
    as_seen += [f"{_column(name)} {is_same} {_mark(name, mark)}" for name in names]
    told = ", ".join([*known, "updated_at"])
    return f"UPDATE {table} SET {', '.join(put)} WHERE {' AND '.join(as_seen)} RETURNING {told}"  # noqa: S608 - our own


def _mark(name: str, mark: str) -> str:
    return f"{mark}::jsonb" if name == _LIST and mark == "%s" else mark


def _column(name: str) -> str:
    # Nothing said of files is no files.
    return f"coalesce({name}, '[]')" if name == _LIST else name


def _put(name: str, value: Any, *, is_postgresql: bool) -> Any:
    """A field's value as the driver takes it."""
    if name == _LIST:
        return json.dumps(value)
    if name in _MOMENTS and not is_postgresql and value is not None:
        return format_timestamp(value)
    return value


def _got(name: str, value: Any) -> Any:
    """A field's value as the driver gives it."""
    if name == _LIST:
        return (json.loads(value) if type(value) is str else value) or []
    return _moment(value) if name in _MOMENTS and value is not None else value


def _moment(value: Any) -> datetime:
    return parse_timestamp(value) if type(value) is str else value.astimezone(UTC)
