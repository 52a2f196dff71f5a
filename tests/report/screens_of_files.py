"""Screens of what lies on disk: findings, duplicates, plans and what became of them, quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from rich.console import RenderableType

from jobctl.core.duplicates import By, Copy, CopyGroup, judge_copies
from jobctl.core.requests import AskedJob, RequestGroup, SameBy, judge_requests
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.model.files import FileIdentity, Tier, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.plan import Action, Kept, Outcome, Verb
from jobctl.model.quarantine import Entry, Whereabouts
from jobctl.report.digest import Digest
from jobctl.report.duplicate_digest import DuplicateDigest
from jobctl.report.duplicates_screen import SearchExtent, duplicates_screen
from jobctl.report.listings import ENTRY_COLUMNS, KEPT_COLUMNS, Step, kept_line
from jobctl.report.plan_screen import digest_plan, entry_screen, plan_screen, report_screen
from jobctl.report.scan_screen import Extent, scan_screen
from jobctl.report.screen import table
from jobctl.report.verify_screen import verify_screen
from report.screens import HOSTILE, JOB, NOW, VIDEO, Screen, ago

ORPHANED = "whole, and no record names it"


def _finding(kind: FindingKind, reason: str, path: str | None = VIDEO, **fields: Any) -> Finding:
    mtime_ns = int(ago(days=3).timestamp()) * 10**9
    details = {"root_id": "r0a1b2c3d", "path": path, "size": 13_841_203, "mtime_ns": mtime_ns, **fields}
    return Finding(kind, JOB, reason, **details)


def _scan(width: int) -> Iterable[RenderableType]:
    digest = Digest(limit=3)
    for _ in range(1_204):
        digest.add(_finding(FindingKind.ORPHAN_VIDEO, ORPHANED, verdict=Verdict.WHOLE, acts=True))
    cut = "mdat claims 13,841,203 bytes, the file ends 899 bytes earlier"
    digest.add(_finding(FindingKind.BROKEN_VIDEO, cut, verdict=Verdict.PARTIAL, tier=Tier.BOXES))
    digest.add(_finding(FindingKind.BROKEN_VIDEO, cut, HOSTILE, size=None, mtime_ns=2**63))
    zombie = "no heartbeat for 20 min; its executor cannot be seen from here"
    digest.add(_finding(FindingKind.ZOMBIE, zombie, None, size=None, mtime_ns=None))
    digest.add(_finding(FindingKind.LEFTOVER, "an intermediate that names no job", "temp/x.mp4"))
    extent = Extent(31_007, 1_720_000_000_000, 29_801, {"r0a1b2c3d": "/srv/out"}, 12.3)
    return scan_screen(digest, extent, now=NOW, width=width, nothing="", place=str)


AGREED = "Nothing to tell: files and records agree."


def _calm_scan(width: int) -> Iterable[RenderableType]:
    extent = Extent(1, 1, 1, {"r0a1b2c3d": "/srv/out"}, 0.04)
    return scan_screen(Digest(limit=3), extent, now=NOW, width=width, nothing=AGREED, place=str)


def _copy(path: str, inode: int, **ties: Any) -> Copy:
    mtime_ns = int(ago(days=inode).timestamp()) * 10**9
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
    return duplicates_screen(digest, extent, str)


def _no_duplicates(_: int) -> Iterable[RenderableType]:
    return duplicates_screen(DuplicateDigest(), SearchExtent(1, {}, 0, {}, 0.04), str)


def actions() -> list[Action]:
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
        actions(),
        told,
        counts={Verb.CREATE: 7, Verb.FAIL: 1, Verb.LINK: 1},
        findings={FindingKind.AMBIGUOUS: 1, FindingKind.LEFTOVER: 2_310},
    )
    return plan_screen(digest, str)


def _report(_: int) -> Iterable[RenderableType]:
    action = actions()[1]
    faults = [
        Step(action, Outcome.CONFLICT, "another record of this job was made since"),
        Step(action, Outcome.SKIPPED, "the file was changed or replaced since the plan"),
    ]
    counts = {"planned": 1_206, "done": 1_200, "already": 0, "skipped": 1, "conflict": 5, "failed": 0}
    run_id = "20261123-120000-4f1a"
    return report_screen(
        run_id=run_id, counts=counts, faults=faults, undo_command=f"jobctl undo {run_id}", place=str
    )


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
        at=ago(days=3),
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
    return verify_screen(
        counts, {DifferenceKind.UNJOURNALLED: [untold], DifferenceKind.MISSING: [gone] * 5}, str
    )


def _kept(width: int) -> Iterable[RenderableType]:
    kept = [
        Kept(JOB, "r0a1b2c3d", VIDEO, "'jobctl recover' would rebuild its record"),
        Kept(JOB, "", "", "completed, unchanged for 3 d, less than 30 d"),
        Kept("", "r0a1b2c3d", HOSTILE, "seen so for 7 h; it may go after 1 d"),
    ]
    return [table(KEPT_COLUMNS, [kept_line(each) for each in kept], width)]


SCREENS = [
    Screen("scan", _scan),
    Screen("scan-calm", _calm_scan),
    Screen("duplicates", _duplicates),
    Screen("duplicates-none", _no_duplicates),
    Screen("plan", _plan),
    Screen("report", _report),
    Screen("quarantine", _entries),
    Screen("quarantine-entry", lambda _: entry_screen(_entry(2, HOSTILE))),
    Screen("verify", _differences),
    Screen("kept", _kept),
]
