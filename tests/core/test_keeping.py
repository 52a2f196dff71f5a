"""What may be taken away, and when: never what is needed, never too soon, never by a clock that jumped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cases import JOB, ROOT, case, linked, other, record, seen, video, world
from jobctl.core.ages import Ages, Reading, why_jumped
from jobctl.core.case import Case
from jobctl.core.custody import Judgement, judge, why_too_soon
from jobctl.core.reconcile import reconcile
from jobctl.core.release import why_not_purged
from jobctl.model.files import BROKEN, FileIdentity, Role, Verdict
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.quarantine import Entry, Whereabouts
from jobctl.model.records import LooseSince
from jobctl.model.status import OPEN, Status

INPUT = other(Role.INTERMEDIATE, f"remotion_input_{JOB}.json")
NOW = datetime(2025, 11, 8, tzinfo=UTC)
DAY = timedelta(days=1)


def judged(given_case: Case) -> list[Judgement]:
    given_case.findings = reconcile(given_case, world())
    return list(judge(given_case))


STAYS = {
    "a broken video that its record names": (
        case(video(Verdict.PARTIAL), record=record("failed", error_code="x"), linked=[linked()]),
        "its record names it",
    ),
    "the only video of a completed job, however broken": (
        case(video(Verdict.PARTIAL), record=record("completed")),
        "no whole video of it is there",
    ),
    "a broken video of a job at work": (
        case(video(Verdict.PARTIAL), record=record("processing")),
        "its job is processing",
    ),
    "an intermediate, where it may be all that is left": (
        case(INPUT, record=record("completed"), linked=[linked()]),
        "it may be all that is left",
    ),
    "what a table names": (
        case(video(Verdict.PARTIAL), references=["projects:17"]),
        "projects:17 names its job",
    ),
    "what evidence disagrees about": (
        case(video(), record=record("failed", error_code="render-error")),
        "evidence disagrees",
    ),
    "what may still be written to": (case(video(Verdict.UNSETTLED)), "may still be written to"),
    "what could not be judged": (case(video(Verdict.UNREADABLE)), "could not be judged"),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays(name: str) -> None:
    given_case, reason = STAYS[name]
    (judgement,) = judged(given_case)
    assert judgement.stays is not None
    assert reason in judgement.stays


verdicts = st.sampled_from(Verdict)
videos = st.builds(
    lambda verdict, number: video(verdict, name=f"{number}/{JOB}.mp4"), verdicts, st.integers(0, 2)
)
statuses = st.sampled_from(Status) | st.none()


@given(st.lists(videos | st.just(INPUT), max_size=4), statuses, st.booleans(), st.booleans())
def test_nothing_that_is_needed_may_go(
    files: Sequence, status: Status | None, is_linked: bool, is_named: bool
) -> None:
    known = record(status.value) if status else None
    links = [linked(file.seen.path) for file in files if is_linked and file.seen.role == Role.VIDEO]
    given_case = case(*files, record=known, linked=links, references=["t:1"] if is_named else [])
    whole = {file.seen for file in given_case.whole_videos}
    for judgement in judged(given_case):
        if judgement.stays or judgement.on_request or judgement.as_copy:
            continue
        assert not is_named
        assert status not in OPEN
        if status is Status.COMPLETED:
            assert judgement.seen not in whole
            assert judgement.relies_on in whole
        if judgement.seen.role == Role.VIDEO and known and status not in {Status.CANCELLED, Status.EXPIRED}:
            assert not is_linked
            assert next(file.verdict for file in files if file.seen == judgement.seen) in BROKEN


def loose(since: datetime, **changes: int) -> LooseSince:
    it = seen()
    return LooseSince(JOB, ROOT, it.path, it.inode, it.size, it.mtime_ns, it.ctime_ns, since)._replace(
        **changes
    )


@pytest.mark.parametrize(
    ("since", "ages", "why"),
    [
        (None, Ages(NOW), "for the first time"),
        (loose(NOW - 2 * DAY), Ages(NOW), None),
        (loose(NOW - 2 * DAY, size=999), Ages(NOW), "for the first time"),
        (loose(NOW - 2 * DAY, ctime_ns=1), Ages(NOW), "for the first time"),
        (loose(NOW - DAY / 2), Ages(NOW), "seen so for 12 h"),
        (loose(NOW + DAY), Ages(NOW), "the clock jumped"),
        (loose(NOW - 2 * DAY), Ages(NOW, trusted_from=NOW - DAY / 2), "counted from 2025-11-07 12:00 UTC"),
    ],
)
def test_a_file_goes_a_day_after_it_was_first_seen_just_so(
    since: LooseSince | None, ages: Ages, why: str | None
) -> None:
    said = why_too_soon(Judgement(seen(), Kind.LEFTOVER, "it is"), since, ages=ages, grace=DAY)
    assert (said is None) if why is None else (why in (said or ""))


@given(
    st.timedeltas(min_value=-400 * DAY, max_value=400 * DAY), st.none() | st.timedeltas(max_value=400 * DAY)
)
def test_a_clock_that_jumped_makes_nothing_older(ago: timedelta, trusted: timedelta | None) -> None:
    moment = NOW - ago
    trusted_from = None if trusted is None or trusted < -DAY else NOW - trusted
    plain, careful = Ages(NOW).of(moment), Ages(NOW, trusted_from).of(moment)
    assert careful is None or (plain is not None and timedelta(0) <= careful <= plain)
    assert (careful is None) == (moment > NOW + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("passed_s", "boottime_s", "boot_id", "why"),
    [
        (60, 60, "b", None),
        (3_700, 60, "b", "jumped ahead by 1 h"),
        (-3_700, 60, "b", "was set back by 1 h"),
        (86_400, 0, "other", None),
        (-3_700, 0, "other", "set back"),
        (40 * 86_400, 0, "other", "nothing was heard"),
    ],
)
def test_a_clock_is_held_to_the_one_that_cannot_be_set(
    passed_s: int, boottime_s: int, boot_id: str, why: str | None
) -> None:
    before = Reading("host", "b", 1_000.0, NOW)
    now = Reading("host", boot_id, 1_000.0 + boottime_s, NOW + timedelta(seconds=passed_s))
    said = why_jumped(now, before)
    assert (said is None) if why is None else (why in (said or ""))


def entry(**changes: object) -> Entry:
    base = Entry(
        *("run", 1, "a.mp4", FileIdentity(1, 2, 3, 4, 5), 0o644, 0, 0, "why", JOB, "video", None),
        *(ROOT, "store", NOW - 20 * DAY, Whereabouts.QUARANTINED, 20 * DAY),
    )
    return base._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "status", "copies", "referred_by", "why"),
    [
        ({}, None, [], None, None),
        ({}, "completed", ["b.mp4"], None, None),
        ({"role": "intermediate"}, "completed", [], None, None),
        ({}, "completed", [], None, "no other verified video"),
        ({"role": None}, "completed", [], None, "no other verified video"),
        ({}, "processing", ["b.mp4"], None, "its job is processing again"),
        ({}, "queued", ["b.mp4"], None, "its job is queued again"),
        ({}, None, [], "projects:17", "projects:17 names its job"),
        ({"age": 13 * DAY}, None, [], None, "less than 14 d"),
        ({"age": None}, None, [], None, "clocks disagree"),
    ],
)
def test_what_leaves_quarantine_for_good(
    changes: dict[str, object],
    status: str | None,
    copies: list[str],
    referred_by: str | None,
    why: str | None,
) -> None:
    said = why_not_purged(
        entry(**changes), status=status, copies=copies, referred_by=referred_by, retention=14 * DAY
    )
    assert (said is None) if why is None else (why in (said or ""))
