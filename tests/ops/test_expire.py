"""Expire: who is rescued, who ends, who is kept, and why."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from jobctl.model.plan import Verb
from jobctl.model.status import Status
from jobctl.ops.runs import list_runs
from jobctl.outputs.walk import walk
from jobctl.policy import Policy, Rule
from jobctl.store import schema
from ops.tidying import failing_scandir, link
from ops.world import Calendar, World, a_job_id, dead_executor, set_age, verbs

WEEK = Policy(rule=Rule(timedelta(hours=24), {"completed": timedelta(days=7), "failed": timedelta(days=2)}))


def kept(world: World) -> dict[str, str]:
    return {each.job_id: each.reason for each in world.plans[-1].kept()}


def test_without_a_policy_nothing_expires(world: World, calendar: Calendar) -> None:
    world.video()
    world.recover()
    calendar.pass_(days=20)
    assert world.expire_plan().total == 0


def test_an_ended_job_goes_with_its_files_and_comes_back_with_them(world: World, calendar: Calendar) -> None:
    path = world.video()
    world.recover()
    before, tree = world.tables(), world.tree()
    calendar.pass_(days=6)
    assert world.expire_plan(WEEK).total == 0
    calendar.pass_(days=2)
    report = world.expire(WEEK)
    assert (report.counts["done"], report.exit_code) == (2, 0)
    assert (world.job().status, path.exists()) == (Status.EXPIRED, False)
    assert world.recover().counts["planned"] == 0
    undone = world.undo(report.run_id)
    assert undone.counts["done"] == 2
    assert (world.tables(), world.tree()) == (before, tree)
    assert world.expire_plan(WEEK).total == 0


def test_a_dead_worker_gives_its_job_back_while_attempts_are_left(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    assert (verbs(world.expire_plan(WEEK)), kept(world)) == ([Verb.FAIL], {})
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET max_attempts = 2")
    assert world.expire(WEEK).counts["done"] == 1
    job = world.job()
    assert (job.status, job.attempt, job.executor) == (Status.QUEUED, 1, None)


def test_an_attempt_that_cost_it_none_leaves_a_job_all_its_tries(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET attempt = 7, spared = 7")
    (action,) = world.expire_plan(WEEK)
    assert (action.verb, action.reason.partition(":")[0]) == (Verb.REQUEUE, "attempt 0 of 1")


def test_a_zombie_whose_video_is_whole_is_completed(world: World) -> None:
    world.video()
    world.start_job(0, executor=dead_executor(), ago_s=9_000)
    assert world.expire(WEEK).counts["done"] == 1
    assert world.job().status is Status.COMPLETED


def test_what_waits_too_long_for_its_turn_expires(world: World, calendar: Calendar) -> None:
    world.queue_job(0)
    assert world.expire_plan(WEEK, explains=True).total == 0
    ((job_id, reason),) = kept(world).items()
    assert job_id == a_job_id()
    assert re.fullmatch(r"queued for \d+ s, less than 1 d", reason)
    calendar.pass_(hours=25)
    assert world.expire(WEEK).counts["done"] == 1
    assert world.job().status is Status.EXPIRED


MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


def test_it_tells_since_when_it_watches_a_heartbeat_that_it_cannot_see_the_executor_of(
    world: World, calendar: Calendar
) -> None:
    world.start_job(0, executor=dead_executor()._replace(host="host-b"))
    assert world.expire_plan(WEEK, explains=True).total == 0
    (reason,) = kept(world).values()
    assert "its heartbeat is watched from here from now on; it counts as dead once" in reason
    calendar.pass_(minutes=3)
    assert world.expire_plan(WEEK, explains=True).total == 0
    (reason,) = kept(world).values()
    assert re.search(
        rf"is watched from here since {MOMENT}; it counts as dead once that stood still for \d+ min$",
        reason,
    )


def test_after_a_jump_of_the_clock_it_tells_from_when_ages_count(world: World, calendar: Calendar) -> None:
    world.queue_job(0)
    assert world.expire_plan(WEEK, explains=True).total == 0
    calendar.jump(days=30)
    assert world.expire_plan(WEEK, explains=True).total == 0
    (reason,) = kept(world).values()
    said = rf"queued for \d+ s \(counted from {MOMENT}: the clock cannot be trusted before\), less than 1 d"
    assert re.fullmatch(said, reason)


@pytest.mark.parametrize("times", [1, 2])
def test_where_a_record_was_changed_since_the_plan_neither_it_nor_its_files_go(
    world: World, calendar: Calendar, times: int
) -> None:
    """Ending a job takes its record to the next version, and so does whatever else changes it."""
    path = world.file(f"thumbnail_{a_job_id(0)}.jpg")
    world.video()
    world.recover()
    calendar.pass_(days=8)
    plan = world.expire_plan(WEEK)
    assert plan.total == 3
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.job).values(version=schema.job.c.version + times))
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["conflict"]) == (0, 3)
    assert (world.job().status, path.exists(), len(world.tree())) == (Status.COMPLETED, True, 2)


# --- the files that go with a job ------------------------------------------------------------------


def with_files(world: World) -> list[Path]:
    """A completed job and the files of several roles, in two directories, that its record names."""
    paths = [
        world.file(f"thumbnail_{a_job_id()}.jpg"),
        world.file(f"avatar_{a_job_id()}.mp4"),
        world.file(f"2026/slide_1_{a_job_id()}.mp4"),
        world.video(),
    ]
    world.recover()
    return paths


def test_all_files_that_its_record_names_go_with_a_job(world: World, calendar: Calendar) -> None:
    paths = with_files(world)
    calendar.pass_(days=8)
    report = world.expire(WEEK)
    assert (report.counts["done"], report.exit_code) == (1 + len(paths), 0)
    assert (world.job().status, world.tree()) == (Status.EXPIRED, {})
    assert states(world) == {"quarantined"}


def test_a_file_that_came_back_since_it_was_noted_as_missing_goes_with_its_job(
    world: World, calendar: Calendar
) -> None:
    path, content = gone_missing(world)
    calendar.pass_(days=8)
    assert (verbs(world.expire_plan(WEEK)), kept(world)) == ([Verb.EXPIRE], {}), "that it is away is no news"
    path.write_bytes(content)
    report = world.expire(WEEK)
    assert (report.counts["done"], path.exists(), states(world)) == (2, False, {"quarantined"})
    assert world.undo(report.run_id).counts["done"] == 2
    assert (path.read_bytes(), states(world)) == (content, {"missing"})


def test_what_came_in_the_place_of_a_missing_file_is_given_back_as_it_is(
    world: World, calendar: Calendar
) -> None:
    """The checksum that the record knows is not its own: it was not altered in quarantine."""
    path, _ = gone_missing(world)
    calendar.pass_(days=8)
    path.write_bytes(b"another")
    report = world.expire(WEEK)
    (aside,) = (each for each in world.root.glob(".jobctl/quarantine/*/*") if each.name.isdigit())
    os.utime(aside, (1, 1))
    assert world.undo(report.run_id).counts["done"] == 2
    assert path.read_bytes() == b"another"


def gone_missing(world: World) -> tuple[Path, bytes]:
    """The video of a completed job, which its record names as missing; and what it held."""
    path = world.video()
    world.recover()
    content = path.read_bytes()
    path.unlink()
    world.recover()
    assert states(world) == {"missing"}
    return path, content


def states(world: World) -> set[str]:
    """What the records say of their files."""
    with world.site() as site, site.store.read() as connection:
        return set(connection.execute(select(schema.artifact.c.state)).scalars())


def test_what_came_after_the_plan_stays_where_its_job_expires(world: World, calendar: Calendar) -> None:
    """Beside the files that go, and in the place of one of them."""
    paths = with_files(world)
    calendar.pass_(days=8)
    paths[0].unlink()
    plan = world.expire_plan(WEEK)
    assert kept(world) == {a_job_id(): "it cannot be looked at: No such file or directory"}
    paths[0].write_bytes(b"come back")
    paths[1].unlink()
    paths[1].write_bytes(b"another")
    late = world.file(f"slide_2_{a_job_id()}.mp4")
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["skipped"]) == (3, 1)
    assert world.job().status is Status.EXPIRED
    assert sorted(world.tree()) == sorted(path.name for path in (*paths[:2], late))


def expired_without_its_file(world: World, calendar: Calendar) -> Path:
    """A job that expired, and its video, which could not be moved since it was changed after the plan."""
    path = world.video()
    world.recover()
    calendar.pass_(days=8)
    plan = world.expire_plan(WEEK)
    set_age(path, 3_600)
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["skipped"]) == (1, 1)
    assert (world.job().status, path.exists()) == (Status.EXPIRED, True)
    return path


def test_a_file_that_could_not_go_with_its_job_goes_with_the_next_run(
    world: World, calendar: Calendar
) -> None:
    path = expired_without_its_file(world, calendar)
    report = world.expire(WEEK)
    assert (report.counts["done"], report.counts["planned"], path.exists()) == (1, 1, False)
    assert states(world) == {"quarantined"}
    assert world.expire_plan(WEEK).total == 0
    assert world.undo(report.run_id).counts["done"] == 1
    assert (path.exists(), states(world)) == (True, {"present"})


def test_a_file_that_was_left_stays_where_its_job_came_back(world: World, calendar: Calendar) -> None:
    path = expired_without_its_file(world, calendar)
    with world.site() as site:
        ended = list_runs(site)[0]
    assert world.undo(ended.run_id).counts["done"] == 1
    assert world.job().status is Status.COMPLETED
    assert (world.expire_plan(Policy()).total, path.exists()) == (0, True)


def test_a_file_that_was_left_stays_while_its_root_cannot_be_read_completely(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read may be a link that leads to it."""
    (world.root / "below").mkdir()
    expired_without_its_file(world, calendar)
    scandir = failing_scandir(world, "below")
    with monkeypatch.context() as patched:
        patched.setattr(
            "jobctl.ops.scan.walk", lambda *given, **named: walk(*given, scandir=scandir, **named)
        )
        assert world.expire_plan(WEEK).total == 0
    assert verbs(world.expire_plan(WEEK)) == [Verb.QUARANTINE]


def test_a_file_that_was_left_stays_where_another_record_names_it(world: World, calendar: Calendar) -> None:
    path = expired_without_its_file(world, calendar)
    world.start_job(1)
    world.finish_job(1)
    link(world, 1, path.name)
    assert (world.expire_plan(WEEK).total, kept(world)) == (
        0,
        {a_job_id(): f"the record of job {a_job_id(1)} names it"},
    )


def test_what_stands_in_the_place_of_a_file_that_was_left_and_is_none_stays(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    path = expired_without_its_file(world, calendar)
    path.rename(tmp_path / "precious")
    path.symlink_to(tmp_path / "precious")
    assert (world.expire_plan(WEEK).total, kept(world)) == (0, {a_job_id(): "it is no regular file"})
