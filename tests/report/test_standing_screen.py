"""The screen of ``jobctl status`` in 80x24 and 120x40, and its blocks in a pipe, held against golden files.

To write those anew after a deliberate change: ``UPDATE_GOLDEN=1 pytest
tests/report/test_standing_screen.py``, then read the difference.
"""

from __future__ import annotations

import io
import os
from datetime import timedelta

import pytest
from rich.console import Console

from jobctl.core.health.standing import (
    judge_failures,
    judge_last_run,
    judge_root_room,
    judge_scan,
    judge_silent,
    worst_first,
)
from jobctl.model.attempts import WorkerRow
from jobctl.model.health import fail
from jobctl.model.job import Executor
from jobctl.model.runs import LastRun
from jobctl.model.standing import (
    Changes,
    Outlook,
    QueueDepth,
    Reading,
    RootRoom,
    ScanSeen,
    Silent,
    Standing,
    Trouble,
    Worker,
)
from jobctl.model.status import Status
from jobctl.report.columns import tsv_heading, tsv_line
from jobctl.report.shell_lines import commands_of, shell_lines
from jobctl.report.standing_items import standing_blocks
from jobctl.report.standing_screen import standing_screen
from report.screens import GOLDEN, HOSTILE, JOB, NOW, render

SIZES = ((80, 24), (120, 40))
TIB = 1 << 40
HOUR = NOW - timedelta(hours=1)


def _worker(name: str, busy: int, *, is_lost: bool = False) -> Worker:
    executor = Executor("render-1", "boot", 4711, 1)
    row = WorkerRow(name, "running", executor, ["default"], ["render"], 4, "fork", 30.0, HOUR, NOW, None, {})
    return Worker(row, busy, is_lost)


def _run(command: str, exit_code: int = 0, error: str | None = None, **ago: float) -> LastRun:
    at = NOW - timedelta(**ago)
    return LastRun(command, "render-1", at, at, exit_code, error, None, None, None if exit_code else at)


def _room(path: str, free: float, outlook: Outlook) -> RootRoom:
    return RootRoom(f"r{len(path)}", path, Reading(NOW, 4 * TIB, int(free * TIB)), 100, 90, outlook)


def healthy() -> Standing:
    """A store that stands well."""
    return Standing(
        now=NOW,
        jobs={Status.QUEUED: 12, Status.PROCESSING: 7, Status.COMPLETED: 9_812_331, Status.FAILED: 1_204},
        uncounted=0,
        changes=Changes(HOUR, {Status.COMPLETED: 412, Status.QUEUED: -3}, {Status.COMPLETED: 412}),
        queues=[QueueDepth("default", 12, 12, False, JOB, NOW - timedelta(seconds=40), {"render": 12})],
        silent=Silent(),
        workers=[_worker("w1", 4), _worker("w2", 3)],
        last_runs=[
            _run("recover", minutes=20),
            _run("expire", minutes=4),
            _run("cleanup", hours=5),
            _run("backup", hours=9),
        ],
        scans=[ScanSeen("r8", "/srv/out", NOW - timedelta(minutes=20), {})],
        rooms=[_room("/srv/out", 2.5, Outlook(43.0, True, "lasts longer than 43 days"))],
    )


def broken() -> Standing:
    """A store in which everything is ill that can be."""
    found = healthy()
    found.uncounted = 31_204
    found.changes = Changes(
        HOUR,
        {Status.FAILED: 140, Status.PROCESSING: -9, Status.COMPLETED: 2},
        {Status.FAILED: 140, Status.COMPLETED: 2},
    )
    found.silent = Silent(20_000, True, HOSTILE, NOW - timedelta(days=2))
    found.workers = [_worker("w1", 4), _worker(HOSTILE, 3, is_lost=True)]
    found.queues = [
        QueueDepth("default", 20_000, 20_000, True, JOB, NOW - timedelta(hours=3), {"render": 200}),
        *(QueueDepth(f"{HOSTILE}{n}", 9 - n, 0, False, None, None, {}) for n in range(9)),
    ]
    refused = f"root {HOSTILE} cannot be opened: " + "no such file, " * 80
    found.last_runs = [_run("cleanup", 14, refused, hours=5), _run("expire", 13, minutes=4)]
    found.scans.append(ScanSeen("r9", f"/srv/{HOSTILE}", HOUR, {"orphan-video": 1_204, "broken-video": 3}))
    found.scans.append(ScanSeen("r10", "/mnt/gone", HOUR, {"orphan-video": 7}, True, HOUR))
    unknown = Outlook(None, False, "unknown: the room goes up and down")
    found.rooms.append(
        _room(f"/srv/{HOSTILE}", 0.1, Outlook(0.6, False, "full in about 0.6 days at the pace seen"))
    )
    found.rooms.append(RootRoom("r10", "/mnt/gone", None, 0, 0, unknown, "it gave no answer within 0.5 s"))
    gone = f"3 jobs of worker {HOSTILE} on render-1, which is lost, wait to be rescued"
    found.troubles = worst_first(
        [
            Trouble("leases", fail(gone, "start a worker", "jobctl expire --yes")),
            Trouble("jobs", judge_failures(found.changes, NOW)),
            Trouble("heartbeats", judge_silent(found.silent, NOW)),
            *(Trouble("room", judge_root_room(room)) for room in found.rooms),
            *(Trouble(run.command, judge_last_run(run, NOW)) for run in found.last_runs),
            *(Trouble("scan", each) for seen in found.scans for each in judge_scan(seen)),
        ]
    )
    return found


