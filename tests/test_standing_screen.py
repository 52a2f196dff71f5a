"""The screen of ``jobctl status`` in 80x24 and 120x40, and its blocks in a pipe, held against golden files.

To write those anew after a deliberate change: ``UPDATE_GOLDEN=1 pytest tests/test_standing_screen.py``,
then read the difference.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

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
from jobctl.report.standing_items import standing_blocks
from jobctl.report.standing_screen import standing_screen
from test_report_screens import GOLDEN, HOSTILE, JOB, NOW, render

SIZES = ((80, 24), (120, 40))
TIB = 1 << 40
HOUR = NOW - timedelta(hours=1)


def _worker(name: str, busy: int, *, is_gone: bool = False) -> Worker:
    executor = Executor("render-1", "boot", 4711, 1)
    row = WorkerRow(name, "running", executor, ["default"], ["render"], 4, "fork", 30.0, HOUR, NOW, None, {})
    return Worker(row, busy, is_gone)


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
    found.workers = [_worker("w1", 4), _worker(HOSTILE, 3, is_gone=True)]
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
    gone = f"3 jobs of worker {HOSTILE} on render-1, which is gone, wait to be rescued"
    found.troubles = worst_first(
        [
            Trouble("leases", fail(gone, "start a worker", "jobctl expire --yes")),
            Trouble("jobs", judge_failures(found.changes, NOW)),
            Trouble("heartbeats", judge_silent(found.silent, NOW)),
            *(Trouble("disk", judge_root_room(room)) for room in found.rooms),
            *(Trouble(run.command, judge_last_run(run, NOW)) for run in found.last_runs),
            *(Trouble("scan", each) for seen in found.scans for each in judge_scan(seen)),
        ]
    )
    return found


STORES = {"healthy": healthy, "broken": broken}


def screen(name: str, width: int, height: int) -> str:
    found = STORES[name]()
    return render(
        standing_screen(found, width=width, height=height, all_of_it="jobctl status --verbose"), width
    )


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
