"""Recover: lost records come back, nothing else changes, and it can be taken back."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

import demo_tree
from jobctl.core.planning import propose
from jobctl.errors import ExitCode, PlanStale, UsageError
from jobctl.evidence.executor import current_executor, this_boot_id
from jobctl.model.files import Tier
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.job import Executor, Origin
from jobctl.model.plan import Verb
from jobctl.model.status import Cause, Status
from jobctl.ops.apply import apply_plan
from jobctl.ops.explain import explain
from jobctl.ops.hold import hold_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.plan import header_of, load_plan
from jobctl.ops.recover import Gathering, terms_of
from jobctl.ops.scan import Scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.ops.site import no_progress
from jobctl.outputs.stamp import make_stamp
from jobctl.store import jobs
from jobctl.store.schema import job
from ops.tidying import observed
from ops.world import Calendar, World, a_job_id, dead_executor, set_age
from store.records import show_life


def test_a_lost_job_comes_back_completed_with_a_working_url(world: World) -> None:
    world.video()
    world.file(f"thumbnail_{a_job_id()}.jpg")
    before = world.tree()
    report = world.recover()
    assert (report.exit_code, report.counts["done"]) == (ExitCode.CLEAN, 2)
    job = world.job()
    assert (job.status, job.origin, job.shown_progress) == (Status.COMPLETED, Origin.RECOVERED, 100.0)
    assert job.video_url == f"/presentations/{a_job_id()}/video"
    assert job.thumbnail_url == f"/presentations/{a_job_id()}/thumbnail"
    assert job.owner is None
    assert world.tree() == before


def test_every_filled_field_has_its_provenance(world: World) -> None:
    world.video()
    world.recover()
    with world.site() as site:
        fields = explain(site, a_job_id()).fields
    for name in (
        "status",
        "video_url",
        "created_at",
        "completed_at",
        "size",
        "duration_s",
        "resolution",
        "video_codec",
    ):
        assert fields[name]["source"] in {"video", "file"}
        assert fields[name]["locator"].endswith(f"presentation_{a_job_id()}.mp4")
        assert fields[name]["trust"] == "E1"


def test_the_history_tells_of_it(world: World) -> None:
    world.video()
    report = world.recover()
    with world.site() as site, site.store.read() as connection:
        (event,) = jobs.history(connection, a_job_id())
    assert (event.kind, event.to_status, event.run_id, event.actor) == (
        "recovered",
        "completed",
        report.run_id,
        "tester",
    )


def test_a_second_recover_changes_nothing(world: World) -> None:
    world.video()
    world.recover()
    before = world.tables("job", "artifact", "event", "run")
    report = world.recover()
    assert (report.run_id, report.counts["planned"]) == (None, 0)
    assert world.tables("job", "artifact", "event", "run") == before


def test_planning_changes_neither_records_nor_tree(world: World) -> None:
    world.video()
    before = (world.tables(), world.tree())
    world.plan()
    assert (world.tables(), world.tree()) == before


def test_undo_brings_records_and_tree_back(world: World) -> None:
    world.video(0)
    world.file(f"slide_1_{a_job_id(0)}.mp4")
    world.video(1)
    world.start_job(1, executor=dead_executor(), progress=99.0, ago_s=9_000)
    world.start_job(2, executor=dead_executor())
    before = (world.tables(), world.tree())
    report = world.recover()
    assert report.counts["done"] == report.counts["planned"] == 4
    assert world.tables() != before[0]
    undone = world.undo(report.run_id)
    assert undone.exit_code is ExitCode.CLEAN
    assert (world.tables(), world.tree()) == before


def test_undo_of_a_run_that_did_not_know_a_column_yet_gives_it_its_default(world: World) -> None:
    world.video(0)
    world.start_job(0, executor=dead_executor(), progress=99.0, ago_s=9_000)
    before = world.tables()
    report = world.recover()
    with world.site() as site, site.store.write() as connection:
        table = site.store.dialect.table("run_action")
        without = "{0} - 'spared'" if "postgresql" in world.url else "json_remove({0}, '$.spared')"
        for rows in ("job_before", "job_after"):
            connection.exec_driver_sql(f"UPDATE {table} SET {rows} = {without.format(rows)}")
    world.undo(report.run_id)
    assert world.tables() == before


def test_an_undo_is_not_taken_back_itself(world: World) -> None:
    world.video()
    undone = world.undo(world.recover().run_id)
    with pytest.raises(UsageError, match="is itself an undo"):
        world.undo(undone.run_id)


def test_a_second_undo_finds_nothing_left(world: World) -> None:
    world.video()
    report = world.recover()
    world.undo(report.run_id)
    assert world.undo(report.run_id).counts["planned"] == 0


def test_undo_tells_what_someone_changed_since_and_leaves_it(world: World) -> None:
    world.video(0)
    world.video(1)
    report = world.recover()
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(0), actor="ada", at=site.store.now(connection))
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(job).where(job.c.job_id == a_job_id(1)).values(owner="bob", version=2))
    undone = world.undo(report.run_id)
    assert undone.exit_code is ExitCode.INCOMPLETE
    assert (undone.counts["conflict"], undone.counts["already"]) == (1, 1)
    assert world.job(1).owner == "bob"


def test_the_next_recover_honours_the_decline_until_told_otherwise(world: World) -> None:
    world.video()
    world.undo(world.recover().run_id)
    plan = world.plan()
    assert plan.total == 0
    (told,) = plan.told()
    assert (told.kind, "took its recovery back" in told.reason) == (Kind.ORPHAN_VIDEO, True)
    assert world.recover(include_declined=True).counts["done"] == 1


def test_a_declined_file_that_was_made_anew_is_recovered(world: World) -> None:
    world.video()
    world.undo(world.recover().run_id)
    world.video(seed=99, age_s=3_600)
    assert world.recover().counts["done"] == 1


def test_an_open_record_with_a_whole_video_is_completed_and_keeps_its_owner(world: World) -> None:
    world.video(age_s=600)
    world.start_job(progress=99.0, ago_s=3_600)
    world.recover()
    job = world.job()
    assert (job.status, job.owner, job.shown_progress, job.origin) == (
        Status.COMPLETED,
        "ada",
        100.0,
        Origin.CREATED,
    )


def test_an_interrupted_job_fails_with_what_is_known(world: World) -> None:
    world.start_job(executor=dead_executor(), progress=75.0)
    world.recover()
    job = world.job()
    assert (job.status, job.error_code) == (Status.FAILED, "interrupted")
    assert job.error is not None
    assert job.error.startswith("interrupted at 75 %, last heartbeat ")


def test_a_job_of_an_earlier_boot_is_interrupted(world: World) -> None:
    executor = current_executor("host-a")._replace(boot_id="an-earlier-boot")
    world.start_job(executor=executor)
    world.recover()
    assert world.job().status is Status.FAILED


@pytest.mark.parametrize(
    "executor",
    [None, Executor("host-b", this_boot_id(), 1, 1), current_executor("host-a")],
    ids=["unknown executor", "another host", "alive here"],
)
def test_without_proof_of_death_a_job_is_left_alone(world: World, executor: Executor | None) -> None:
    world.start_job(executor=executor)
    before = world.tables()
    report = world.recover()
    assert report.counts["planned"] == 0
    assert world.tables() == before
    assert [finding.kind for finding in world.scan()] == [Kind.ZOMBIE]


def test_a_heartbeat_that_stood_still_for_a_full_stale_after_is_proof(world: World) -> None:
    world.changes["stale_after_s"] = 0.001
    world.start_job(executor=Executor("host-b", "boot", 1, 1))
    assert [finding.kind for finding in world.scan()] == [Kind.ZOMBIE]
    assert [finding.kind for finding in world.scan()] == [Kind.INTERRUPTED]
    with world.site() as site, site.store.write() as connection:
        show_life(connection, a_job_id(), at=site.store.now(connection) - timedelta(seconds=1))
    assert [finding.kind for finding in world.scan()] == [Kind.ZOMBIE]


def test_a_deleted_job_is_not_brought_back(world: World) -> None:
    world.video()
    world.recover()
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(), actor="ada", at=site.store.now(connection))
    assert world.recover().counts["planned"] == 0
    assert world.job_ids() == set()
    assert [finding.kind for finding in world.scan()] == [Kind.LEFTOVER]


def test_a_missing_video_is_noted_and_the_status_stays(world: World) -> None:
    path = world.video()
    world.recover()
    path.unlink()
    set_age(world.root, 3_600)
    report = world.recover()
    assert report.counts["done"] == 1
    assert world.job().status is Status.COMPLETED
    with world.site() as site, site.store.read() as connection:
        (artifact,) = jobs.artifacts_of(connection, a_job_id())
    assert artifact.state == "missing"
    world.undo(report.run_id)
    with world.site() as site, site.store.read() as connection:
        (artifact,) = jobs.artifacts_of(connection, a_job_id())
    assert artifact.state == "present"


def test_a_file_replaced_after_the_plan_is_skipped_and_the_rest_goes_on(world: World) -> None:
    world.video(0)
    world.video(1)
    plan = world.plan()
    world.video(0, seed=50)
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["skipped"]) == (1, 1)
    assert report.exit_code is ExitCode.INCOMPLETE
    assert world.job_ids() == {a_job_id(1)}


def test_a_record_made_after_the_plan_is_not_overwritten(world: World) -> None:
    world.video(0)
    plan = world.plan()
    world.start_job(0)
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["conflict"]) == (0, 1)
    assert world.job().status is Status.PROCESSING


@pytest.mark.parametrize("deleted", [False, True], ids=["cancelled", "deleted"])
def test_a_job_that_changes_while_a_plan_is_made_is_left_for_the_next_one(
    world: World, deleted: bool
) -> None:
    world.start_job(0, executor=dead_executor())
    world.start_job(1, executor=dead_executor())
    with world.site() as site, hold_roots(site, command="recover") as hold:
        cases = list(Scan(site, ScanOptions(full=True), no_progress, opened=list(hold.roots)).cases())
        with site.store.write() as connection:
            at = site.store.now(connection)
            if deleted:
                jobs.delete_job(connection, a_job_id(0), actor="ada", at=at)
            else:
                jobs.change_status(
                    connection,
                    a_job_id(0),
                    Status.CANCELLED,
                    expect=Status.PROCESSING,
                    cause=Cause.OPERATOR,
                    actor="ada",
                    at=at,
                )
        with Inspector(site, hold.roots, Tier.DEMUX) as inspector:
            terms = terms_of(site, header_of(hold, "recover"))
            found = list(Gathering(site, inspector, terms, no_progress).materials(cases))
    assert [propose(each).actions[0].verb for each in found] == [Verb.FAIL]
    assert [each.case.key for each in found] == [a_job_id(1)]


def test_a_saved_plan_is_applied_just_as_it_is(world: World, tmp_path: Path) -> None:
    world.video(0)
    world.plan().save(str(tmp_path / "plan.jsonl"))
    world.video(1)
    with load_plan(str(tmp_path / "plan.jsonl")) as plan:
        report = world.apply(plan)
    assert report.counts["done"] == 1
    assert world.job_ids() == {a_job_id(0)}


def test_a_saved_plan_is_on_the_disk_before_it_has_its_name(embedded: World, tmp_path: Path) -> None:
    plan, done = embedded.plan(), []
    with observed(after=lambda name, _: done.append(name)):
        plan.save(str(tmp_path / "plan"))
    assert done == ["create", "fsync", "rename", "fsync-directory"]


def test_an_altered_plan_is_refused(world: World, tmp_path: Path) -> None:
    world.video(0)
    saved = tmp_path / "plan.jsonl"
    world.plan().save(str(saved))
    saved.write_text(saved.read_text().replace("medium", "certain"))
    with pytest.raises(PlanStale, match="altered"):
        load_plan(str(saved))


@pytest.mark.parametrize("content", ["", "{}", "garbage\n", '{"format":"jobctl-plan/v1"}\n', "\0\0\0"])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan").write_text(content)
    with pytest.raises(PlanStale):
        load_plan(str(tmp_path / "plan"))


def test_a_plan_made_under_other_settings_is_stale(world: World) -> None:
    world.video(0)
    plan = world.plan()
    world.changes["video_url_form"] = "/v/{job_id}"
    with pytest.raises(PlanStale, match="configuration"):
        world.apply(plan)
    assert world.job_ids() == set()


def test_a_plan_for_another_store_or_for_a_root_that_is_not_held_is_stale(
    world: World, tmp_path: Path
) -> None:
    second, other = (
        World(world.url, tmp_path / "second"),
        World(str(tmp_path / "other.db"), tmp_path / "else"),
    )
    second.init()
    other.init()
    world.video(0)
    plan = world.plan()
    with pytest.raises(PlanStale, match="another store"):
        other.apply(plan)
    with world.site() as site, hold_roots(site, command="apply", only=str(second.root)) as hold:
        with pytest.raises(PlanStale, match="a root that is not held"):
            apply_plan(hold, plan)
    assert (other.job_ids(), world.job_ids()) == (set(), set())


def test_an_old_plan_is_stale(world: World) -> None:
    world.video(0)
    plan = world.plan()
    world.changes["plan_max_age_h"] = 1e-9
    with pytest.raises(PlanStale, match="old"):
        world.apply(plan)


def test_a_plan_that_is_dated_after_the_present_is_stale(world: World, calendar: Calendar) -> None:
    """The clock was wrong then, or is now: how old it is cannot be told."""
    world.video(0)
    calendar.jump(days=3)
    plan = world.plan()
    calendar.jump(days=-3)
    with pytest.raises(PlanStale, match="old"):
        world.apply(plan)


def test_two_hundred_lost_jobs_come_back_and_go_again(world: World) -> None:
    for number in range(200):
        world.video(number)
    report = world.recover()
    assert report.counts["done"] == 200
    assert len(world.job_ids()) == 200
    world.undo(report.run_id)
    assert world.tables() == {"job": [], "artifact": []}


def test_the_demo_tree_gets_what_a_careful_operator_would_say(world: World) -> None:
    tree = demo_tree.build(world.root)
    try:
        findings = {finding.job_id: finding.kind.value for finding in world.scan() if finding.job_id}
        duplicates = {demo_tree.job_id("second-try"), demo_tree.job_id("first-try")}
        for job_id, expected in tree.expected.items():
            assert findings[job_id] == expected or (job_id in duplicates and findings[job_id] == "duplicate")
        before = world.tree()
        report = world.recover()
        assert report.exit_code is ExitCode.CLEAN
        assert world.job_ids() == {demo_tree.job_id(name) for name in tree.whole}
        assert world.tree() == before
    finally:
        tree.stop_writers()


def test_the_uploads_of_users_are_never_touched_or_recorded(world: World) -> None:
    tree = demo_tree.build(world.root)
    tree.stop_writers()
    world.recover()
    assert demo_tree.job_id("an-upload") not in world.job_ids()
    assert all("static_design_images" not in (finding.path or "") for finding in world.scan())


def test_a_stamped_video_is_certain(world: World) -> None:
    path = world.video()
    fd = os.open(path, os.O_RDWR)
    _, box = make_stamp(fd, a_job_id())
    os.pwrite(fd, box, os.fstat(fd).st_size)
    os.close(fd)
    set_age(path, 3_600)
    world.recover()
    assert world.job().confidence == "certain"


def test_one_whole_and_one_broken_claim_leave_the_whole_one(world: World) -> None:
    path = world.video()
    world.file(f"old/{path.name}", path.read_bytes()[:-100])
    world.recover()
    assert world.job_ids() == {a_job_id()}


def test_two_whole_claims_are_told_and_left(world: World) -> None:
    path = world.video()
    world.file(f"old/{path.name}", path.read_bytes())
    assert world.recover().counts["planned"] == 0
    assert {finding.kind for finding in world.scan()} == {Kind.AMBIGUOUS}


def test_verbs_name_what_is_done(world: World) -> None:
    world.video(0)
    world.file(f"thumbnail_{a_job_id(0)}.jpg")
    assert [action.verb for action in world.plan()] == [Verb.CREATE, Verb.LINK]
