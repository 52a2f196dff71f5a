"""Reports as folds: every line of the history counts once, and what was lost came back or is lost still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.accounts import End, Fate, LastLife, Lives, Restart
from jobctl.core.logbook import Boot, Trace
from jobctl.core.reporting.activity import Line, What, activity_of
from jobctl.core.reporting.billing import Milestone, billed, bills_of
from jobctl.core.reporting.incidents import Began, Fallen, Losses, Stay, losses_of
from jobctl.core.reporting.outages import (
    Cause,
    Outage,
    Sight,
    by_owner,
    outages_of_files,
    outages_of_losses,
    touching,
)
from jobctl.core.reporting.periods import Bins, Period, Zone
from jobctl.model.logs import Mark
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp

ZONE = Zone(UTC)
BEGIN = datetime(2026, 1, 31, tzinfo=UTC)


def at(hours: float) -> str:
    return format_timestamp(BEGIN + timedelta(hours=hours))


def a_period(begin: float = 0, end: float = 24) -> Period:
    return Period("a day", BEGIN + timedelta(hours=begin), BEGIN + timedelta(hours=end))


STATUSES = ["", *(status.value for status in Status)]
KINDS = [
    "created",
    "status",
    "recovered",
    "imported",
    "deleted",
    "undone",
    "artifact",
    "quarantined",
    "new-kind",
]
LINES = st.builds(
    Line,
    event_id=st.just(0),
    job_id=st.sampled_from("abcdef"),
    at=st.floats(0, 23.99).map(at),
    kind=st.sampled_from(KINDS),
    from_status=st.sampled_from(STATUSES),
    to_status=st.sampled_from(STATUSES),
    cause=st.sampled_from(["", "claim", "rescue", "executor"]),
    verb=st.sampled_from(["", "create", "requeue", "note-missing", "link", "unlink"]),
    error_code=st.sampled_from(["", "interrupted", "lease-lapsed", "codec"]),
    because=st.text(max_size=20),
)


@given(st.lists(LINES))
def test_every_line_counts_as_one_thing_in_one_hour(lines: list[Line]) -> None:
    activity = activity_of(lines, Bins(a_period(), ZONE))
    assert activity.lines == len(lines)
    assert activity.counts.total() == len(lines)
    assert activity.by_bin.total() == len(lines)
    for what, count in activity.counts.items():
        assert sum(number for (_, each), number in activity.by_bin.items() if each is what) == count
    assert activity.recovered.total() == activity.counts[What.RECOVERED]
    ended_badly = activity.counts[What.FAILED] + activity.counts[What.INTERRUPTED]
    assert activity.reasons.total() == ended_badly + activity.recovered["failed"]


@given(st.lists(LINES), st.integers(1, 23))
def test_the_parts_of_a_period_add_up_to_it(lines: list[Line], cut: int) -> None:
    whole = activity_of(lines, Bins(a_period(), ZONE))
    parts = [
        activity_of(
            [line for line in lines if at(low) <= line.at < at(high)], Bins(a_period(low, high), ZONE)
        )
        for low, high in ((0, cut), (cut, 24))
    ]
    assert parts[0].counts + parts[1].counts == +whole.counts
    assert parts[0].reasons + parts[1].reasons == +whole.reasons


def failures_of(*told: tuple[str, str]) -> Counter[str]:
    """The reasons of jobs that failed with these codes and errors."""
    lines = [
        Line(number, "a", at(1), "status", "processing", "failed", "executor", "", code, error)
        for number, (code, error) in enumerate(told)
    ]
    return activity_of(lines, Bins(a_period(), ZONE)).reasons


def test_more_reasons_than_anybody_reads_are_counted_together() -> None:
    letters = "abcdefghijkl"
    names = ["".join(each) for each in islice(product(letters, repeat=3), 1_500)]
    reasons = failures_of(*(("", f"reason {name}\nmore") for name in names))
    assert reasons["reason aaa"] == 1
    assert reasons["other reasons"] == 500


def test_failures_that_differ_only_in_what_is_the_jobs_own_have_one_reason() -> None:
    reasons = failures_of(
        ("error", "ValueError: page 7 of /srv/a.pdf is bad"),
        ("ValueError", "ValueError: page 12 of /srv/b.pdf is bad"),
        ("", "page 7 is bad"),
        ("", "page 8 is bad"),
        ("timeout", "it ran longer than its limit of 1 s"),
        ("error", ""),
        ("", ""),
    )
    assert reasons == {
        "ValueError: page … of /… is bad": 2,
        "page … is bad": 2,
        "timeout": 1,
        "error": 1,
        "no reason is known": 1,
    }


# One instance that began anew at 10:00; what became of its jobs, and of their records.
BOOT = Boot(0, Mark("app.log:7", at(10)))
LIVES = Lives({"s": [BOOT]}, {"s": "app.log"})
RESTART = Restart("s", 1, BOOT)


def fallen(job_id: str, end: End = End.COMPLETED) -> Fallen:
    trace = Trace(created=Mark("app.log:1", at(1)))
    return Fallen(job_id, RESTART, LastLife(trace, Fate(end, ""), RESTART))


def losses(stays: dict[str, list[Stay]], *job_ids: str) -> Losses:
    return losses_of([RESTART], [fallen(job_id) for job_id in job_ids or stays], stays, LIVES)


STAYS = st.lists(
    st.builds(
        lambda hour, kind, leaves: Stay(at(hour), kind, leaves and kind != "deleted"),
        st.floats(0, 23),
        st.sampled_from(["created", "recovered", "imported", "undone", "deleted"]),
        st.booleans(),
    ),
    max_size=6,
).map(lambda stays: sorted(stays, key=lambda stay: stay.at))


@given(st.dictionaries(st.sampled_from("abcdefgh"), STAYS), st.data())
def test_what_was_lost_came_back_or_is_lost_still(stays: dict[str, list[Stay]], data: st.DataObject) -> None:
    ends = {job_id: data.draw(st.sampled_from(list(End))) for job_id in stays}
    found = losses_of([RESTART], [fallen(job_id, ends[job_id]) for job_id in stays], stays, LIVES)
    (incident,) = found.incidents
    assert incident.jobs == len(stays) == incident.created
    assert incident.completed + incident.failed + incident.interrupted + incident.unclear == incident.jobs
    assert incident.lost == len(found.losses) == incident.recovered + incident.still_lost
    recoveries = [
        (job_id, stay.at) for job_id, each in stays.items() for stay in each if stay.kind == "recovered"
    ]
    elsewhere = found.attribute(recoveries)
    assert elsewhere + incident.recoveries == len(recoveries)


def test_a_record_that_was_there_was_not_lost() -> None:
    kept = [Stay(at(1), "created", leaves_record=True)]
    deleted = [*kept, Stay(at(2), "deleted", leaves_record=False)]
    found = losses(
        {"kept": kept, "deleted": deleted, "back": [Stay(at(11), "recovered", leaves_record=True)]}
    )
    assert {loss.job_id: loss.until for loss in found.losses} == {"deleted": "", "back": at(11)}


def test_a_recovery_that_was_undone_brought_nothing_back() -> None:
    stays = [Stay(at(11), "recovered", leaves_record=True), Stay(at(12), "undone", leaves_record=False)]
    assert losses({"a": stays}).incidents[0].still_lost == 1
    again = [*stays, Stay(at(13), "recovered", leaves_record=True)]
    assert losses({"a": again}).losses[0].until == at(13)


def outage(begin: Began, until: str, **fields: Any) -> Outage:
    return Outage(
        **{"job_id": "a", "owner": "ada", "cause": Cause.RECORD_LOST, "has_video": True, **fields},
        began=begin,
        until=until,
    )


def test_a_video_could_not_be_reached_from_the_restart_until_its_record_was_rebuilt() -> None:
    found = losses({"a": [Stay(at(11), "recovered", leaves_record=True)], "b": []})
    (one, other) = outages_of_losses(found.losses, {"a": "ada"})
    assert (one.owner, one.began, one.until, one.has_video) == ("ada", Began(at(10), at(10)), at(11), True)
    assert (other.owner, other.until) == (None, "")


def test_when_a_file_went_is_only_bounded() -> None:
    sights = [
        Sight("a", "a.mp4", at(1), is_there=True),
        Sight("a", "a.mp4", at(5), is_there=False),
        Sight("a", "a.mp4", at(6), is_there=False),
        Sight("a", "a.mp4", at(8), is_there=True),
        Sight("b", "b.mp4", at(9), is_there=False),
    ]
    one, other = outages_of_files(sights, {})
    assert (one.began, one.until) == (Began(at(1), at(5)), at(8))
    assert (other.began, other.until) == (Began("", at(9)), "")
    assert not other.began.is_known


def test_an_outage_concerns_every_period_it_has_a_part_of() -> None:
    begun_before = outage(Began(at(-5), at(-5)), "")
    over = outage(Began(at(-5), at(-5)), at(-1))
    later = outage(Began(at(30), at(30)), "")
    assert list(touching([begun_before, over, later], at(0), at(24))) == [begun_before]


def test_owners_are_told_once_with_all_that_they_missed() -> None:
    outages = [
        outage(Began(at(3), at(4)), at(5), job_id="b"),
        outage(Began(at(1), at(2)), "", job_id="a"),
        outage(Began(at(1), at(2)), at(3), job_id="c", has_video=False),
        outage(Began(at(1), at(2)), at(3), owner=None),
    ]
    ada, nobody = by_owner(outages)
    assert (ada.owner, ada.videos, ada.answers, ada.still) == ("ada", 2, 1, 1)
    assert (ada.began, ada.until) == (Began(at(1), at(2)), "")
    assert (nobody.owner, nobody.until) == (None, at(3))


def milestone(
    job_id: str, hour: float, kind: str = "status", to: str = "completed", **fields: Any
) -> Milestone:
    known = {"from_status": "processing", "verb": "", "owner": "ada", "completed_at": None, "seconds": 60.0}
    values = {**known, "sha256": job_id, **fields}
    return Milestone(job_id=job_id, at=at(hour), kind=kind, to_status=to, **values)


def bill(*lines: Milestone) -> Sequence[tuple[Any, ...]]:
    bills = bills_of(billed(lines), at(0), at(24))
    return [(each.owner, each.jobs, each.minutes, each.unknown, each.copies) for each in bills]


def test_a_job_is_billed_once_however_often_it_was_recovered() -> None:
    lost_and_found = [
        milestone("a", 1),
        milestone("a", 5, "recovered"),
        milestone("a", 6, "undone", "", verb="forget"),
        milestone("a", 7, "recovered"),
    ]
    assert bill(*lost_and_found) == [("ada", 1, 1.0, 0, 0)]


def test_a_new_job_under_an_expired_id_is_another_one() -> None:
    lines = [
        milestone("a", 1),
        milestone("a", 5, "created", "queued", from_status="expired"),
        milestone("a", 9),
    ]
    # Nobody can tell the length of the first one's video any more.
    assert bill(*lines) == [("ada", 2, 1.0, 1, 0)]


def test_a_recovered_job_is_billed_when_its_record_says_it_was_completed() -> None:
    early = milestone("a", 1, "recovered", completed_at=at(-40))
    assert bill(early) == []
    assert bill(milestone("a", 30, "recovered", completed_at=at(2))) == [("ada", 1, 1.0, 0, 0)]
    assert bill(milestone("a", 3, verb="complete", completed_at=at(-40))) == []


def test_a_completion_that_was_taken_back_is_not_billed() -> None:
    assert (
        bill(milestone("a", 1, verb="complete"), milestone("a", 2, "undone", "processing", verb="revert"))
        == []
    )
    # Unlinking a thumbnail takes no completion back.
    assert bill(milestone("a", 1), milestone("a", 2, "undone", "", verb="unlink")) == [("ada", 1, 1.0, 0, 0)]


def test_a_length_that_nobody_measured_is_not_nothing() -> None:
    assert bill(milestone("a", 1), milestone("b", 2, seconds=None)) == [("ada", 2, 1.0, 1, 0)]


def test_a_recovered_copy_of_a_video_is_told_and_not_billed() -> None:
    asked = milestone("b", 5, sha256="same")
    found = milestone("a", 1, "recovered", sha256="same", owner=None)
    assert bill(found, asked) == [("ada", 1, 1.0, 0, 0), (None, 0, 0.0, 0, 1)]
    # Two that were asked for are two, whatever their bytes.
    assert bill(milestone("a", 1, sha256="same"), asked) == [("ada", 2, 2.0, 0, 0)]


@given(
    st.lists(
        st.builds(
            milestone,
            st.sampled_from("abc"),
            st.floats(0, 23),
            st.sampled_from(["status", "recovered", "created", "undone"]),
            st.sampled_from(["completed", "queued", ""]),
            owner=st.sampled_from(["ada", "bob", None]),
            seconds=st.one_of(st.none(), st.floats(0, 1e6)),
            from_status=st.sampled_from(["", "expired", "processing"]),
            verb=st.sampled_from(["", "create", "forget"]),
        )
    )
)
def test_bills_hold_every_completed_job_once(lines: list[Milestone]) -> None:
    lines.sort(key=lambda line: line.job_id)
    jobs = list(billed(lines))
    bills = bills_of(jobs, at(-1), at(25))
    assert sum(each.jobs + each.copies for each in bills) == len(jobs)
    per_owner = Counter(job.owner for job in jobs)
    assert {each.owner: each.jobs + each.copies for each in bills} == per_owner
    assert all(each.unknown <= each.jobs and each.recovered <= each.jobs for each in bills)
