"""Every screen at 80 and at 160 columns, held against the files in ``tests/golden``.

To write those anew after a deliberate change: ``UPDATE_GOLDEN=1 pytest tests/report/test_screens.py``,
then read the difference.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from jobctl.model.detail import JobDetail
from jobctl.model.job import Event
from jobctl.model.plan import Verb
from jobctl.report.event_listing import event_screen_columns
from jobctl.report.job_screen import job_screen
from jobctl.report.listings import job_screen_columns
from jobctl.report.plan_screen import digest_plan
from jobctl.report.screen import line, table
from report import screens_of_files, screens_of_jobs, screens_of_the_site
from report.screens import GOLDEN, JOB, NOW, WIDTHS, Screen, render
from report.screens_of_files import actions
from report.screens_of_jobs import a_change, a_job

LONG_ERROR = "e\x1b[2J\n[x]ab" * 10_000
SCREENS = [*screens_of_files.SCREENS, *screens_of_jobs.SCREENS, *screens_of_the_site.SCREENS]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_screen(screen: Screen, width: int) -> None:
    golden = GOLDEN / f"{screen.name}-{width}.txt"
    shown = render(screen.blocks(width), width)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)
    assert shown == golden.read_text()


@pytest.mark.parametrize("width", [40, 60, *WIDTHS, 200])
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_no_screen_is_wider_than_its_terminal_or_lets_control_characters_through(
    screen: Screen, width: int
) -> None:
    shown = render(screen.blocks(width), width)
    assert all(len(row) <= width for row in shown.splitlines())
    assert not {char for char in shown if not char.isprintable()} - {"\n"}


@pytest.mark.parametrize("width", WIDTHS)
def test_ids_are_never_cut(width: int) -> None:
    assert JOB in render([table(job_screen_columns(NOW), [a_job()], width)], width)


@pytest.mark.parametrize("width", [*WIDTHS, 120, 200])
def test_long_words_of_others_push_neither_ids_nor_other_rows_off_the_screen(width: int) -> None:
    job = replace(a_job(), owner="o" * 300, error=LONG_ERROR)
    told = Event(1, JOB, NOW, "status", "a" * 300, None, 1, "processing", "failed", {"error": LONG_ERROR})
    for listing in (
        table(job_screen_columns(NOW), [job], width),
        table(event_screen_columns(NOW, width, of_one=False), [told], width),
    ):
        shown = render([listing], width)
        assert JOB in shown
        assert len(shown.splitlines()) < 20


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("error", [None, "it broke"])
def test_a_job_with_a_long_id_squeezes_no_other_column(width: int, error: str | None) -> None:
    told = {"error": error, "error_code": None}
    jobs = [replace(a_job(), **told), replace(a_job(), job_id="x" * 1_000, **told)]
    shown = render([table(job_screen_columns(NOW), jobs, width)], width)
    assert JOB in shown
    assert "status" in shown.splitlines()[0]
    assert shown.count("failed") == 2


def test_on_a_wide_terminal_a_job_has_its_row_and_one_line_for_its_error() -> None:
    url = f"https://videos.example.org/presentations/{JOB}/video?of=one"
    job = replace(a_job(), video_url=url, error=LONG_ERROR)
    _, row, error = render([table(job_screen_columns(NOW), [job], 200)], 200).splitlines()
    assert (row.startswith(JOB), "https://videos.example.org/" in row, "…" in row) == (True, True, True)
    assert error.endswith("…")


def test_a_narrow_terminal_tells_below_an_event_why_it_happened() -> None:
    told = Event(1, JOB, NOW, "status", "x", None, 1, "processing", "failed", {"error": LONG_ERROR})
    for width in (80, 120):
        _, row, why = render(
            [table(event_screen_columns(NOW, width, of_one=False), [told], width)], width
        ).splitlines()
        assert "processing → failed" in row
        assert (why.startswith("  "), why.endswith("…")) == (True, True)


def test_a_long_error_is_shown_in_part_with_how_to_see_the_rest() -> None:
    failed = {"error": LONG_ERROR, "error_code": "error", "traceback": LONG_ERROR.replace("\n", "")}
    events = [
        a_change(1, 2, 1, "queued", "processing", {"cause": "claim"}),
        a_change(2, 1, 1, "processing", "failed", {"cause": "executor", **failed}),
    ]
    detail = JobDetail(replace(a_job(), error=LONG_ERROR), [], events, NOW)
    shown = render(job_screen(detail, width=80), 80)
    assert len(shown.splitlines()) < 80
    assert "characters; --verbose shows all)" in " ".join(shown.split())
    whole = render(job_screen(detail, width=80, is_verbose=True), 80)
    assert "".join(whole.split()).count("\\x1b[2J") >= 2 * LONG_ERROR.count("\x1b[2J")


def test_of_a_traceback_of_many_lines_the_end_is_shown_with_how_to_see_the_rest() -> None:
    """An error of a megabyte that has line ends made one of hundreds of lines."""
    traceback = "".join(f"line {number} of it\n" for number in range(1, 501))
    failed = {"error": "it broke", "error_code": "error", "traceback": traceback}
    events = [
        a_change(1, 2, 1, "queued", "processing", {"cause": "claim"}),
        a_change(2, 1, 1, "processing", "failed", {"cause": "executor", **failed}),
    ]
    detail = JobDetail(a_job(), [], events, NOW)
    shown = [each.strip() for each in render(job_screen(detail, width=80), 80).splitlines()]
    first = shown.index("(470 lines before; --verbose shows all)")
    assert shown[first + 1] == "line 471 of it"
    assert "line 500 of it" in shown
    assert "line 1 of it" in render(job_screen(detail, width=80, is_verbose=True), 80)


def test_markup_in_a_name_is_only_text() -> None:
    assert render([line("[bold red]loud[/bold red] :smile:")], 80) == "[bold red]loud[/bold red] :smile:\n"


def test_a_plan_is_read_no_further_than_its_examples() -> None:
    """A million steps are not read to show five."""
    steps = iter(actions())
    digest = digest_plan(steps, iter(()), counts={Verb.CREATE: 5}, findings={})
    assert len(digest.steps[Verb.CREATE]) == 5
    assert next(steps).seq == 5
