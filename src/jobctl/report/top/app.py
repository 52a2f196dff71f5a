"""The live view: what runs, waits and failed, brought up to date while you look.

The store is asked in a thread of its own, so that a slow or dead one never stops the keys; what it
last told stays, with its age, until it answers again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, Protocol, TypeVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Input, Static

from jobctl import clock
from jobctl.core.health.standing import headline
from jobctl.durations import age_said
from jobctl.errors import ExitCode, JobctlError
from jobctl.model.detail import JobDetail
from jobctl.model.job import Job
from jobctl.model.names import to_shown
from jobctl.model.standing import Glimpse, Standing
from jobctl.model.status import Status
from jobctl.report.columns import cut
from jobctl.report.job_screen import job_screen
from jobctl.report.standing_screen import jobs_line, root_line, workers_line
from jobctl.report.top.dialogs import Page, Question, help_screen
from jobctl.report.top.tables import (
    FAILED_COLUMNS,
    FINDING_COLUMNS,
    QUEUE_COLUMNS,
    RUNNING_COLUMNS,
    WORKER_COLUMNS,
    LiveTable,
    failed_rows,
    finding_rows,
    matching,
    queue_rows,
    running_rows,
    worker_rows,
)
from jobctl.report.trouble_rows import HEALTH_STYLES

_LONGEST_HEADLINE = 400
_TICK_S = 1.0
_LEAST_WAIT_S, _LOOKS_MISSED = 10.0, 3

WidgetT = TypeVar("WidgetT", bound=Widget)


class Source(Protocol):
    """Where the view gets what it shows, and what it may do; each may raise ``JobctlError``."""

    def look(self) -> Glimpse: ...
    def history(self, job_id: str) -> JobDetail: ...
    def retry(self, job_id: str) -> Job: ...
    def cancel(self, job_id: str) -> Job: ...


class Seen(Message):
    """A look at the store."""

    def __init__(self, glimpse: Glimpse) -> None:
        super().__init__()
        self.glimpse = glimpse


class Lost(Message):
    """The store did not answer."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class Done(Message):
    """What was asked for in a thread is there: what to do with it."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


class Top(App[int]):
    """The live view of one store. ``every_s``: how often it looks; no faster than that is it drawn anew."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "jobctl top"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("enter", "history", "history", priority=False),
        Binding("r", "retry", "retry"),
        Binding("c", "cancel", "cancel"),
        Binding("space", "look", "refresh"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "end", "quit"),
        Binding("ctrl+c", "end", show=False, priority=True),
        Binding("escape", "all", show=False),
    ]
    CSS = """
    Screen { layout: vertical; background: ansi_default; }
    #trouble { display: none; height: auto; max-height: 2; color: ansi_red; text-style: bold; }
    #headline { height: auto; max-height: 2; }
    #facts { height: auto; max-height: 6; text-wrap: nowrap; text-overflow: ellipsis; }
    #sides { height: 8; display: none; }
    .-wide.-high #sides { display: block; }
    LiveTable { border: round ansi_bright_black; padding: 0; }
    LiveTable:focus { border: round ansi_cyan; }
    #running, #failed { height: 1fr; min-height: 4; }
    #queues, #workers, #findings { width: 1fr; height: 100%; }
    #words { display: none; height: 1; border: none; padding: 0; }
    .box { border: round ansi_cyan; padding: 0 1; width: 70; max-width: 96%; height: auto; max-height: 90%; }
    .reading { width: 96%; }
    .answers { height: auto; align-horizontal: right; padding-top: 1; }
    .answers Button { margin-left: 2; }
    ModalScreen { align: center middle; }
    """

    def __init__(self, source: Source, *, every_s: float, stale_after_s: float) -> None:
        super().__init__()
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self._source = source
        self._every_s, self._stale_after_s = every_s, stale_after_s
        self._glimpse: Glimpse | None = None
        self._seen_at = clock.monotonic()
        self._why_lost = ""
        self._words = ""
        self._wake = threading.Event()
        self._is_over = threading.Event()
        self.fault: Exception | None = None
        """What ended the view, where that was a fault of ours."""

    def _handle_exception(self, error: Exception) -> None:
        # Textual would print a traceback on the terminal; the program tells faults in its own way.
        if self.is_headless:
            super()._handle_exception(error)
            return
        self.fault = error
        self.exit(return_code=int(ExitCode.INTERNAL))

    def compose(self) -> ComposeResult:
        """What is not well above, then numbers, then the tables."""
        yield Static(id="trouble", markup=False)
        yield Static("Looking …", id="headline", markup=False)
        yield Static(id="facts", markup=False)
        with Horizontal(id="sides"):
            yield LiveTable("queues", QUEUE_COLUMNS, id="queues")
            yield LiveTable("workers", WORKER_COLUMNS, id="workers")
            yield LiveTable("last complete scan", FINDING_COLUMNS, id="findings")
        yield LiveTable("running", RUNNING_COLUMNS, id="running")
        yield LiveTable("failed last", FAILED_COLUMNS, id="failed")
        yield Input(placeholder="show only what has these words", id="words", compact=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#words", Input).cursor_blink = False
        self.query_one("#running", LiveTable).focus()
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self._terminated)
            loop.add_signal_handler(signal.SIGINT, self.exit)
        self.set_interval(_TICK_S, self._tick)
        threading.Thread(target=self._keep_looking, name="look", daemon=True).start()

    def _terminated(self) -> None:
        self.exit(return_code=int(ExitCode.TERMINATED))

    def on_unmount(self) -> None:
        """The thread ends by itself, once the store lets it."""
        self._is_over.set()
        self._wake.set()

    def _keep_looking(self) -> None:
        while not self._is_over.is_set():
            self._wake.clear()
            try:
                self.post_message(Seen(self._source.look()))
            except JobctlError as error:
                self.post_message(Lost(f"{error.message} ({error.hint})"))
            except Exception as error:  # noqa: BLE001 - a fault of ours ends the view, and not only its thread
                self.post_message(Done(partial(_raise, error)))
                return
            self._wake.wait(self._every_s)

    def _in_thread(self, work: Callable[[], Callable[[], None]]) -> None:
        """Ask the store without keeping the keys waiting; what comes of it is done in this thread."""

        def run() -> None:
            try:
                then = work()
            except JobctlError as error:
                said = to_shown(f"{error.message} ({error.hint})")

                then = partial(self.notify, said, severity="error", markup=False)
            except Exception as error:  # noqa: BLE001 - as above
                then = partial(_raise, error)

            self.post_message(Done(then))

        threading.Thread(target=run, daemon=True).start()

    def on_done(self, message: Done) -> None:
        """Go on with what a thread was asked for."""
        message.then()

    def on_seen(self, message: Seen) -> None:
        """Show what changed."""
        self._glimpse, self._seen_at, self._why_lost = message.glimpse, clock.monotonic(), ""
        self._tell_age()
        self._draw()

    def on_lost(self, message: Lost) -> None:
        """Say so, and keep what was seen last."""
        self._why_lost = message.why
        self._tell_age()

    def _tick(self) -> None:
        if not self.is_headless and not os.isatty(sys.stdin.fileno()):
            self.exit()  # the terminal is gone, perhaps without a signal
        self._tell_age()

    def _tell_age(self) -> None:
        if not self._has_widgets:
            return
        age_s = clock.monotonic() - self._seen_at
        is_waiting = age_s > max(_LEAST_WAIT_S, _LOOKS_MISSED * self._every_s)
        why = self._why_lost or ("the store gives no answer" if is_waiting else "")
        trouble = self._main("#trouble", Static)
        if why:
            seen = f"As it was {age_said(age_s)} ago: " if self._glimpse else ""
            trouble.update(Text(cut(f"{seen}{why}", 2 * self.size.width - 2)))
        trouble.display = bool(why)

    def _draw(self) -> None:
        if self._glimpse is None or not self._has_widgets:
            return
        standing, running, failures = self._glimpse
        told = cut(headline(standing.troubles), _LONGEST_HEADLINE)
        self._set("#headline", Text(told, HEALTH_STYLES[standing.health]))
        self._set("#facts", _facts(standing))
        for name, rows in (
            ("queues", queue_rows(standing.queues, standing)),
            ("workers", worker_rows(standing.workers, standing)),
            ("findings", finding_rows(standing)),
            ("running", running_rows(running, standing, self._stale_after_s)),
            ("failed", failed_rows(failures, standing)),
        ):
            table = self._main(f"#{name}", LiveTable)
            shown = matching(rows, self._words)
            table.show(shown)
            table.border_subtitle = f"{len(shown):,} of {len(rows):,}" if self._words else ""

    def _set(self, name: str, words: Text) -> None:
        """Only what is new is drawn."""
        static = self._main(name, Static)
        if static.content != words:
            static.update(words)

    @property
    def _has_widgets(self) -> bool:
        """Not at the very end, when what a look found may still arrive."""
        return bool(self.screen_stack) and bool(self.screen_stack[0].query("#trouble"))

    def _main(self, name: str, kind: type[WidgetT]) -> WidgetT:
        """A widget of the view itself, whatever lies above it."""
        return self.screen_stack[0].query_one(name, kind)

    # Keys

    def action_end(self) -> None:
        """Leave."""
        self.exit()

    def action_help(self) -> None:
        """Tell the keys."""
        self.push_screen(help_screen())

    def action_look(self) -> None:
        """Look at once."""
        self._wake.set()

    def action_filter(self) -> None:
        """Ask for the words that are sought."""
        words = self.query_one("#words", Input)
        words.display = True
        words.focus()

    def action_all(self) -> None:
        """Show everything again."""
        words = self.query_one("#words", Input)
        words.value = ""
        words.display = False
        self.query_one("#running", LiveTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Seek while it is typed."""
        self._words = event.value
        self._draw()

    def on_input_submitted(self) -> None:
        """Back to the tables, which go on showing only what was sought."""
        words = self.query_one("#words", Input)
        words.display = bool(words.value)
        running = self.query_one("#running", LiveTable)
        (running if running.row_count else self.query_one("#failed", LiveTable)).focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter on a row."""
        del event
        self.action_history()

    def action_history(self) -> None:
        """Show all that is recorded of the chosen job."""
        job_id = self._chosen()
        if job_id is None:
            return
        width = max(40, self.size.width - 8)

        def work() -> Callable[[], None]:
            blocks = list(job_screen(self._source.history(job_id), width=width))
            return lambda: _ignored(self.push_screen(Page(cut(job_id, 60), blocks)))

        self._in_thread(work)

    def action_retry(self) -> None:
        """Enqueue the chosen job again, if that is wanted; one that runs has to end first."""
        if (
            isinstance(self.focused, LiveTable)
            and self.focused.id == "running"
            and (job_id := self._chosen())
        ):
            self.notify(f"Job {cut(job_id, 60)} is running: c cancels it, then r enqueues it.", markup=False)
            return
        self._ask("Enqueue job {} again?", self._source.retry, lambda _: "is queued again")

    def action_cancel(self) -> None:
        """End the chosen job, if that is wanted."""
        self._ask(
            "Cancel job {}?",
            self._source.cancel,
            lambda job: "is asked to stop" if job.status is Status.PROCESSING else "is cancelled",
        )

    def _ask(self, question: str, change: Callable[[str], Job], said: Callable[[Job], str]) -> None:
        job_id = self._chosen()
        if job_id is None:
            self.notify("Put the cursor on a job first: Tab and the arrows move it.", markup=False)
            return

        def work() -> Callable[[], None]:
            job = change(job_id)
            return lambda: self._told(f"Job {cut(job_id, 60)} {said(job)}.")

        def answered(is_wanted: bool | None) -> None:  # noqa: FBT001 - the answer of a dialog
            if is_wanted:
                self._in_thread(work)

        self.push_screen(Question(question.format(cut(job_id, 80))), answered)

    def _told(self, words: str) -> None:
        self.notify(words, markup=False)
        self._wake.set()

    def _chosen(self) -> str | None:
        """The job that the cursor is on, in whichever table of jobs has the focus."""
        table = self.focused
        is_of_jobs = isinstance(table, LiveTable) and table.id in {"running", "failed"}
        return table.chosen if isinstance(table, LiveTable) and is_of_jobs else None


def _facts(standing: Standing) -> Text:
    """The numbers, a line each."""
    lines: Sequence[Text] = [
        jobs_line(standing),
        Text("workers: ").append(workers_line(standing)),
        *(root_line(room, scan, standing) for room, scan in zip(standing.rooms, standing.scans, strict=True)),
    ]
    return Text("\n").join(lines)


def _raise(error: Exception) -> None:
    raise error


def _ignored(_: object) -> None:
    """What a screen answers that is only read."""
