"""How a store stands, on one screen: what is not well first, each with what to run, then the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jobctl.core.health.standing import headline
from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.finding import FindingKind
from jobctl.model.names import to_shown
from jobctl.model.standing import Changes, QueueDepth, RootRoom, ScanSeen, Standing
from jobctl.model.status import Status
from jobctl.report.columns import cut
from jobctl.report.screen import Place
from jobctl.report.standing_items import found_by
from jobctl.report.trouble_rows import HEALTH_STYLES, commands_below, fitting, lines_of, trouble_rows
from jobctl.report.units import age_of, size_shown

_GAP = (0, 2, 0, 0)
_NAMES = 12
_LINES_A_ROOT = 7
_LINES_A_TROUBLE = 3
_FEWEST_TROUBLES = 2
_MOST_QUEUES = 6
_COMMANDS = ("recover", "expire", "cleanup", "backup")
_ALWAYS = (Status.QUEUED, Status.PROCESSING, Status.COMPLETED, Status.FAILED)


def standing_screen(
    found: Standing, *, width: int, height: int, place: Place, is_whole: bool = False
) -> Iterator[RenderableType]:
    """One screen. ``is_whole``: with every trouble; else the command is named that tells them."""
    head = _headline(found, width)
    rows = list(_rows(found, max(1, height // _LINES_A_ROOT), place))
    left = height - 1 - lines_of(head, width) - 1
    needed = sum(lines_of(words, width - _NAMES) for _, words in rows)
    if not is_whole and left - needed < _FEWEST_TROUBLES * _LINES_A_TROUBLE * bool(found.troubles):
        # What is not well comes first: of the numbers each has one line then.
        for _, words in rows:
            words.no_wrap, words.overflow = True, "ellipsis"
        needed = len(rows)
    shown = found.troubles if is_whole else fitting(found.troubles, width, left - needed)
    yield head
    yield from trouble_rows(shown, width, is_whole=is_whole)
    if len(shown) < len(found.troubles):
        yield from _further(len(found.troubles) - len(shown), place("jobctl status --verbose"), width)
    yield Text()
    yield _numbers(rows)


def _headline(found: Standing, width: int) -> Text:
    return Text(cut(headline(found.troubles), 2 * width - 20), HEALTH_STYLES[found.health])


def _further(number: int, all_of_it: str, width: int) -> Iterator[Text]:
    """That there is more than has room, and what tells it."""
    said = f"  … {number:,} more: "
    if len(said) + len(all_of_it) <= width:
        yield Text(to_shown(f"{said}{all_of_it}"), "dim")
        return
    yield Text(said.rstrip(), "dim")
    yield from commands_below(all_of_it, width)


def _numbers(rows: list[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=_GAP)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, words in rows:
        grid.add_row(Text(name), words)
    return grid


def _rows(found: Standing, most_roots: int, place: Place) -> Iterator[tuple[str, Text]]:
    yield "jobs", jobs_line(found)
    yield "oldest", _oldest(found)
    if len(found.queues) > 1:
        yield "queues", _queues(found.queues)
    yield "heartbeats", _heartbeats(found)
    yield "workers", workers_line(found)
    yield "last runs", _last_runs(found)
    roots = list(zip(found.rooms, found.scans, strict=True))
    for room, scan in roots[:most_roots]:
        yield "root", root_line(room, scan, found)
    if len(roots) > most_roots:
        more = place(f"{len(roots) - most_roots:,} more: jobctl root list")
        yield "roots", Text(to_shown(more), "dim")
    if not roots:
        yield "root", Text(to_shown(place("none is registered: jobctl init --root DIR")), "yellow")


def jobs_line(found: Standing) -> Text:
    """How many jobs have each status, and how that changed of late."""
    parts = Text()
    for status in Status:
        count, change = found.jobs.get(status, 0), found.changes.net.get(status, 0)
        if count or change or status in _ALWAYS:
            parts.append(", " if parts else "").append(f"{count:,} {status.value}")
            if change:
                parts.append(f" ({change:+,})", "dim")
    if any(found.changes.net.values()):
        parts.append(f"; changes within {_window(found.changes, found)}", "dim")
    if found.uncounted:
        parts.append(
            f"; without the last {counted(found.uncounted, 'change')}, added up bit by bit", "yellow"
        )
    return parts


def _window(changes: Changes, found: Standing) -> str:
    return _since(changes.since, found)


def _since(moment: datetime | None, found: Standing) -> str:
    """How long ago that was, in a sentence."""
    return "" if moment is None else age_said((found.now - moment).total_seconds())


def _oldest(found: Standing) -> Text:
    waiting = [queue for queue in found.queues if queue.due_since is not None]
    if not waiting:
        return Text("no job waits", "dim")
    oldest = min(waiting, key=lambda queue: (queue.due_since, queue.queue))
    waits = _since(oldest.due_since, found)
    return Text(cut(f"{oldest.oldest_job} has been due for {waits} in {oldest.queue}", 200))


def _queues(queues: list[QueueDepth]) -> Text:
    deepest = sorted(queues, key=lambda queue: (-queue.queued, queue.queue))
    parts = Text()
    for queue in deepest[:_MOST_QUEUES]:
        most = "≥ " if queue.is_at_least else ""
        waits = "" if queue.due == queue.queued else f" ({queue.due:,} due)"
        parts.append(", " if parts else "").append(f"{cut(queue.queue, 40)} {most}{queue.queued:,}{waits}")
    if len(queues) > _MOST_QUEUES:
        parts.append(f", {len(queues) - _MOST_QUEUES:,} more", "dim")
    return parts


def _heartbeats(found: Standing) -> Text:
    silent = found.silent
    if not silent.jobs:
        return Text("none stale", "dim")
    most = "at least " if silent.is_at_least else ""
    words = f"{most}{silent.jobs:,} stale, {silent.job_id} for {_since(silent.since, found)}"
    return Text(cut(words, 200), "yellow")


def workers_line(found: Standing) -> Text:
    """How many workers run, how busy they are, and how many are lost."""
    alive = [each for each in found.workers if not each.is_lost]
    lost = len(found.workers) - len(alive)
    if not found.workers:
        return Text("none runs", "dim")
    slots = sum(each.row.slots for each in alive)
    parts = Text(f"{len(alive):,} alive, {sum(each.busy for each in alive):,} of {slots:,} slots busy")
    if lost:
        parts.append(f", {lost:,} lost", "bold red")
    return parts


def _last_runs(found: Standing) -> Text:
    newest = {run.command: run for run in sorted(found.last_runs, key=lambda run: run.finished_at)}
    scanned = [seen.finished_at for seen in found.scans if seen.finished_at]
    parts = Text("scan ").append(f"{age_of(max(scanned), found.now)} ago" if scanned else "never")
    for command in (*_COMMANDS, *(name for name in sorted(newest) if name not in _COMMANDS)):
        run = newest.get(command)
        parts.append(f", {cut(command, 30)} ")
        if run is None:
            parts.append("never", "dim")
        else:
            how = f" exit {run.exit_code}" if run.exit_code else ""
            parts.append(f"{age_of(run.finished_at, found.now)} ago{how}", "yellow" if how else "")
    return parts


def root_line(room: RootRoom, scan: ScanSeen, found: Standing) -> Text:
    """Room and findings below one root."""
    parts = Text(cut(room.path, 120)).append(": ")
    if room.now is None:
        parts.append(cut(room.trouble or "on another host", 80), "magenta")
    else:
        share = room.now.bytes_free / max(1, room.now.bytes)
        parts.append(
            f"{size_shown(room.now.bytes_free)} free of {size_shown(room.now.bytes)}, {100 * share:.0f} %"
        )
    parts.append("; ").append(_findings(scan, found))
    if scan.suspended_at is not None:
        parts.append(f"; nothing called missing for {_since(scan.suspended_at, found)}", "yellow")
    return parts.append(f"; {_until_full(room)}", "dim" if room.outlook.days is None else "")


def _until_full(room: RootRoom) -> str:
    said = room.outlook.said
    return f"how long it lasts is {said}" if said.startswith("unknown") else said


def _findings(scan: ScanSeen, found: Standing) -> Text:
    if scan.finished_at is None:
        return Text("never scanned in full", "yellow")
    orphaned, broken = (
        found_by(scan, kind) or 0 for kind in (FindingKind.ORPHAN_VIDEO, FindingKind.BROKEN_VIDEO)
    )
    words = f"{orphaned:,} orphaned, {broken:,} broken {age_of(scan.finished_at, found.now)} ago"
    if scan.is_outdated:
        return Text(f"{words}, before a run changed that", "dim")
    return Text(words, "yellow" if orphaned or broken else "")