PLACE = "--database postgresql://jobctl@db-1.video.internal.example.org:5432/presentations"


def long() -> Standing:
    """Troubles with long commands, or several, as they are where the store was named on the command line."""
    found = healthy()
    found.workers, found.queues = [], [*found.queues, QueueDepth("a queue", 2, 2, False, JOB, HOUR, {})]
    due = "14 jobs (render) have been due for 60 min"
    lack = f"{due}, and no worker serves the queue default; the last was seen 2 h ago"
    start = f"jobctl worker --tasks presentations.tasks --queue default --queue 'a queue' {PLACE}"
    silent = "'jobctl recover' (pid 4711 on render-1) holds the lock root:r8 and gave no sign of life for 3 h"
    take_over = "kill -KILL 4711 && jobctl recover --dry-run --root r8"
    away = RootRoom("r8", "/srv/out", None, 0, 0, found.rooms[0].outlook, "No such file or directory")
    found.rooms = [away]
    found.scans = [ScanSeen("r8", "/srv/out/that/has/a/long/name/as/mount/points/have", None, {})]
    found.troubles = worst_first(
        [
            Trouble("workers", fail(lack, "start one", start)),
            Trouble("locks", fail(silent, "see what it waits for", take_over)),
            Trouble("room", judge_root_room(away)),
        ]
    )
    return found


STORES = {"healthy": healthy, "broken": broken, "long": long}


def screen(name: str, width: int, height: int) -> str:
    found = STORES[name]()
    return render(standing_screen(found, width=width, height=height, place=str), width)


def piped(name: str) -> str:
    blocks = [
        "".join(f"{row}\n" for row in (tsv_heading(columns), *(tsv_line(columns, row) for row in rows)))
        for columns, rows in standing_blocks(STORES[name]())
    ]
    return "\n".join(blocks)


def _hold_against(golden: str, shown: str) -> None:
    path = GOLDEN / golden
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown)
    assert shown == path.read_text()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("name", STORES)
def test_screen(name: str, width: int, height: int) -> None:
    _hold_against(f"status-{name}-{width}x{height}.txt", screen(name, width, height))


@pytest.mark.parametrize("name", STORES)
def test_piped(name: str) -> None:
    _hold_against(f"status-{name}-piped.txt", piped(name))


@pytest.mark.parametrize(("width", "height"), [*SIZES, (200, 50)])
@pytest.mark.parametrize("name", STORES)
def test_it_is_one_screen_without_control_characters(name: str, width: int, height: int) -> None:
    rows = screen(name, width, height).splitlines()
    assert all(len(row) <= width for row in rows)
    assert len(rows) < height
    assert not {char for row in rows for char in row if not char.isprintable()}


@pytest.mark.parametrize(("width", "height"), [*SIZES, (200, 50)])
@pytest.mark.parametrize("name", STORES)
def test_a_command_that_is_shown_is_whole(name: str, width: int, height: int) -> None:
    commands = {
        command for each in STORES[name]().troubles for command in commands_of(each.diagnosis.command)
    }
    # What a shell makes of the lines that are copied: those that end so go on in the next one.
    joined = screen(name, width, height).replace(" \\\n", " ")
    rows = {" ".join(row.split()) for row in joined.splitlines()}
    begun = {row for row in rows if any(row.startswith(word) for word in ("jobctl ", "kill "))}
    assert begun <= commands
    assert bool(begun) == bool(commands)
    assert "…" not in "".join(begun)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_stands_behind_a_command_so_that_a_shell_sees_where_it_goes_on(
    width: int, height: int
) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=width, highlight=False, color_system=None)
    for block in standing_screen(long(), width=width, height=height, place=str):
        console.print(block)
    rows = shown.getvalue().splitlines()
    going_on = [row for row in rows if "\\" in row]
    assert going_on
    assert all(row.endswith(" \\") for row in going_on)
    assert not [row for row in rows if row.lstrip().startswith(("jobctl ", "kill ")) and row.endswith(" ")]


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("jobctl scan", ["jobctl scan"]),
        ("jobctl scan --root one-two", ["jobctl scan --root \\", "one-two"]),
        ("jobctl scan --root 'a b  c' -v", ["jobctl scan --root \\", "'a b  c' -v"]),
        ("jobctl scan a\\ b\\ c\\ d", ["jobctl scan \\", "a\\ b\\ c\\ d"]),
        ("jobctl show 0123456789012345678901234", ["jobctl show \\", "0123456789012345678901234"]),
        ("it's one's own --words go on here", ["it's one's own \\", "--words go on here"]),
    ],
)
def test_a_long_command_is_broken_between_words_so_that_a_shell_puts_it_together(
    command: str, lines: list[str]
) -> None:
    assert list(shell_lines(command, 20)) == lines
    assert "".join(line.removesuffix("\\") for line in lines) == command
