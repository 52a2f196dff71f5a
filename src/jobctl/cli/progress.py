"""Progress bars on stderr: how far, how fast, how long yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from jobctl import clock

if TYPE_CHECKING:
    from jobctl.ops.site import Progress, ProgressSink

_REDRAW_S = 0.1
PHASES = {
    "read": "reading logs, MiB",
    "evidence": "reading other tables",
    "import": "reading the dump",
    "export": "writing",
    "remote": "asking the renderer",
    "download": "downloading, MiB",
    "walk": "looking for files",
    "check": "checking videos",
    "reconcile": "comparing",
    "hash": "comparing bytes, MiB",
    "measure": "reading videos",
    "compare": "comparing journal, disk and store",
    "expire": "judging jobs that ended",
    "purge": "looking at what is in quarantine",
    "apply": "applying",
    "copy": "copying, pages",
    "dump": "pg_dump writes",
    "verify": "reading the copy",
    "keep": "keeping the store that is there, pages",
    "restore": "putting the backup in its place",
    "watch": "watching for a heartbeat, s",
}


class _Rate(ProgressColumn):
    """Items done, of how many, and how many a second."""

    def render(self, task: Task) -> Text:
        done = f"{int(task.completed):,}"
        total = f" of {int(task.total):,}" if task.total else ""
        rate = f"  {task.speed:,.0f}/s" if task.speed else ""
        return Text(f"{done}{total}{rate}")


@contextmanager
def progress_bars() -> Iterator[ProgressSink]:
    """Bars that vanish when the block ends."""
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), _Rate(), TimeRemainingColumn())
    bars = Bars(*columns, console=console, transient=True)
    with bars:
        yield _Sink(bars).show


class _Sink:
    """One bar for the phase that runs; a new phase takes the place of the one before."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.phase = ""
        self.task = TaskID(0)
        self.drawn_at = 0.0

    def show(self, step: Progress) -> None:
        now = clock.monotonic()
        if step.phase != self.phase:
            if self.phase:
                self.bars.remove_task(self.task)
            self.phase = step.phase
            self.task = self.bars.add_task(PHASES.get(step.phase, step.phase), total=step.total)
        elif now - self.drawn_at < _REDRAW_S:
            return
        self.drawn_at = now
        self.bars.update(self.task, completed=step.done, total=step.total)
