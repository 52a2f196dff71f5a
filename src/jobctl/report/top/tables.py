"""Tables that are brought up to date cell by cell, so that little goes over a slow line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from jobctl.core.eta import seconds_left
from jobctl.durations import age_shown
from jobctl.model.standing import Failure, QueueDepth, Running, Standing, Worker
from jobctl.report.columns import cut
from jobctl.report.standing_items import worker_state
from jobctl.report.units import age_of

_LONGEST_ID, _LONGEST_NAME, _LONGEST_ERROR = 36, 14, 400


class Row(NamedTuple):
    """One row: what it is known by, its cells, and the text that a filter is sought in."""

    key: str
    cells: tuple[str, ...]
    sought: str
    style: str = ""


Columns = Sequence[tuple[str, int | None]]


class LiveTable(DataTable[Text]):
    """Rows by key. What did not change is not drawn again, and the cursor stays on its row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, title: str, columns: Columns, **options: Any) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **options)
        self.border_title = title
        self._titles = columns
        self._shown: dict[str, Row] = {}

    def on_mount(self) -> None:
        """Make the columns; their widths are fixed, so that no change moves the others."""
        for title, width in self._titles:
            self.add_column(Text(title), width=width, key=title)

    @property
    def chosen(self) -> str | None:
        """The key of the row the cursor is on."""
        if not self.row_count:
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows in this order."""
        wanted = {row.key: row for row in rows}
        if list(wanted) == list(self._shown):
            for row in wanted.values():
                self._change(row)
        else:
            self._begin_anew(wanted)
        self._shown = wanted

    def _change(self, row: Row) -> None:
        before = self._shown[row.key]
        for (title, _), new, old in zip(self._titles, row.cells, before.cells, strict=True):
            if new != old or row.style != before.style:
                self.update_cell(row.key, title, _cell(new, row.style))

    def _begin_anew(self, wanted: dict[str, Row]) -> None:
        chosen, index = self.chosen, self.cursor_row
        top = self.scroll_y
        self.clear()
        for row in wanted.values():
            self.add_row(*(_cell(cell, row.style) for cell in row.cells), key=row.key)
        if chosen in wanted:
            index = list(wanted).index(chosen)
        self.move_cursor(row=min(index, max(0, len(wanted) - 1)), scroll=False)
        self.scroll_to(y=top, animate=False, immediate=True)


def _cell(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True)


RUNNING_COLUMNS: Columns = (
    ("job", _LONGEST_ID),
    ("task", 12),
    ("done", 5),
    ("left", 7),
    ("silent", 8),
    ("step", 20),
    ("worker", 36),
)
FAILED_COLUMNS: Columns = (("job", _LONGEST_ID), ("ago", 6), ("code", 12), ("error", 80), ("task", 12))
QUEUE_COLUMNS: Columns = (("queue", 10), ("queued", 7), ("due", 6), ("oldest", 7))
WORKER_COLUMNS: Columns = (("worker", 11), ("state", 8), ("busy", 5), ("beat", 6))
FINDING_COLUMNS: Columns = (("finding", 17), ("count", 5), ("ago", 6))


def running_rows(running: Sequence[Running], standing: Standing, stale_after_s: float) -> list[Row]:
    """The jobs that run; those that gave no sign of life for long are marked."""
    return [_running_row(each, standing.now, stale_after_s) for each in running]


def _running_row(each: Running, now: datetime, stale_after_s: float) -> Row:
    silent_s = (now - each.last_heartbeat).total_seconds() if each.last_heartbeat else None
    # A worker answers for its jobs by a heartbeat of its own.
    is_stale = each.worker is None and silent_s is not None and silent_s > stale_after_s
    left_s = None if is_stale else seconds_left(each.progress, each.started_at, now)
    at = "stopping" if each.cancel_at else each.note or ""
    cells = (
        cut(each.job_id, _LONGEST_ID),
        cut(each.kind, 12),
        "" if each.progress is None else f"{min(100.0, max(0.0, each.progress)):.0f} %",
        "" if left_s is None else f"~{age_shown(left_s)}",
        "" if each.worker else age_of(each.last_heartbeat, now),
        cut(at, 20),
        cut(each.worker or "a service", 36),
    )
    return Row(
        each.job_id, cells, _sought(each.job_id, each.kind, each.queue, at, each.worker), _ill(is_stale)
    )


def failed_rows(failures: Sequence[Failure], standing: Standing) -> list[Row]:
    """The jobs that failed last."""
    return [
        Row(
            each.job_id,
            (
                cut(each.job_id, _LONGEST_ID),
                age_of(each.at, standing.now),
                cut(each.error_code or "", 12),
                cut(each.error or "", _LONGEST_ERROR),
                cut(each.kind, 12),
            ),
            _sought(each.job_id, each.kind, each.error_code, (each.error or "")[:_LONGEST_ERROR]),
        )
        for each in failures
    ]


def queue_rows(queues: Sequence[QueueDepth], standing: Standing) -> list[Row]:
    """The queues, the deepest first."""
    deepest = sorted(queues, key=lambda queue: (-queue.queued, queue.queue))
    return [
        Row(
            each.queue,
            (
                cut(each.queue, 10),
                f"{'≥ ' if each.is_at_least else ''}{each.queued:,}",
                f"{each.due:,}",
                age_of(each.due_since, standing.now),
            ),
            _sought(each.queue),
        )
        for each in deepest
    ]


def worker_rows(workers: Sequence[Worker], standing: Standing) -> list[Row]:
    """The workers, those that are lost first."""
    ordered = sorted(workers, key=lambda each: (not each.is_lost, each.row.worker_id))
    return [
        Row(
            each.row.worker_id,
            (
                cut(each.row.worker_id, 11),
                worker_state(each),
                f"{each.busy}/{each.row.slots}",
                age_of(each.row.seen_at, standing.now),
            ),
            _sought(each.row.worker_id, each.row.executor.host),
            _ill(each.is_lost),
        )
        for each in ordered
    ]


def finding_rows(standing: Standing) -> list[Row]:
    """What the last complete scan of each root found; one line a kind, of all roots together."""
    counts: Counter[str] = Counter()
    seen_at: dict[str, datetime] = {}
    for seen in standing.scans:
        if (at := seen.finished_at) is None:
            continue
        for kind, count in seen.findings.items():
            counts[kind] += count
            seen_at[kind] = min(at, seen_at.get(kind, at))
    return [
        Row(kind, (cut(kind, 17), f"{count:,}", age_of(seen_at[kind], standing.now)), _sought(kind))
        for kind, count in counts.most_common()
    ]


def matching(rows: Sequence[Row], words: str) -> list[Row]:
    """The rows that have these words, in capitals or not."""
    wanted = words.casefold().strip()
    return [row for row in rows if wanted in row.sought]


def _sought(*texts: str | None) -> str:
    return " ".join(text for text in texts if text).casefold()


def _ill(is_ill: bool) -> str:  # noqa: FBT001 - a style by what it is for
    return "bold red" if is_ill else ""
