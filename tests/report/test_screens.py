"""Every screen at 80 and at 160 columns, held against the files in ``tests/golden``.

To write those anew after a deliberate change: ``UPDATE_GOLDEN=1 pytest tests/report/test_screens.py``,
then read the difference.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console, RenderableType

import reported
from jobctl.core.duplicates import By, Copy, CopyGroup, judge_copies
from jobctl.core.requests import AskedJob, RequestGroup, SameBy, judge_requests
from jobctl.model import health
from jobctl.model.attempts import LeaseNote
from jobctl.model.backup import BackupKind, Contents, Lost, PutBack, RestorePlan
from jobctl.model.detail import JobBody, JobDetail
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.model.files import FileIdentity, Tier, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.health import Diagnosis, Examined
from jobctl.model.job import Artifact, Confidence, Event, Executor, Job, Origin
from jobctl.model.plan import Action, Kept, Outcome, Verb
from jobctl.model.quarantine import Entry, Whereabouts
from jobctl.model.runs import LastRun
from jobctl.model.status import Status
from jobctl.report.backup_screen import plan_screen as plan_screen_of_restore
from jobctl.report.backup_screen import run_item
from jobctl.report.billing_page import billing_page
from jobctl.report.digest import Digest
from jobctl.report.doctor_screen import check_line, troubles_screen
from jobctl.report.duplicate_digest import DuplicateDigest
from jobctl.report.duplicates_screen import SearchExtent, duplicates_screen
from jobctl.report.event_listing import event_screen_columns
from jobctl.report.job_screen import explanation_screen, job_screen
from jobctl.report.listings import (
    ENTRY_COLUMNS,
    KEPT_COLUMNS,
    Step,
    chosen_job_columns,
    job_screen_columns,
    kept_line,
    root_columns,
    run_columns,
)
from jobctl.report.page_screen import page_screen
from jobctl.report.plan_screen import digest_plan, entry_screen, plan_screen, report_screen, run_screen
from jobctl.report.scan_screen import Extent, scan_screen
from jobctl.report.screen import line, table
from jobctl.report.status_screen import last_run_columns
from jobctl.report.story_page import story_page
from jobctl.report.users_page import users_page
from jobctl.report.verify_screen import verify_screen
from reported import DAY, ZONE, a_story, some_bills, users

GOLDEN = Path(__file__).parent.with_name("golden")
WIDTHS = (80, 160)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
JOB = "4ec967c0-30a9-5b7d-90a3-eb2a5eeb13eb"
VIDEO = f"presentation_{JOB}.mp4"
LONG_ERROR = "e\x1b[2J\n[x]ab" * 10_000
HOSTILE = "a\x1b[31m red\x1b[0m/[bold]b\nc\u202e\udcff.mp4"


RESTORE = RestorePlan(
    file=f"/srv/{HOSTILE}.db",
    size=311_296,
    kind=BackupKind.SQLITE,
    made_at=datetime(2026, 11, 22, 1, 37, 55, tzinfo=UTC),
    backup=Contents("45f1c9d7cdee4317", "0004", {"completed": 1_187, "failed": 17}, 10_412, 10_412, NOW),
    now=Contents(
        "45f1c9d7cdee4317", "0005", {"completed": 1_212, "failed": 18, HOSTILE: 1}, 10_566, 10_566, NOW
    ),
    now_said=None,
    lost=Lost(27, 9, 154),
    kept_as=f"/var/lib/{HOSTILE}.before-20261123T120000.118204Z",
    migrates_from="0004",
)


class Screen(NamedTuple):
    """A name, and what makes its blocks for a width."""

    name: str
    blocks: Callable[[int], Iterable[RenderableType]]


def _ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def _finding(kind: FindingKind, reason: str, path: str | None = VIDEO, **fields: Any) -> Finding:
    mtime_ns = int(_ago(days=3).timestamp()) * 10**9
    details = {"root_id": "r0a1b2c3d", "path": path, "size": 13_841_203, "mtime_ns": mtime_ns, **fields}
    return Finding(kind, JOB, reason, **details)


def _scan(width: int) -> Iterable[RenderableType]:
    digest = Digest(limit=3)
    for _ in range(1_204):
        digest.add(_finding(FindingKind.ORPHAN_VIDEO, "whole, and no record names it", verdict=Verdict.WHOLE))
    cut = "mdat claims 13,841,203 bytes, the file ends 899 bytes earlier"
    digest.add(_finding(FindingKind.BROKEN_VIDEO, cut, verdict=Verdict.PARTIAL, tier=Tier.BOXES))
    digest.add(_finding(FindingKind.BROKEN_VIDEO, cut, HOSTILE, size=None, mtime_ns=2**63))
    zombie = "no heartbeat for 20 min; its executor cannot be seen from here"
    digest.add(_finding(FindingKind.ZOMBIE, zombie, None, size=None, mtime_ns=None))
    digest.add(_finding(FindingKind.LEFTOVER, "an intermediate that names no job", "temp/x.mp4"))
    extent = Extent(31_007, 1_720_000_000_000, 29_801, {"r0a1b2c3d": "/srv/out"}, 12.3)
    return scan_screen(digest, extent, now=NOW, width=width, next_step="jobctl recover", nothing="")


AGREED = "Nothing to tell: files and records agree."


def _calm_scan(width: int) -> Iterable[RenderableType]:
    extent = Extent(1, 1, 1, {"r0a1b2c3d": "/srv/out"}, 0.04)
    return scan_screen(Digest(limit=3), extent, now=NOW, width=width, next_step="", nothing=AGREED)


def _copy(path: str, inode: int, **ties: Any) -> Copy:
    mtime_ns = int(_ago(days=inode).timestamp()) * 10**9
    return Copy("r0a1b2c3d", path, JOB, FileIdentity(1, inode, 13_841_203, mtime_ns, mtime_ns), **ties)


def _duplicates(_: int) -> Iterable[RenderableType]:
    copies = [_copy(VIDEO, 1, named_by=(JOB,), has_record=True), _copy(f"again/{VIDEO}", 2, has_record=True)]
    copies += [_copy(HOSTILE, 3), _copy("linked/a.mp4", 4), _copy("linked/b.mp4", 4)]
    copies += [_copy("tabled.mp4", 5, table_row="app.videos:7")]
    jobs = [
        AskedJob(JOB, "presentation", "ada", "completed", "2026-11-20", has_video=True),
        AskedJob("b" * 36, "avatar", "ada", "failed", "2026-11-19", has_video=False),
    ]
    digest = DuplicateDigest()
    digest.add(CopyGroup("sha256:0", judge_copies(copies)))
    digest.add(CopyGroup("inode:1", judge_copies(copies[3:5])))
    digest.add(RequestGroup("payload:0", SameBy.PAYLOAD, judge_requests(jobs, SameBy.PAYLOAD)))
    roots = {"r0a1b2c3d": "/srv/out"}
    extent = SearchExtent(31_007, {By.BYTES: 12, By.REQUEST: 1}, 27_682_406, roots, 12.3)
    return duplicates_screen(digest, extent)


def _no_duplicates(_: int) -> Iterable[RenderableType]:
    return duplicates_screen(DuplicateDigest(), SearchExtent(1, {}, 0, {}, 0.04))


def _actions() -> list[Action]:
    created = [
        Action(
            seq=number,
            verb=Verb.CREATE,
            job_id=JOB,
            reason="whole, and no record names it",
            path=VIDEO if number else HOSTILE,
            to_status="completed",
        )
        for number in range(7)
    ]
    failed = Action(
        seq=8,
        verb=Verb.FAIL,
        job_id=JOB,
        reason="pid 4711 on host a is gone",
        from_status="processing",
        to_status="failed",
    )
    linked = Action(
        seq=9, verb=Verb.LINK, job_id=JOB, reason="its thumbnail, by its name", path=f"thumbnail_{JOB}.jpg"
    )
    return [*created, failed, linked]


def _plan(_: int) -> Iterable[RenderableType]:
    told = [_finding(FindingKind.AMBIGUOUS, "two whole videos claim this job, and no record says which")]
    digest = digest_plan(
        _actions(),
        told,
        counts={Verb.CREATE: 7, Verb.FAIL: 1, Verb.LINK: 1},
        findings={FindingKind.AMBIGUOUS: 1, FindingKind.LEFTOVER: 2_310},
    )
    return plan_screen(digest)


def _report(_: int) -> Iterable[RenderableType]:
    action = _actions()[1]
    faults = [
        Step(action, Outcome.CONFLICT, "another record of this job was made since"),
        Step(action, Outcome.SKIPPED, "the file was changed or replaced since the plan"),
    ]
    counts = {"planned": 1_206, "done": 1_200, "already": 0, "skipped": 1, "conflict": 5, "failed": 0}
    run_id = "20261123-120000-4f1a"
    return report_screen(run_id=run_id, counts=counts, faults=faults, undo_command=f"jobctl undo {run_id}")


def _job() -> Job:
    return Job(
        job_id=JOB,
        status=Status.FAILED,
        progress=87.0,
        error="pid 4711 on host a is gone",
        error_code="interrupted",
        video_url=f"/presentations/{JOB}/video",
        created_at=_ago(hours=30),
        started_at=_ago(hours=29),
        last_heartbeat=_ago(hours=28),
        created_files=[VIDEO],
        attempt=4,
        spared=2,
        max_attempts=3,
        executor=Executor("a", "boot", 4711, 12),
        owner="ada [bold]\x1b[31m",
        origin=Origin.RECOVERED,
        confidence=Confidence.MEDIUM,
        root_id="r0a1b2c3d",
    )


def _show(width: int) -> Iterable[RenderableType]:
    video = Artifact(
        job_id=JOB, root_id="r0a1b2c3d", path=VIDEO, role="video", size=13_841_203, verdict="whole", tier="2"
    )
    hostile = Artifact(job_id=JOB, root_id="r0a1b2c3d", path=HOSTILE, role="thumbnail", state="missing")
    events = [
        Event(1, JOB, _ago(hours=30), "created", "service", None, None, None, "queued", None),
        Event(
            2, JOB, _ago(hours=29), "status", "service", None, 1, "queued", "processing", {"cause": "claim"}
        ),
        Event(
            3,
            JOB,
            _ago(hours=1),
            "status",
            "ada",
            "20261123-110000-4f1a",
            2,
            "processing",
            "failed",
            {"reason": "pid 4711 on host a is gone"},
        ),
    ]
    body = JobBody({"slides": 3, "title": "a \x1b[31m[red]title"}, None)
    lease = LeaseNote(2, "a-4f1a22e0", "composing \x1b[2J", _ago(hours=1))
    return job_screen(JobDetail(_job(), [video, hostile], events, NOW, body, lease), width=width)


def _show_attempts(width: int) -> Iterable[RenderableType]:
    trace = (
        'Traceback (most recent call last):\n  File "films.py", line 7, in render\nValueError: \x1b[31m[bold]'
    )
    failed = {"cause": "retry", "error": "ValueError: \x1b[31m[bold]", "error_code": "error"}
    events = [
        Event(1, JOB, _ago(hours=3), "created", "service", None, None, None, "queued", None),
        _change(2, 3, 1, "queued", "processing", {"cause": "claim"}),
        _change(3, 2, 1, "processing", "queued", {**failed, "traceback": trace, "retry_after_s": 9.7}),
        _change(4, 1, 2, "queued", "processing", {"cause": "claim"}),
    ]
    job = replace(_job(), status=Status.QUEUED, run_at=NOW + timedelta(minutes=5))
    return job_screen(JobDetail(job, [], events, NOW), width=width)


def _trail() -> list[Event]:
    reason = "no heartbeat for 20 min; \x1b[31m[bold]its worker\u202e is gone"
    rescue = _change(4, 1, 2, "processing", "failed", {"cause": "proof-of-death", "reason": reason})
    long_ago = Event(1, JOB, _ago(days=700), "created", "service", None, None, None, "queued", None)
    return [
        long_ago,
        _change(2, 3, 1, "queued", "processing", {"cause": "claim"}),
        _change(3, 2, 1, "processing", "completed", {"cause": "executor"}),
        rescue._replace(actor="ada", run_id="20261123-110000-4f1a"),
        Event(5, HOSTILE, NOW, "artifact", "worker \x1b[2J", None, 1, None, None, {"path": HOSTILE}),
    ]


def _events(width: int) -> Iterable[RenderableType]:
    return [table(event_screen_columns(NOW, of_one=False), _trail(), width)]


def _followed(width: int) -> Iterable[RenderableType]:
    """Tables that come one after another stand in line."""
    columns = event_screen_columns(NOW, of_one=False)
    for number, event in enumerate(_trail()[:4]):
        yield table(columns, [event], width, with_heading=not number)


def _events_of_one(width: int) -> Iterable[RenderableType]:
    return [table(event_screen_columns(NOW, of_one=True), _trail()[:4], width)]


def _listed(width: int) -> Iterable[RenderableType]:
    def job(digit: str, status: Status, **fields: Any) -> Job:
        return Job(job_id=digit * 36, status=status, created_at=_ago(hours=2), **fields)

    error = "ValueError: " + "the renderer answered 502 and said why at length; " * 9
    jobs = [
        _job(),
        job("b", Status.QUEUED),
        job("c", Status.QUEUED, kind="render", queue="video", error_code="timeout", error="after 20m"),
        job("d", Status.PROCESSING, kind="slides-to-video", progress=40.0, owner="ada"),
        job("e", Status.COMPLETED, error="of an attempt before", completed_at=_ago(hours=1)),
        job("f", Status.FAILED, error_code="error", error=error),
        job("0", Status.CANCELLED, kind=HOSTILE, owner="o" * 99),
    ]
    return [table(job_screen_columns(NOW), jobs, width)]


def _chosen_columns(width: int) -> Iterable[RenderableType]:
    names = ["job_id", "kind", "queue", "error_code", "started_at", "executor"]
    return [table(chosen_job_columns(NOW, names), [_job(), Job(job_id=HOSTILE)], width)]


def _show_aside(width: int) -> Iterable[RenderableType]:
    aside = f"its file {VIDEO} is in quarantine until 2026-12-04 03:00:00; back with"
    told = f"{aside} 'jobctl quarantine restore 20261120-030000-4f1a/2'"
    return job_screen(JobDetail(replace(_job(), status=Status.EXPIRED), [], [], NOW, aside=told), width=width)


def _change(number: int, hours: float, attempt: int, before: str, after: str, detail: Any) -> Event:
    return Event(
        number, JOB, _ago(hours=hours), "status", "worker a-4f1a22e0", None, attempt, before, after, detail
    )


def _explain(width: int) -> Iterable[RenderableType]:
    place = {"source": "video", "locator": f"r0a1b2c3d:{VIDEO}", "trust": "E1"}
    stamp = {"source": "stamp", "locator": VIDEO, "trust": "E4"}
    other = {"value": "2026-11-21T09:00:00.000000Z", **place}
    rows = [
        {
            "field": "status",
            "value": "completed",
            "note": "the file is whole",
            "others": [],
            "conflict": False,
            **place,
        },
        {
            "field": "completed_at",
            "value": "2026-11-22T09:00:00.000000Z",
            "note": "",
            "others": [other],
            "conflict": True,
            **stamp,
        },
        {"field": "created_files", "value": [VIDEO], "note": "", "others": [], "conflict": False, **place},
        {"field": "resolution", "value": "1920x1080", "note": "", "others": [], "conflict": False, **place},
    ]
    return explanation_screen(
        JOB, rows, [f"seen: thumbnail thumbnail_{JOB}.jpg in root r0a1b2c3d"], width=width
    )


class _Run(NamedTuple):
    run_id: str
    command: str
    state: str
    actor: str
    host: str
    undo_of: str | None
    counts: dict[str, int]
    exit_code: int | None
    actions: int
    started_at: datetime
    finished_at: datetime | None


RUNS = [
    _Run(
        run_id="20261123-115500-77aa",
        command="undo",
        state="applying",
        actor="ada",
        host="web-1",
        undo_of="20261123-110000-4f1a",
        counts={},
        exit_code=None,
        actions=1_200,
        started_at=_ago(minutes=5),
        finished_at=None,
    ),
    _Run(
        run_id="20261123-110000-4f1a",
        command="recover",
        state="finished",
        actor="ada",
        host="web-1",
        undo_of=None,
        counts={"done": 1_200, "skipped": 4},
        exit_code=3,
        actions=1_204,
        started_at=_ago(hours=1),
        finished_at=_ago(minutes=59),
    ),
]
RESTORED = {
    **RUNS[1]._asdict(),
    "command": "restore",
    "counts": {"jobs": 1_204, "events": 10_412},
    "exit_code": 0,
    "actions": 0,
    "restored": PutBack(
        f"/srv/backups/{HOSTILE}.db",
        BackupKind.SQLITE,
        _ago(days=1),
        f"/var/lib/{HOSTILE}.before-20261123T110000.118204Z",
        was_sound=True,
    ),
}


class _Root(NamedTuple):
    root_id: str
    path: str
    layout: str
    host: str | None
    generation: int
    registered_at: datetime
    state: str


ROOTS = [
    _Root("r0a1b2c3d", "/srv/video/output/presentations", "presentations", None, 12, _ago(days=90), "ready"),
    _Root(
        "r99887766",
        "/scratch/renders",
        "presentations",
        "web-2",
        0,
        _ago(days=2),
        "only host web-2 can see it",
    ),
]


def _entry(number: int, path: str, *, state: Whereabouts = Whereabouts.QUARANTINED) -> Entry:
    return Entry(
        run_id="20261120-030000-4f1a",
        action=number,
        path=path,
        identity=FileIdentity(1, number, 13_841_203, 10**18, 10**18),
        mode=0o640,
        uid=1000,
        gid=1000,
        reason="an intermediate; its job is completed",
        job_id=JOB,
        role="intermediate",
        sha256=None,
        root_id="r0a1b2c3d",
        store_id="5ca1ab1e",
        at=_ago(days=3),
        whereabouts=state,
        age=timedelta(days=3),
    )


def _entries(width: int) -> Iterable[RenderableType]:
    found = [_entry(1, f"avatar_{JOB}.mp4"), _entry(2, HOSTILE)]
    return [table(ENTRY_COLUMNS, found, width)]


def _differences(_: int) -> Iterable[RenderableType]:
    mend = "jobctl quarantine restore 20261120-030000-4f1a/2"
    untold = Difference(DifferenceKind.UNJOURNALLED, "no run of this store moved it", mend, path=HOSTILE)
    gone = Difference(DifferenceKind.MISSING, "it is gone", "jobctl recover", job_id=JOB, path=VIDEO)
    counts = {DifferenceKind.UNJOURNALLED: 1, DifferenceKind.MISSING: 12}
    return verify_screen(counts, {DifferenceKind.UNJOURNALLED: [untold], DifferenceKind.MISSING: [gone] * 5})


def _kept(width: int) -> Iterable[RenderableType]:
    kept = [
        Kept(JOB, "r0a1b2c3d", VIDEO, "'jobctl recover' would rebuild its record"),
        Kept(JOB, "", "", "completed, unchanged for 3d, less than 30d"),
        Kept("", "r0a1b2c3d", HOSTILE, "seen so for 7 h; it may go after 24 h"),
    ]
    return [table(KEPT_COLUMNS, [kept_line(each) for each in kept], width)]


def _last_runs(width: int) -> Iterable[RenderableType]:
    refused = "root /srv/out cannot be opened: No such file or directory; nothing was changed"
    runs = [
        LastRun("cleanup", "render-1", _ago(hours=5), _ago(hours=5), 14, refused, None, None, _ago(days=2)),
        LastRun("expire", "render-1", _ago(minutes=4), _ago(minutes=4), 0, None, None, None, _ago(minutes=4)),
    ]
    return [table(last_run_columns(NOW), runs, width)]


def _examined(check: str, theme: str, why: str, diagnosis: Diagnosis) -> Examined:
    return Examined(check, theme, why, diagnosis, 0.004)


EXAMINED = [
    _examined("store", "store", "Everything rests on it.", health.ok("/var/lib/jobctl/jobctl.db")),
    _examined(
        "wal",
        "store",
        "A log that a reader keeps from being written back grows without bound, and slows all reading down.",
        health.warn(
            "the write-ahead log has grown to 72.1 MiB, and a reader keeps it from being written back",
            "end the transaction that reads since long (it is open in pid 4711 (python)), then give the room"
            " back",
            "/opt/jobctl/bin/python -m sqlite_utils query /var/lib/jobctl/jobctl.db"
            " 'PRAGMA wal_checkpoint(TRUNCATE)'",
        ),
    ),
    _examined(
        "roots",
        "roots",
        "Nothing is scanned below a root that is away.",
        health.fail(
            "root /srv/out cannot be opened: No such file or directory; nothing was changed", "mount it"
        ),
    ),
    _examined("writable", "roots", "Why.", health.unknown("/srv/out cannot be opened: see 'roots'")),
    _examined("licence", "installed", HOSTILE, health.warn(HOSTILE, HOSTILE)),
]


def _doctor(width: int) -> Iterable[RenderableType]:
    yield from (check_line(one, 16) for one in EXAMINED)
    yield from troubles_screen(EXAMINED, width)


SCREENS = [
    Screen("story", lambda width: page_screen(story_page(a_story()), width)),
    Screen("story-hostile", lambda width: page_screen(story_page(a_story(reported.HOSTILE)), width)),
    Screen("users", lambda width: page_screen(users_page(users(), DAY, ZONE, NOW), width)),
    Screen("billing", lambda width: page_screen(billing_page(some_bills(), DAY), width)),
    Screen("quarantine", _entries),
    Screen("quarantine-entry", lambda _: entry_screen(_entry(2, HOSTILE))),
    Screen("verify", _differences),
    Screen("kept", _kept),
    Screen("last-runs", _last_runs),
    Screen("scan", _scan),
    Screen("scan-calm", _calm_scan),
    Screen("duplicates", _duplicates),
    Screen("duplicates-none", _no_duplicates),
    Screen("plan", _plan),
    Screen("report", _report),
    Screen("show", _show),
    Screen("show-attempts", _show_attempts),
    Screen("explain", _explain),
    Screen("list", _listed),
    Screen("list-chosen", _chosen_columns),
    Screen("events", _events),
    Screen("events-followed", _followed),
    Screen("events-of-one", _events_of_one),
    Screen("show-aside", _show_aside),
    Screen("runs", lambda width: [table(run_columns(NOW), RUNS, width)]),
    Screen("run", lambda _: run_screen(RUNS[1]._asdict())),
    Screen("run-restore", lambda _: run_screen(run_item(RESTORED))),
    Screen("restore", lambda width: plan_screen_of_restore(RESTORE, width)),
    Screen("roots", lambda width: [table(root_columns(NOW), ROOTS, width)]),
    Screen("doctor", _doctor),
]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def render(blocks: Iterable[RenderableType], width: int) -> str:
    """What a terminal of this width shows, without colours."""
    shown = io.StringIO()
    console = Console(file=shown, width=width, highlight=False, markup=False, emoji=False, color_system=None)
    for block in blocks:
        console.print(block)
    return "".join(f"{row.rstrip()}\n" for row in shown.getvalue().splitlines())


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
    assert JOB in render([table(job_screen_columns(NOW), [_job()], width)], width)


@pytest.mark.parametrize("width", [*WIDTHS, 120, 200])
def test_long_words_of_others_push_neither_ids_nor_other_rows_off_the_screen(width: int) -> None:
    job = replace(_job(), owner="o" * 300, error=LONG_ERROR)
    told = Event(1, JOB, NOW, "status", "a" * 300, None, 1, "processing", "failed", {"error": LONG_ERROR})
    for listing in (
        table(job_screen_columns(NOW), [job], width),
        table(event_screen_columns(NOW, of_one=False), [told], width),
    ):
        shown = render([listing], width)
        assert JOB in shown
        assert len(shown.splitlines()) < 20


def test_a_long_error_is_shown_in_part_with_how_to_see_the_rest() -> None:
    failed = {"error": LONG_ERROR, "error_code": "error", "traceback": LONG_ERROR.replace("\n", "")}
    events = [
        _change(1, 2, 1, "queued", "processing", {"cause": "claim"}),
        _change(2, 1, 1, "processing", "failed", {"cause": "executor", **failed}),
    ]
    detail = JobDetail(replace(_job(), error=LONG_ERROR), [], events, NOW)
    shown = render(job_screen(detail, width=80), 80)
    assert len(shown.splitlines()) < 80
    assert "characters; --verbose shows all)" in " ".join(shown.split())
    whole = render(job_screen(detail, width=80, is_verbose=True), 80)
    assert "".join(whole.split()).count("\\x1b[2J") >= 2 * LONG_ERROR.count("\x1b[2J")


def test_markup_in_a_name_is_only_text() -> None:
    assert render([line("[bold red]loud[/bold red] :smile:")], 80) == "[bold red]loud[/bold red] :smile:\n"


def test_a_plan_is_read_no_further_than_its_examples() -> None:
    """A million steps are not read to show five."""
    actions = iter(_actions())
    digest = digest_plan(actions, iter(()), counts={Verb.CREATE: 5}, findings={})
    assert len(digest.steps[Verb.CREATE]) == 5
    assert next(actions).seq == 5
