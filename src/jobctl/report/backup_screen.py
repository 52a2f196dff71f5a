"""Backups and what a restore would do, as JSON and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from jobctl.core.backups import how_to_take_back, taking_back
from jobctl.durations import took_said
from jobctl.model.amounts import counted
from jobctl.model.backup import Backup, Contents, PutBack, RestorePlan
from jobctl.report.columns import Column
from jobctl.report.items import path_fields
from jobctl.report.units import local_time, size_shown

if TYPE_CHECKING:
    from rich.console import RenderableType


class Beside(NamedTuple):
    """One thing told of a backup and of the store that is there now."""

    what: str
    backup: Any
    now: Any


BACKUP_COLUMNS: Sequence[Column[Mapping[str, Any]]] = tuple(
    Column(name=name, value=lambda item, name=name: item[name])  # type: ignore[misc]
    for name in ("path", "bytes", "store_id", "schema", "made_at", "jobs", "events")
)


def backup_item(backup: Backup) -> dict[str, Any]:
    """A backup that was made."""
    return {
        **path_fields(backup.path),
        "kind": backup.kind.value,
        "bytes": backup.size,
        "made_at": backup.made_at,
        "seconds": round(backup.seconds, 3),
        **_contents(backup.contents),
        "removed": list(backup.removed),
    }


def backup_said(backup: Backup) -> str:
    """A backup that was made, in one sentence."""
    held = f"{counted(backup.contents.total, 'job')}, {counted(backup.contents.events, 'event')}"
    gone = f"; removed {counted(len(backup.removed), 'older one')}" if backup.removed else ""
    took = took_said(backup.seconds)
    return f"Backed up {held} to {backup.path} ({size_shown(backup.size)}, checked, in {took}){gone}."


def plan_item(plan: RestorePlan) -> dict[str, Any]:
    """What a restore would do, or did."""
    return {
        **_file_fields(plan.file),
        "kind": plan.kind.value,
        "bytes": plan.size,
        "made_at": plan.made_at,
        "backup": _contents(plan.backup),
        "now": None if plan.now is None else _contents(plan.now),
        "now_said": plan.now_said,
        "lost": None if plan.lost is None else plan.lost._asdict(),
        "kept_as": plan.kept_as,
        "migrates_from": plan.migrates_from,
        "already": None
        if plan.already is None
        else {"at": plan.already[0], **_put_back_item(plan.already[1])},
        "left": [path_fields(path) for path in plan.left],
    }


def run_item(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run, as ``runs`` tells it. ``restored``: the backup that it put in the store's place, if it did."""
    put_back: PutBack | None = run["restored"]
    return {**run, "restored": None if put_back is None else _put_back_item(put_back)}


def _put_back_item(put_back: PutBack) -> dict[str, Any]:
    return {
        **_file_fields(put_back.file),
        "made_at": put_back.made_at,
        "kept_as": put_back.kept_as,
        "take_back": taking_back(put_back),
    }


def put_back_said(put_back: PutBack) -> str:
    """A restore that took place, in one sentence, and what takes it back."""
    made = f" of {local_time(put_back.made_at)}" if put_back.made_at else ""
    return (
        f"It put the backup {put_back.file}{made} in the store's place, which no undo takes back; "
        f"{how_to_take_back(put_back)}."
    )


def put_back_pairs(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same, as ``run_item`` has it, in pairs of a name and a text."""
    return [
        ("backup", item["file"]),
        ("made", local_time(item["made_at"]) if item["made_at"] else ""),
        ("kept as", item["kept_as"] or "there was no store before it"),
        ("take back", item["take_back"] or ""),
    ]


def beside_each_other(plan: RestorePlan) -> list[Beside]:
    """The backup and the store that is there, row by row."""
    backup, now = plan.backup, plan.now
    statuses = dict.fromkeys([*backup.jobs, *(now.jobs if now else ())])
    return [
        Beside("made", plan.made_at, None),
        Beside("store", backup.store_id, now.store_id if now else None),
        Beside("schema", backup.schema, now.schema if now else None),
        Beside("newest event", backup.newest_at, now.newest_at if now else None),
        Beside("events", backup.events, now.events if now else None),
        Beside("jobs", backup.total, now.total if now else None),
        *(
            Beside(f"jobs {status}", backup.jobs.get(status, 0), now.jobs.get(status, 0) if now else None)
            for status in sorted(statuses)
        ),
    ]


def plan_said(plan: RestorePlan) -> Iterator[str]:
    """What a restore would cost and leave, in sentences."""
    if plan.now_said is not None:
        yield f"In the store's place: {plan.now_said}."
    if plan.lost is not None:
        lost = plan.lost
        if not lost.events and not lost.jobs:
            yield "The store knows nothing that the backup does not."
        else:
            changes = f"the later changes of {counted(lost.changed, 'other')}" if lost.changed else ""
            told = ", ".join(
                filter(None, (counted(lost.jobs, "job"), changes, counted(lost.events, "event")))
            )
            yield f"Younger than the backup, and lost to the store: {told}."
    if plan.already is not None:
        yield already_said(*plan.already)
    if plan.migrates_from is not None:
        yield f"Its schema {plan.migrates_from} is brought up to date."
    if plan.kept_as is not None:
        yield f"The store that is there is kept as {plan.kept_as}."
    yield "Nothing is called missing afterwards until a complete recover was applied."
    yield from left_said(plan)


def left_said(plan: RestorePlan) -> Iterator[str]:
    """What restores left that were killed, and who tells what removes it, where there is any."""
    if plan.left:
        copies = counted(len(plan.left), "copy", "copies")
        yield (
            f"Restores that were killed left {copies} of the store, all of which is elsewhere; what removes "
            "them is told by: jobctl doctor --only left-copies"
        )


def already_said(at: datetime, before: PutBack) -> str:
    """That a backup was put back before, in one sentence: what was lost then is in what was kept then."""
    return f"It was put back already on {local_time(at)}; {how_to_take_back(before)}."


def plan_screen(plan: RestorePlan, width: int) -> Iterator[RenderableType]:
    """All of it on a terminal."""
    from jobctl.report.screen import line, table, told  # noqa: PLC0415 - rich is only for terminals

    yield table(BESIDE_COLUMNS, beside_each_other(plan), width)
    yield line("")
    for sentence in plan_said(plan):
        yield told(sentence)


def _file_fields(path: str) -> dict[str, str | None]:
    return {name.replace("path", "file"): value for name, value in path_fields(path).items()}


def _contents(contents: Contents) -> dict[str, Any]:
    return {**contents._asdict(), "jobs": contents.total, "jobs_by_status": dict(contents.jobs)}


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return local_time(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


BESIDE_COLUMNS: Sequence[Column[Beside]] = (
    Column(name="what", title=" ", value=lambda row: row.what, may_wrap=True),
    Column(name="backup", title="the backup", value=lambda row: row.backup, shown=_shown, may_wrap=True),
    Column(name="now", title="the store now", value=lambda row: row.now, shown=_shown, may_wrap=True),
)
