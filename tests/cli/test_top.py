"""``jobctl top`` by its keys, at 80x24 and 120x40, on both databases; on a real terminal, and without one."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from cli.calling import PROGRAM, call, read, read_until
from jobctl import clock
from jobctl.errors import StoreUnreachable
from jobctl.model.status import Status
from jobctl.ops.live import LiveSource
from jobctl.ops.site import Site, open_site
from jobctl.report.top.app import Top
from jobctl.report.top.dialogs import Page, Question
from jobctl.report.top.tables import LiveTable
from jobctl.settings import Settings
from jobctl.store import jobs
from jobctl.store.engine import Store
from store.records import claim, create, fail, show_life

HOSTILE = "\x1b[31mred\x1b[0m [bold]loud[/bold] [@click=app.quit]x\nnext\u202e"
SIZES = [(80, 24), (120, 40)]
Script = Callable[[Pilot[int], Top], Awaitable[None]]


class Filled(NamedTuple):
    """A store with jobs, and where it is."""

    store: Store
    url: str


@pytest.fixture
def filled(store: Store, store_url: str) -> Filled:
    """Two running jobs and two that failed, one of each with a hostile id."""
    at = clock.now() - timedelta(minutes=2)
    with store.write() as connection:
        for job_id in ("runs", HOSTILE):
            create(connection, job_id, at=at, kind="render")
            claim(connection, job_id, at=at)
        show_life(connection, "runs", progress=50.0, at=clock.now())
        for number, job_id in enumerate(("broke", f"{HOSTILE}2")):
            create(connection, job_id, at=at)
            claim(connection, job_id, at=at)
            fail(connection, job_id, error_code="timeout", at=at + timedelta(seconds=number))
    return Filled(store, store_url)


class Flaky(LiveSource):
    """A source that can be taken away."""

    is_away = False

    def look(self) -> Any:
        if self.is_away:
            raise StoreUnreachable("the server is gone", hint="start it")
        return super().look()


def play(filled: Filled, size: tuple[int, int], script: Script, *, every_s: float = 0.2) -> None:
    """Open the view without a terminal, and press keys."""

    async def run() -> None:
        with open_site(Settings(database=filled.url, host_id="h")) as site:
            view = Top(Flaky(site), every_s=every_s, stale_after_s=900.0)
            async with view.run_test(size=size, notifications=True) as pilot:
                await until(pilot, lambda: view.query_one("#running", LiveTable).row_count)
                await script(pilot, view)

    asyncio.run(run())


async def until(pilot: Pilot[int], is_so: Callable[[], Any]) -> None:
    """Wait until something is so."""
    deadline = clock.monotonic() + 60
    while not is_so():
        assert clock.monotonic() < deadline, screen_of(pilot.app)
        await pilot.pause(0.02)


def screen_of(view: Any) -> str:
    """What is on the screen."""
    try:
        strips = view.screen._compositor.render_strips()
    except IndexError:  # asked for while a table has taken rows and not yet measured them
        return ""
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def told(view: Top) -> str:
    """What was told in passing."""
    return "\n".join(note.message for note in view._notifications)


def status_of(store: Store, job_id: str) -> Status:
    with store.read() as connection:
        return jobs.get_job(connection, job_id).status


async def choose(pilot: Pilot[int], view: Top, table: str, job_id: str) -> None:
    """Put the cursor on a job, by keys."""
    wanted = view.query_one(f"#{table}", LiveTable)
    while view.focused is not wanted:
        await pilot.press("tab")
    while wanted.chosen != job_id:
        await pilot.press("down")


@pytest.mark.parametrize("size", SIZES)
def test_it_shows_what_runs_and_what_failed(filled: Filled, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        words = ("0 queued, 2 processing", "runs", "50 %", "~", "broke", "timeout", "it broke")
        await until(pilot, lambda: all(each in screen_of(view) for each in words))
        shown = screen_of(view)
        assert ("─ queues ─" in shown) == (size[0] >= 120)
        assert all(len(row) == size[0] for row in shown.splitlines())
        assert not {char for row in shown.splitlines() for char in row if not char.isprintable()}
        assert "[bold]loud" in shown

    play(filled, size, script)


@pytest.mark.parametrize("size", SIZES)
def test_a_failed_job_is_retried_once_that_was_confirmed(filled: Filled, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        await choose(pilot, view, "failed", "broke")
        await pilot.press("r")
        assert isinstance(view.screen, Question)
        assert "Enqueue job broke again?" in screen_of(view)
        await pilot.press("enter")
        assert not isinstance(view.screen, Question)
        assert status_of(filled.store, "broke") is Status.FAILED
        await pilot.press("r", "y")
        await until(pilot, lambda: status_of(filled.store, "broke") is Status.QUEUED)
        await until(pilot, lambda: told(view) == "Job broke is queued again.")
        await until(pilot, lambda: view.query_one("#failed", LiveTable).row_count == 1)

    play(filled, size, script)


@pytest.mark.parametrize("size", SIZES)
def test_a_running_job_is_cancelled_once_that_was_confirmed(filled: Filled, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        await choose(pilot, view, "running", HOSTILE)
        await pilot.press("c")
        assert "Cancel job \\x1b[31mred\\x1b[0m [bold]loud[/bold]" in screen_of(view)
        await pilot.press("n")
        await pilot.press("c", "tab", "enter")
        await until(pilot, lambda: status_of(filled.store, HOSTILE) is Status.CANCELLED)
        await until(pilot, lambda: view.query_one("#running", LiveTable).row_count == 1)
        assert status_of(filled.store, "runs") is Status.PROCESSING

    play(filled, size, script)


def test_what_cannot_be_done_is_told_with_what_can(filled: Filled) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        await choose(pilot, view, "failed", "broke")
        await pilot.press("r")
        source: Any = view._source
        source.retry("broke")
        await pilot.press("y")
        await until(pilot, lambda: told(view))
        assert "broke is queued already; nothing was changed (run 'jobctl show broke'" in told(view)

    play(filled, (120, 40), script)


def test_a_job_that_runs_is_not_offered_to_be_enqueued_again(filled: Filled) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        await choose(pilot, view, "running", "runs")
        await pilot.press("r")
        await until(pilot, lambda: told(view) == "Job runs is running: c cancels it, then r enqueues it.")
        assert not isinstance(view.screen, Question)
        assert "silent  " in screen_of(view)
        assert "step" not in screen_of(view)

    play(filled, (80, 24), script)


def test_enter_opens_the_history_of_a_job_and_escape_leads_back(filled: Filled) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        await choose(pilot, view, "failed", f"{HOSTILE}2")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(view.screen, Page))
        shown = screen_of(view)
        assert "\\x1b[31mred\\x1b[0m [bold]loud[/bold]" in shown
        assert "it broke" in shown
        await pilot.press("escape", "question_mark")
        assert "enqueue that job again" in screen_of(view)
        await pilot.press("q", "q")

    play(filled, (80, 24), script)


def test_a_filter_leaves_what_has_its_words(filled: Filled) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        running, failed = (view.query_one(name, LiveTable) for name in ("#running", "#failed"))
        await pilot.press("slash", *"LOUD", "enter")
        await until(pilot, lambda: (running.row_count, failed.row_count) == (1, 1))
        assert view.focused is running
        assert (running.chosen, running.border_subtitle) == (HOSTILE, "1 of 2")
        await pilot.press("escape")
        await until(pilot, lambda: (running.row_count, failed.row_count) == (2, 2))

    play(filled, (80, 24), script)


def test_only_cells_that_changed_are_drawn_and_the_cursor_stays(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[Any] = []
    update_cell = LiveTable.update_cell

    def note(table: LiveTable, row: Any, column: Any, value: Any, **options: Any) -> None:
        changed.append((row, column, value.plain))
        update_cell(table, row, column, value, **options)

    monkeypatch.setattr(LiveTable, "update_cell", note)

    async def script(pilot: Pilot[int], view: Top) -> None:
        await choose(pilot, view, "running", "runs")
        with filled.store.write() as connection:
            show_life(connection, "runs", progress=75.0, at=clock.now())
        await until(pilot, lambda: ("runs", "done", "75 %") in changed)
        assert {column for _, column, _ in changed} <= {"done", "left", "silent", "ago"}
        with filled.store.write() as connection:
            create(connection, "new")
            claim(connection, "new", at=clock.now())
        await until(pilot, lambda: view.query_one("#running", LiveTable).row_count == 3)
        assert view.query_one("#running", LiveTable).chosen == "runs"

    play(filled, (80, 24), script)


def test_a_store_that_goes_away_is_told_and_comes_back(filled: Filled) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        source: Any = view._source
        source.is_away = True
        trouble = view.query_one("#trouble", Static)
        await until(pilot, lambda: "the server is gone (start it)" in screen_of(view))
        assert "As it was" in screen_of(view)
        assert "50 %" in screen_of(view)
        source.is_away = False
        # What is hidden is gone from the screen with the next drawing.
        await until(pilot, lambda: not trouble.display and "the server is gone" not in screen_of(view))

    play(filled, (80, 24), script)


def test_a_fault_ends_the_view_and_not_only_its_thread(filled: Filled) -> None:
    async def script(pilot: Pilot[int], view: Top) -> None:
        source: Any = view._source
        source.look = lambda: 1 / 0
        await until(pilot, lambda: not view.is_running)

    with pytest.raises(ZeroDivisionError):
        play(filled, (80, 24), script)


def test_without_a_terminal_it_is_status_watched(store_url: str) -> None:
    with subprocess.Popen(
        [PROGRAM, "top", "1", "--database", store_url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        begun = [line for _, line in zip(range(3), process.stdout, strict=False)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert begun[0].startswith("# ")
    assert begun[1].startswith("health\t")
    assert process.returncode == 0


def test_it_answers_no_machine(store_url: str) -> None:
    result = call("top", "--json", database=store_url)
    assert result.exit_code == 2
    assert "jobctl status --json" in result.stdout


@pytest.mark.parametrize(
    ("ends", "code", "term"),
    [
        (b"q", 0, "xterm-256color"),
        (b"\x03", 0, "xterm-256color"),
        (signal.SIGTERM, 143, "xterm-256color"),
        (signal.SIGINT, 0, "dumb"),
    ],
)
def test_on_a_terminal_it_leaves_no_trace(
    tmp_path: Any, ends: bytes | signal.Signals, code: int, term: str
) -> None:
    url = str(tmp_path / "jobs.db")
    assert call("init", database=url).exit_code == 0
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "top", "--database", url],
        env={**os.environ, "TERM": term, "COLUMNS": "80", "LINES": "24"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        seen = read_until(ours, b"All is well.")
        if isinstance(ends, bytes):
            os.write(ours, ends)
        else:
            process.send_signal(ends)
        while chunk := read(ours):
            seen += chunk
        assert process.wait(60) == code, seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    if term != "dumb":
        assert seen.rstrip().endswith(b"\x1b[?1049l") or b"\x1b[?1049l" in seen[-200:]
    assert b"Traceback" not in seen


def test_a_site_is_all_a_source_needs(filled: Filled) -> None:
    with open_site(Settings(database=filled.url, host_id="h")) as site:
        assert isinstance(site, Site)
        running, failures = LiveSource(site).look()[1:]
    assert {row.job_id for row in running} == {"runs", HOSTILE}
    assert [row.job_id for row in failures] == [f"{HOSTILE}2", "broke"]
