"""Backups: how their files are named, which of them may go, and which may be put back. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from jobctl.model.backup import BackupKind, Contents, PutBack
from jobctl.model.commands import shell_word

_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"jobctl-(?P<store_id>[0-9a-f]{16})-(?P<stamp>\d{8}T\d{6}\.\d{6}Z)(?P<suffix>\.db|\.dump)")
_PART = re.compile(r"\.(?P<name>jobctl-.*)\.part(?:-journal|-wal|-shm)?")
_KEPT = re.compile(r"(?P<store>.+)\.before-(?P<stamp>\d{8}T\d{6}\.\d{6}Z)")


class BackupName(NamedTuple):
    """What the name of a backup tells. Names of one store sort by the moment they were made."""

    store_id: str
    made_at: datetime
    kind: BackupKind

    def __str__(self) -> str:
        return f"jobctl-{self.store_id}-{stamp(self.made_at)}{self.kind.suffix}"

    @property
    def part(self) -> str:
        """What the file is called until it is whole."""
        return f".{self}.part"


def stamp(moment: datetime) -> str:
    """A moment as part of a file's name: text order is time order."""
    return moment.astimezone(UTC).strftime(_STAMP)


def parse_name(name: str) -> BackupName | None:
    """What a file's name tells of a backup; ``None`` for every other name."""
    match = _NAME.fullmatch(name)
    moment = _moment(match["stamp"]) if match else None
    if match is None or moment is None:
        return None
    kind = next(kind for kind in BackupKind if kind.suffix == match["suffix"])
    return BackupName(match["store_id"], moment, kind)


def parse_part(name: str) -> BackupName | None:
    """What the name of a file tells that is, or was, being made; ``None`` for every other name."""
    match = _PART.fullmatch(name)
    return parse_name(match["name"]) if match else None


def made_at(name: str) -> datetime | None:
    """When a file was made that is a backup, or a store that a restore moved aside, by its name."""
    parsed = parse_name(name)
    if parsed is not None:
        return parsed.made_at
    match = _KEPT.fullmatch(name)
    return _moment(match["stamp"]) if match else None


def kept_name(name: str, at: datetime) -> str:
    """What the store called ``name`` is called once another was put in its place."""
    return f"{name}.before-{stamp(at)}"


def is_kept(name: str, *, store: str) -> bool:
    """Whether this is what a store, a file called ``store``, is called once another was put in its place."""
    match = _KEPT.fullmatch(name)
    return match is not None and match["store"] == store and _moment(match["stamp"]) is not None


def kept_schema(schema: str, at: datetime) -> str:
    """The same for a schema of PostgreSQL, whose names are shorter and plainer."""
    return f"{schema}_before_{at.astimezone(UTC):%Y%m%d_%H%M%S_%f}"


def taking_back(put_back: PutBack) -> str | None:
    """The commands by which the store that a restore kept is in its place again, if there are any."""
    kept = put_back.kept_as
    if kept is None or not put_back.was_sound:
        return None
    if put_back.kind is BackupKind.SQLITE:
        return f"jobctl restore {shell_word(kept)}"
    schema = kept.partition("_before_")[0]
    aside = f"ALTER SCHEMA {schema} RENAME TO {kept.replace('_before_', '_after_')}"
    back = f"ALTER SCHEMA {kept} RENAME TO {schema}"
    return f"psql DATABASE -1 -c '{aside}' -c '{back}'; for each root: jobctl root adopt DIR"


def how_to_take_back(put_back: PutBack) -> str:
    """What to do to have the store again that a restore kept."""
    if put_back.kept_as is None:
        return "there was no store before it: nothing was kept"
    kept, commands = f"the store before it is kept as {put_back.kept_as}", taking_back(put_back)
    if commands is None:
        return f"{kept}, where it could not be read"
    return f"{kept}; end all workers, and put it back: {commands}"


def newest_first(names: Sequence[str], store_id: str, kind: BackupKind) -> list[str]:
    """The names among these that say they are backups of this store, the newest first."""
    parsed = [found for found in map(parse_name, names) if found and found[::2] == (store_id, kind)]
    return [str(each) for each in sorted(parsed, key=lambda each: each.made_at, reverse=True)]


def why_not(
    backup: Contents, *, store_id: str | None, versions: Sequence[str], program: str
) -> tuple[str, str] | None:
    """Why a backup may not be put in the place of a store, and what to do; ``None`` where it may.

    ``store_id``: of the store that is there, if that can be read. ``versions``: the schemas that
    this ``program`` knows, oldest first.
    """
    if store_id is not None and backup.store_id != store_id:
        return (
            f"it is of the store {backup.store_id}, and here is the store {store_id}",
            "name its own place with --database, or move the store that is here away first",
        )
    if backup.schema not in versions:
        return (
            f"it has schema {backup.schema}, this jobctl ({program}) knows none after {versions[-1]}",
            "install the version of jobctl that made it",
        )
    return None


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
