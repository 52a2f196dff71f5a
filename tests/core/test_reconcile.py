"""What a careful operator would call each difference between a record and its files, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cases import (
    ALIVE,
    DAY,
    DEAD,
    JOB,
    NOON,
    ROOT,
    UNKNOWN,
    case,
    linked,
    other,
    record,
    video,
    world,
)
from jobctl.core.accounts import Account, End, Fate
from jobctl.core.case import Case, RootCoverage
from jobctl.core.reconcile import liveness_by_log, reconcile, unlinked_files
from jobctl.model.evidence import Fact, Trust
from jobctl.model.files import Role, Verdict
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.records import Declined, Tombstone
from jobctl.model.status import Status

HIDDEN = RootCoverage(is_visible=False, is_complete=True, is_suspended=False)
TORN = RootCoverage(is_visible=True, is_complete=False, is_suspended=False, unknown=("2025/11",))
SUSPENDED = RootCoverage(is_visible=True, is_complete=True, is_suspended=True)

THUMBNAIL = other(Role.THUMBNAIL, f"thumbnail_{JOB}.jpg")
SLIDE = other(Role.SLIDE, f"slide_1_{JOB}.mp4")
INPUT = other(Role.INTERMEDIATE, f"remotion_input_{JOB}.json")

CANCELLED = Fact(JOB, "status", "cancelled", "projects", "projects:17", Trust.SIDECAR)

# (what is there, the findings it gives as (kind, does recover act), part of the reason)
POLICY = {
    "a whole video without a record is rebuilt": (
        case(video()),
        [(Kind.ORPHAN_VIDEO, True)],
        "whole, and no record names it",
    ),
    "a cut video without a record is told, never created": (
        case(video(Verdict.PARTIAL)),
        [(Kind.BROKEN_VIDEO, False)],
        "it is partial",
    ),
    "a video still being written is left alone": (
        case(video(Verdict.UNSETTLED)),
        [(Kind.UNSETTLED, False)],
        "unsettled",
    ),
    "an unreadable video is not called broken": (
        case(video(Verdict.UNREADABLE)),
        [(Kind.UNREADABLE, False)],
        "unreadable",
    ),
    "a video the checker cannot judge is told as such": (
        case(video(Verdict.UNSUPPORTED)),
        [(Kind.UNREADABLE, False)],
        "unsupported",
    ),
    "two whole videos of one job are never chosen between": (
        case(video(), video(name=f"old/presentation_{JOB}.mp4")),
        [(Kind.AMBIGUOUS, False), (Kind.AMBIGUOUS, False)],
        "1 other whole video of this job",
    ),
    "beside a broken copy the whole one counts": (
        case(video(), video(Verdict.CORRUPT, name=f"old/presentation_{JOB}.mp4")),
        [(Kind.BROKEN_VIDEO, False), (Kind.ORPHAN_VIDEO, True)],
        "corrupt",
    ),
    "a whole video of a job that failed by its log is not called complete": (
        case(video(), account=Account(fate=Fate(End.FAILED, "out of disk", "app.log:7"))),
        [(Kind.CONFLICT, False)],
        "whole, while the log says that its job failed: out of disk",
    ),
    "a whole video of a job that a table calls cancelled is not called complete": (
        case(video(), account=Account(facts=[CANCELLED])),
        [(Kind.CONFLICT, False)],
        "projects says that its job is cancelled (projects:17)",
    ),
    "slides alone tell of a lost job": (
        case(SLIDE, INPUT),
        [(Kind.LOST, False)],
        "known only by its intermediate, slide",
    ),
    "a deleted job is not brought back": (
        case(video(), tombstone=Tombstone(JOB, "2025-11-05T00:00:00.000000Z", "deleted")),
        [(Kind.LEFTOVER, False)],
        "its job was deleted on 2025-11-05",
    ),
    "an open record of a dead executor whose video is whole is completed": (
        case(video(), record=record("processing", progress=99.0), liveness=DEAD),
        [(Kind.FINISHED_BUT_OPEN, True)],
        "says processing at 99 %",
    ),
    "a silent executor elsewhere does not keep a finished video open": (
        case(video(), record=record("processing"), liveness=UNKNOWN),
        [(Kind.FINISHED_BUT_OPEN, True)],
        "whole, while its record",
    ),
    "a living executor finishes its own job": (
        case(
            video(), record=record("processing", last_heartbeat="2025-11-05T23:59:00.000000Z"), liveness=ALIVE
        ),
        [],
        "",
    ),
    "the hidden file of a job at work may be being written": (
        case(
            other(Role.TEMPORARY, f".presentation_{JOB}.mp4.part"),
            record=record("processing", last_heartbeat="2025-11-05T23:59:00.000000Z"),
            liveness=ALIVE,
        ),
        [],
        "",
    ),
    "the hidden file of a job that ended is that of a publication that did not": (
        case(other(Role.TEMPORARY, f".presentation_{JOB}.mp4.part"), record=record("cancelled")),
        [(Kind.TEMPORARY, False)],
        "has not ended",
    ),
    "a living executor that has fallen silent is a zombie, not completed behind its back": (
        case(video(), record=record("processing"), liveness=ALIVE),
        [(Kind.ZOMBIE, False)],
        "pid 4711 runs",
    ),
    "what a worker's lease holds is left to its rescue, also where its video is whole": (
        case(video(), record=record("processing"), liveness=DEAD, is_leased=True),
        [(Kind.INTERRUPTED, False)],
        "its worker's lease is ended",
    ),
    "a video from before this attempt is not its result": (
        case(video(mtime_ns=NOON - DAY), record=record("processing"), liveness=DEAD),
        [(Kind.CONFLICT, False)],
        "older than attempt 1",
    ),
    "a queued record whose video is whole is completed": (
        case(video(), record=record("queued")),
        [(Kind.FINISHED_BUT_OPEN, True)],
        "says queued",
    ),
    "a dead executor without a video is interrupted": (
        case(record=record("processing"), liveness=DEAD),
        [(Kind.INTERRUPTED, True)],
        "interrupted at 75 %, last heartbeat 2025-11-04 23:00 UTC: pid 4711 is gone",
    ),
    "how far it was is told as a person says it": (
        case(record=record("processing", progress=2.0360612), liveness=DEAD),
        [(Kind.INTERRUPTED, True)],
        "interrupted at 2.04 %",
    ),
    "a dead executor with a cut video is interrupted too": (
        case(video(Verdict.PARTIAL), record=record("processing"), liveness=DEAD),
        [(Kind.BROKEN_VIDEO, False), (Kind.INTERRUPTED, True)],
        "it is partial",
    ),
    "a dead executor is not failed while its video cannot be judged": (
        case(video(Verdict.UNREADABLE), record=record("processing"), liveness=DEAD),
        [(Kind.UNREADABLE, False), (Kind.INTERRUPTED, False)],
        "unreadable",
    ),
    "an executor elsewhere with a stale heartbeat is a zombie": (
        case(record=record("processing"), liveness=UNKNOWN),
        [(Kind.ZOMBIE, False)],
        "another host",
    ),
    "an executor elsewhere that beats is nothing to tell": (
        case(record=record("processing", last_heartbeat="2025-11-05T23:59:00.000000Z"), liveness=UNKNOWN),
        [],
        "",
    ),
    "a job failed by interruption whose video is whole was finished after all": (
        case(video(), record=record("failed", error_code="interrupted")),
        [(Kind.FINISHED_BUT_OPEN, True)],
        "says failed",
    ),
    "a job that failed for a known cause stays failed": (
        case(video(), record=record("failed", error_code="render-error")),
        [(Kind.CONFLICT, False)],
        "known cause",
    ),
    "a completed record with its video is nothing to tell": (
        case(video(), THUMBNAIL, record=record("completed"), linked=[linked()]),
        [],
        "",
    ),
    "a completed record without its file is told and noted": (
        case(record=record("completed"), linked=[linked()]),
        [(Kind.MISSING_VIDEO, True)],
        "its file is gone",
    ),
    "an end that lies in the future keeps nobody from telling that the file is gone": (
        case(record=record("completed", completed_at="2099-01-01T00:00:00.000000Z"), linked=[linked()]),
        [(Kind.MISSING_VIDEO, True)],
        "its file is gone",
    ),
    "what was noted before is told, not noted again": (
        case(record=record("completed"), linked=[linked(state="missing")]),
        [(Kind.MISSING_VIDEO, False)],
        "noted before",
    ),
    "a video in quarantine is not missing": (
        case(record=record("completed"), linked=[linked(state="quarantined")]),
        [],
        "",
    ),
    "a video that was changed since is a conflict": (
        case(video(size=999), record=record("completed"), linked=[linked()]),
        [(Kind.CONFLICT, False)],
        "999 bytes, its record says 1,000",
    ),
    "a second whole video beside the recorded one is told": (
        case(video(), video(name=f"b/presentation_{JOB}.mp4"), record=record("completed"), linked=[linked()]),
        [(Kind.AMBIGUOUS, False)],
        "its record names another file",
    ),
    "a record made after the walk began is not missing its file": (
        case(record=record("completed", updated_at="2025-11-06T00:00:01.000000Z"), linked=[linked()]),
        [],
        "",
    ),
    "intermediates of an ended job are leftovers": (
        case(video(), INPUT, record=record("completed"), linked=[linked()]),
        [(Kind.LEFTOVER, False)],
        "its job is completed",
    ),
    "intermediates of a running job are its own business": (
        case(
            INPUT, record=record("processing", last_heartbeat="2025-11-05T23:59:00.000000Z"), liveness=ALIVE
        ),
        [],
        "",
    ),
    "files of a cancelled job are leftovers": (
        case(video(), record=record("cancelled")),
        [(Kind.LEFTOVER, False)],
        "its job is cancelled",
    ),
}


@pytest.mark.parametrize("name", POLICY)
def test_policy(name: str) -> None:
    given_case, expected, reason = POLICY[name]
    findings = reconcile(given_case, world())
    assert [(finding.kind, finding.acts) for finding in findings] == expected
    assert any(reason in finding.reason for finding in findings) or not expected


@pytest.mark.parametrize("coverage", [{ROOT: HIDDEN}, {ROOT: TORN}, {ROOT: SUSPENDED}, {}])
def test_what_is_not_proven_absent_is_not_called_missing(coverage: dict[str, RootCoverage]) -> None:
    gone = case(record=record("completed"), linked=[linked()])
    assert reconcile(gone, world(coverage=coverage)) == []


@pytest.mark.parametrize("coverage", [{ROOT: HIDDEN}, {ROOT: TORN}, {ROOT: SUSPENDED}, {}])
def test_a_dead_executor_is_not_failed_while_its_root_cannot_be_seen(
    coverage: dict[str, RootCoverage],
) -> None:
    (finding,) = reconcile(case(record=record("processing"), liveness=DEAD), world(coverage=coverage))
    assert (finding.kind, finding.acts) == (Kind.INTERRUPTED, False)
    assert "left alone" in finding.reason


def test_a_record_that_names_no_root_needs_every_root() -> None:
    one_hidden = world(coverage={ROOT: world().coverage[ROOT], "r2": HIDDEN})
    assert reconcile(case(record=record("completed"), linked=[linked()]), one_hidden)
    assert reconcile(case(record=record("completed")), one_hidden) == []


def test_a_decline_holds_for_the_same_file_only() -> None:
    found = video()
    mark = Declined(
        JOB, ROOT, found.seen.path, found.seen.inode, 1000, NOON, "2025-11-05T00:00:00.000000Z", "run1"
    )
    (declined,) = reconcile(case(found, declined=[mark]), world())
    assert not declined.acts
    assert "run1 took its recovery back" in declined.reason
    (replaced,) = reconcile(case(found, declined=[mark._replace(size=999)]), world())
    assert replaced.acts
    (elsewhere,) = reconcile(case(found, declined=[mark._replace(path="elsewhere.mp4")]), world())
    assert elsewhere.acts


@pytest.mark.parametrize(
    ("booted_at", "state"),
    [
        ("2025-11-05T00:00:00.000000Z", "dead"),
        ("2025-11-04T23:59:58.500000Z", "dead"),
        ("2025-11-04T23:59:57.000000Z", None),
        ("", None),
    ],
)
def test_a_boot_proves_a_death_unless_the_job_gave_a_sign_of_life_after_it(
    booted_at: str, state: str | None
) -> None:
    """Its record was written last at midnight; log and store are written one after the other."""
    fate = Fate(End.INTERRUPTED, "interrupted by restart 1", "app.log:9", booted_at)
    found = liveness_by_log(record("processing"), Account(fate=fate))
    assert (found.state if found else None) == state


@pytest.mark.parametrize("end", sorted(set(End) - {End.INTERRUPTED}))
def test_only_an_interruption_proves_a_death(end: End) -> None:
    fate = Fate(end, "it ended", "app.log:9", "2025-11-05T00:00:00.000000Z")
    assert liveness_by_log(record("processing"), Account(fate=fate)) is None


def test_files_without_a_job_id_are_leftovers_of_no_job() -> None:
    nameless = Case("", files=[other(Role.AVATAR, "avatar_6543a1b2c3d4e5f6a7b8c9d0.mp4")])
    (finding,) = reconcile(nameless, world())
    assert (finding.kind, finding.job_id, finding.acts) == (Kind.LEFTOVER, None, False)


def test_a_broken_video_is_never_linked() -> None:
    given_case = case(video(Verdict.PARTIAL), THUMBNAIL, record=record("failed"))
    assert unlinked_files(given_case) == [THUMBNAIL]


verdicts = st.sampled_from(Verdict)
files = st.lists(
    st.one_of(
        st.builds(
            lambda verdict, number: video(verdict, name=f"{number}/presentation_{JOB}.mp4"),
            verdicts,
            st.integers(0, 3),
        ),
        st.sampled_from([THUMBNAIL, SLIDE, INPUT]),
    ),
    max_size=4,
)
records = st.one_of(
    st.none(),
    st.builds(
        lambda status, code: record(status, error_code=code),
        st.sampled_from(Status),
        st.sampled_from([None, "interrupted", "render-error"]),
    ),
)
coverages = st.sampled_from([{ROOT: HIDDEN}, {ROOT: TORN}, {ROOT: SUSPENDED}, dict(world().coverage)])


@given(files, records, st.sampled_from([ALIVE, DEAD, UNKNOWN]), coverages, st.booleans())
def test_recover_only_ever_acts_on_proof(files, records, liveness, coverage, buried) -> None:
    tombstone = Tombstone(JOB, "2025-11-05T00:00:00.000000Z", "deleted") if buried and not records else None
    given_case = Case(
        JOB, record=records, files=files, linked=[linked()], liveness=liveness, tombstone=tombstone
    )
    acting = [finding for finding in reconcile(given_case, world(coverage=coverage)) if finding.acts]
    assert len(acting) <= 1
    for finding in acting:
        assert not tombstone
        if finding.kind in {Kind.ORPHAN_VIDEO, Kind.FINISHED_BUT_OPEN}:
            assert finding.verdict == Verdict.WHOLE
            assert len(given_case.whole_videos) == 1
            assert records is None or records.status in {"queued", "processing", "failed"}
        elif finding.kind is Kind.INTERRUPTED:
            assert liveness is DEAD
            assert coverage == dict(world().coverage)
        else:
            assert finding.kind is Kind.MISSING_VIDEO
            assert records.status == "completed"
            assert coverage == dict(world().coverage)
            assert not given_case.videos
