"""Reports over a real store: the example day, whose videos were out of reach, and what is billed."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

import demo_tree
import log_day
from jobctl import clock
from jobctl.core.reporting.activity import What
from jobctl.core.reporting.billing import Bill
from jobctl.core.reporting.incidents import Began
from jobctl.core.reporting.outages import Cause
from jobctl.core.reporting.periods import Grain, Period, Zone, period_named
from jobctl.core.reporting.story import Story
from jobctl.model.job import Job
from jobctl.model.status import Cause as By
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.ops.ingest import ingest
from jobctl.ops.report import affected_users, bills, story_of
from jobctl.store import jobs
from jobctl.store.schema import event
from ops.example_day import DAY, live_through, lives, make_videos
from ops.world import Calendar, World, a_job_id, dead_executor

UTC_ZONE = Zone(UTC)


def story(world: World, period: Period = DAY, zone: Zone = UTC_ZONE) -> Story:
    with world.site() as site:
        return story_of(site, period, zone)


def today(world: World) -> Period:
    with world.site() as site, site.store.read() as connection:
        return period_named("today", None, site.store.now(connection), UTC_ZONE)


def billed(world: World, period: Period) -> dict[str | None, Bill]:
    with world.site() as site:
        return {bill.owner: bill for bill in bills(site, period)}


def events_of(world: World, period: Period) -> Counter[tuple[str, str | None]]:
    """The history of a period, counted by the database."""
    with world.site() as site, site.store.read() as connection:
        rows = connection.execute(
            select(event.c.kind, event.c.to_status, func.count())
            .where(event.c.at >= period.since, event.c.at < period.until)
            .group_by(event.c.kind, event.c.to_status)
        )
        return Counter({(kind, status): count for kind, status, count in rows})


def check_the_day(world: World, day: log_day.Day, losses: tuple[int, ...]) -> None:
    """The report tells the story of the day, and its sums are those of the history."""
    told, truth = story(world), day.jobs.values()
    ends = Counter((job.life, job.outcome) for job in truth)
    for life, incident in enumerate(told.incidents, start=1):
        assert incident.name == f"restart {life} of day.log"
        assert incident.jobs == incident.created == incident.lost == incident.recovered == losses[life - 1]
        assert (incident.completed, incident.failed, incident.interrupted, incident.still_lost) == (
            ends[life, "completed"],
            ends[life, "failed"],
            ends[life, "interrupted"],
            0,
        )
        restart = day.restarts[life - 1]
        assert timedelta(0) <= restart - parse_timestamp(incident.began.not_before) < timedelta(minutes=5)
        assert parse_timestamp(incident.first_recovered) - restart >= timedelta(minutes=5)
    assert [incident.lost for incident in told.incidents] == list(losses)
    counted = events_of(world, DAY)
    assert told.activity.lines == counted.total()
    assert told.activity.counts[What.RECOVERED] == sum(losses) == told.lost
    assert told.activity.recovered == {
        status: count for (kind, status), count in counted.items() if kind == "recovered"
    }
    assert sum(incident.recoveries for incident in told.incidents) + told.elsewhere == sum(losses)
    assert told.elsewhere == told.still_lost == told.undated == 0


def test_the_example_day(embedded: World, calendar: Calendar, tmp_path: Path) -> None:
    """300 jobs; restarts that lost 100, 80 and 120; a recovery after each."""
    losses = (100, 80, 120)
    check_the_day(embedded, live_through(embedded, calendar, tmp_path, losses), losses)


def test_a_small_day(postgresql_url: str, calendar: Calendar, tmp_path: Path) -> None:
    world = World(postgresql_url, tmp_path / "outputs")
    world.init()
    losses = (5, 3, 6)
    day = live_through(world, calendar, tmp_path, losses)
    check_the_day(world, day, losses)
    with world.site() as site:
        (nobody,), _ = affected_users(site, DAY)
        before, _ = affected_users(site, Period("", DAY.since - timedelta(days=1), DAY.since))
        after, _ = affected_users(site, Period("", DAY.until, DAY.until + timedelta(days=1)))
    assert before == after == []
    completed = {job.job_id: job for job in day.jobs.values() if job.outcome == "completed"}
    assert {each.job_id for each in nobody.outages if each.has_video} == set(completed)
    for outage in nobody.outages:
        began = day.restarts[day.jobs[outage.job_id].life - 1]
        assert outage.cause is Cause.RECORD_LOST
        assert parse_timestamp(outage.began.not_before) <= began <= parse_timestamp(outage.until)
    (bill,) = billed(world, DAY).values()
    assert (bill.jobs, bill.recovered, bill.unknown) == (len(completed), len(completed), 0)
    assert bill.minutes == pytest.approx(len(completed) * 4 / 12 / 60, rel=0.5)


def test_the_days_of_a_week_add_up_to_it(embedded: World, calendar: Calendar, tmp_path: Path) -> None:
    live_through(embedded, calendar, tmp_path, (4, 2))
    zone = Zone(ZoneInfo("Pacific/Auckland"))  # where the day of the log is parted at 11:00 UTC
    noon = DAY.since + timedelta(hours=12)
    week = story(embedded, period_named("this", Grain.WEEK, noon, zone), zone)
    noons = [week.period.since + timedelta(hours=12 + 24 * number) for number in range(7)]
    days = [story(embedded, period_named("today", None, each, zone), zone) for each in noons]
    assert [day.lost for day in days if day.lost] == [4, 2]
    assert sum(day.lost for day in days) == week.lost == 6
    assert sum((day.activity.counts for day in days), Counter()) == +week.activity.counts


def test_what_is_not_recovered_is_lost_still(world: World, tmp_path: Path) -> None:
    day = log_day.simulate(losses=(5, 3), noise=0)
    log = tmp_path / "day.log"
    demo_tree.encode(tmp_path / "one.mp4", seed=1, frames=4, size=(64, 48))
    make_videos(world, day, tmp_path / "one.mp4", 1)
    log.write_text("".join(lives(day)))
    with world.site() as site:
        ingest(site, [str(log)], zone=UTC)
    told = story(world)
    assert [(each.lost, each.still_lost) for each in told.incidents] == [(5, 5), (3, 3)]
    assert told.activity.lines == 0
    with world.site() as site:
        (nobody,), _ = affected_users(site, today(world))
    assert nobody.still == len(nobody.outages) == 8
    run = world.recover()
    # Nothing brings back a job that had completed, and whose video is gone.
    gone = sum(job.life == 2 and job.outcome == "completed" for job in day.jobs.values())
    assert story(world).still_lost == gone > 0
    # Applied today, of what was lost then: no restart of today's explains it.
    assert (story(world, today(world)).elsewhere, story(world, today(world)).lost) == (8 - gone, 0)
    world.undo(run.run_id)
    assert story(world).still_lost == 8
    again = story(world, today(world)).activity.counts
    assert again[What.RECOVERED] == again[What.UNDONE] == 8 - gone


def test_a_job_that_had_a_record_was_not_lost(world: World, tmp_path: Path) -> None:
    """The service recorded one of its two jobs: the restart took only the other."""
    begin = datetime(2025, 11, 4, 10, tzinfo=UTC)
    lines = []
    for number in (0, 1):
        moment = (begin + timedelta(minutes=number)).replace(tzinfo=None).isoformat()
        job_id = a_job_id(number)
        lines += [
            f"INFO:svc:Created presentation job: {job_id}",
            f"INFO:svc:[JOB_STATUS_UPDATE] Job {job_id}: queued→processing, 0%→5.0%",
            f"INFO:svc:[JOB_STATUS_UPDATE] Timestamp: {moment}",
        ]
    log = tmp_path / "app.log"
    log.write_text("\n".join([*lines, "INFO:     Started server process [1]", ""]))
    with world.site() as site:
        with site.store.write() as connection:
            jobs.create_job(connection, Job(job_id=a_job_id(0)), actor="service", at=begin)
        ingest(site, [str(log)], zone=UTC)
    (incident,) = story(world).incidents
    assert (incident.jobs, incident.interrupted, incident.lost, incident.still_lost) == (2, 2, 1, 1)


def test_a_job_cut_short_without_a_log_is_told_with_its_reason(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    world.recover()
    told = story(world, today(world))
    assert told.activity.counts[What.INTERRUPTED] == told.interruptions.total() == 1
    assert "gone" in next(iter(told.interruptions)) or "ended" in next(iter(told.interruptions))


def test_a_video_that_vanished_is_unreachable_until_it_is_found(world: World) -> None:
    """When it went nobody saw: not before it was last found, and before it was missed."""
    path = world.video(0)
    world.recover()
    aside = path.rename(path.with_suffix(".aside"))
    world.recover()
    with world.site() as site:
        (nobody,), _ = affected_users(site, today(world))
    (outage,) = [each for each in nobody.outages if each.cause is Cause.FILE_GONE]
    assert (outage.job_id, outage.until) == (a_job_id(0), "")
    assert "" < outage.began.not_before < outage.began.not_later
    aside.rename(path)
    world.recover()
    with world.site() as site:
        (nobody,), _ = affected_users(site, today(world))
    (over,) = [each for each in nobody.outages if each.cause is Cause.FILE_GONE]
    assert over.began == outage.began
    assert over.until > outage.began.not_later


def test_without_a_log_a_lost_record_is_bounded_by_what_the_store_knows(world: World) -> None:
    """Not before the job was last known to be, and not after the run that missed its record began."""
    world.video(0)
    before, began = today(world), clock.now()
    run = world.recover()
    with world.site() as site:
        (nobody,), _ = affected_users(site, today(world))
        long_ago = Period("", before.since - timedelta(days=9), before.since - timedelta(days=8))
        assert affected_users(site, long_ago)[0] == []
    (outage,) = nobody.outages
    assert (outage.job_id, outage.cause) == (a_job_id(0), Cause.RECORD_MISSING)
    assert (outage.by, outage.has_video) == (run.run_id, True)
    completed_at = world.job().completed_at
    assert completed_at is not None
    assert outage.began.not_before == format_timestamp(completed_at) < format_timestamp(began)
    assert outage.began.not_before < outage.began.not_later <= outage.until
    # What an undo took away is known to the moment.
    world.undo(run.run_id)
    world.recover(include_declined=True)
    with world.site() as site:
        (nobody,), _ = affected_users(site, today(world))
    first, second = nobody.outages
    assert first == outage
    assert second.began.is_known
    assert first.until < second.began.best < second.until


def test_storage_is_told_by_state(world: World) -> None:
    sizes = [os.stat(world.video(number)).st_size for number in (0, 1)]
    world.recover()
    (stored,) = story(world, today(world)).stored
    assert (stored.path, stored.state, stored.files, stored.bytes) == (
        str(world.root),
        "present",
        2,
        sum(sizes),
    )
    assert (stored.new_files, stored.new_bytes) == (2, sum(sizes))
    yesterday = Period("", today(world).since - timedelta(days=1), today(world).since)
    assert story(world, yesterday).stored[0].new_files == 0


def test_owners_are_billed_for_what_they_had_completed(world: World) -> None:
    for number in range(3):
        world.start_job(number)
    for number in range(2):
        world.finish_job(number)
    world.video(7)
    world.recover()
    bills_ = billed(world, today(world))
    assert (bills_["ada"].jobs, bills_["ada"].unknown, bills_["ada"].minutes) == (2, 2, 0.0)
    assert world.job(7).owner is None


def test_a_completed_video_that_was_read_is_billed_by_its_length(world: World) -> None:
    world.start_job(0, executor=None)
    world.video(0)
    world.recover()
    assert world.job(0).status is Status.COMPLETED
    (bill,) = billed(world, Period("", datetime(2000, 1, 1, tzinfo=UTC), today(world).until)).values()
    assert (bill.owner, bill.jobs, bill.unknown) == ("ada", 1, 0)
    assert bill.seconds > 0


def test_a_job_that_was_failed_and_retried_counts_when_it_was_completed(world: World) -> None:
    world.start_job(0)
    with world.site() as site, site.store.write() as connection:
        now = site.store.now(connection)
        steps = (
            (Status.PROCESSING, Status.FAILED, By.EXECUTOR),
            (Status.FAILED, Status.QUEUED, By.OPERATOR),
            (Status.QUEUED, Status.PROCESSING, By.CLAIM),
            (Status.PROCESSING, Status.COMPLETED, By.EXECUTOR),
        )
        for old, new, cause in steps:
            jobs.change_status(connection, a_job_id(0), new, expect=old, cause=cause, actor="t", at=now)
    assert billed(world, today(world))["ada"].jobs == 1
    counts = story(world, today(world)).activity.counts
    assert (counts[What.FAILED], counts[What.REQUEUED], counts[What.COMPLETED]) == (1, 1, 1)


def test_nothing_at_all_is_a_report_as_well(world: World) -> None:
    told = story(world)
    assert (told.activity.lines, told.incidents, told.stored, told.lost) == (0, [], [], 0)
    with world.site() as site:
        assert affected_users(site, DAY)[0] == []
        assert bills(site, DAY) == []
    assert Began().best == ""


def test_measuring_reads_the_videos_whose_length_is_not_known(world: World) -> None:
    """One was published by its attempt and never read through; the other's file is gone."""
    for number in range(2):
        world.start_job(number)
        world.finish_job(number)
    world.video(0)
    world.recover()  # links the file to its job
    assert billed(world, today(world))["ada"].unknown == 2
    with world.site() as site:
        (bill,) = bills(site, today(world), measures=True)
    assert (bill.jobs, bill.unknown) == (2, 1)
    assert bill.seconds > 0
    assert billed(world, today(world))["ada"].unknown == 2


def test_nobody_misses_the_video_of_a_job_that_ended_for_good(world: World) -> None:
    path = world.video(0)
    world.recover()
    path.unlink()
    world.recover()
    with world.site() as site, site.store.write() as connection:
        jobs.change_status(
            connection,
            a_job_id(0),
            Status.EXPIRED,
            expect=Status.COMPLETED,
            cause=By.RETENTION,
            actor="expire",
            at=site.store.now(connection),
        )
    with world.site() as site:
        (nobody,), _ = affected_users(site, today(world))
    missed = [each for each in nobody.outages if each.cause is Cause.FILE_GONE]
    assert (len(missed), nobody.still) == (1, 0)
