"""Restore: what was there is kept, nothing is condemned on the word of older records, all or nothing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert

import jobctl
from databases import pg_dump_for
from jobctl import clock
from jobctl.core.backups import how_to_take_back, taking_back
from jobctl.errors import BackupUnusable, PlanStale, StoreInUse, StoreOlderThanRoot, UsageError
from jobctl.evidence.executor import current_executor
from jobctl.model.backup import Backup, Contents, Lost
from jobctl.model.plan import Verb
from jobctl.model.status import Status
from jobctl.ops.backup import Target, make_backup
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.lastruns import last_runs
from jobctl.ops.quarantine import PurgeOptions, plan_purge
from jobctl.ops.restore import Restored, carry_out, prepare_restore
from jobctl.ops.roots import adopt_root, list_roots
from jobctl.ops.runs import list_runs
from jobctl.ops.site import Progress, no_progress, operator
from jobctl.ops.undo import roots_of_run
from jobctl.policy import Policy, Rule
from jobctl.report.backup_screen import already_said
from jobctl.store import backup_contents, schema
from jobctl.store.engine import HEAD
from jobctl.store.migrations import migrate
from jobctl.store.roots import get_roots
from ops.world import Calendar, World, a_job_id, dead_executor, verbs

pytestmark = pytest.mark.usefixtures("_tools")

STRICT = Policy(rule=Rule(retain={"completed": timedelta(days=1)}))


def back_up(world: World, directory: Path) -> Backup:
    with world.site() as site:
        return make_backup(site, Target(str(directory)))


def restore(world: World, path: str) -> Restored:
    with prepare_restore(world.settings, path) as prepared:
        return carry_out(world.settings, prepared)


def contents(world: World) -> Contents:
    with world.site() as site, site.store.read() as connection:
        return backup_contents.contents_of(connection)


def is_suspended(world: World) -> bool:
    with world.site() as site:
        return all(root.is_suspended for root in list_roots(site))


def kept_jobs(world: World, kept_as: str | None) -> set[str]:
    """The jobs of the store that was kept."""
    assert kept_as is not None
    if world.url.endswith(".db"):
        with closing(sqlite3.connect(kept_as)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return {row[0] for row in connection.execute("SELECT job_id FROM job")}
    with psycopg.connect(world.url) as server:
        return {row[0] for row in server.execute(f"SELECT job_id FROM {kept_as}.job")}


@contextmanager
def a_worker(world: World, **fields: object) -> Iterator[None]:
    """The row of a worker."""
    with world.site() as site, site.store.write() as connection:
        now = site.store.now(connection)
        row = {
            "worker_id": "w1",
            "state": "running",
            "executor": current_executor(world.host)._asdict(),
            "queues": ["default"],
            "tasks": [],
            "slots": 1,
            "isolation": "process",
            "lease_s": 10.0,
            "started_at": now,
            "seen_at": now,
        }
        connection.execute(insert(schema.worker), {**row, **fields})
    yield


def test_the_records_are_those_of_the_backup_and_the_store_that_was_there_is_kept(
    world: World, tmp_path: Path
) -> None:
    world.queue_job(0)
    made = back_up(world, tmp_path / "backups")
    world.queue_job(1)
    world.start_job(2)
    restored = restore(world, made.path)
    assert world.job_ids() == {a_job_id(0)}
    assert contents(world) == made.contents
    assert kept_jobs(world, restored.plan.kept_as) == {a_job_id(number) for number in range(3)}
    world.queue_job(3)
    assert contents(world).events == made.contents.events + 1


def test_the_plan_tells_what_would_be_lost(world: World, tmp_path: Path) -> None:
    world.queue_job(0)
    world.start_job(1, ago_s=0)
    made = back_up(world, tmp_path / "backups")
    world.finish_job(1)
    world.queue_job(2)
    with prepare_restore(world.settings, made.path) as prepared:
        plan = prepared.plan
    assert plan.backup == made.contents
    assert (plan.made_at, plan.size, plan.migrates_from) == (made.made_at, made.size, None)
    assert plan.now is not None
    assert plan.now.jobs == {"queued": 2, "completed": 1}
    assert plan.lost == Lost(jobs=1, changed=1, events=2)
    assert world.job_ids() == {a_job_id(number) for number in range(3)}


def test_what_a_restore_kept_can_be_put_back_itself(embedded: World, tmp_path: Path) -> None:
    embedded.queue_job(0)
    made = back_up(embedded, tmp_path / "backups")
    embedded.queue_job(1)
    first = restore(embedded, made.path)
    assert first.plan.kept_as is not None
    again = restore(embedded, first.plan.kept_as)
    assert embedded.job_ids() == {a_job_id(0), a_job_id(1)}
    assert again.plan.made_at is not None


def test_nothing_is_condemned_until_a_complete_recover_was_applied(
    world: World, tmp_path: Path, calendar: Calendar
) -> None:
    """The story this is all for: a backup, then new videos, then the backup is put back."""
    world.video(0)
    world.recover()
    made = back_up(world, tmp_path / "backups")
    for number in (1, 2):
        world.start_job(number)
        world.video(number)
        world.finish_job(number)
    world.file("temp_composition_1.mp4", b"left over")
    world.recover()
    tree = world.tree()
    calendar.pass_(days=3)
    for _ in range(2):
        world.scan(full=True)
        calendar.pass_(days=2)
    assert restore(world, made.path).warnings == []
    assert is_suspended(world)
    for _ in range(2):
        world.scan(full=True)
        calendar.pass_(days=2)
    assert verbs(world.cleanup_plan()) == []
    assert verbs(world.expire_plan(STRICT)) == []
    assert world.tree() == tree

    assert world.recover().counts["done"] == 2
    assert [world.job(number).status for number in range(3)] == [Status.COMPLETED] * 3
    assert not is_suspended(world)
    world.scan(full=True)
    calendar.pass_(days=2)
    moved = world.cleanup_plan()
    assert [(action.verb, action.path) for action in moved] == [(Verb.QUARANTINE, "temp_composition_1.mp4")]
    world.close()


@pytest.mark.parametrize("takes", [False, True], ids=["nothing-to-do", "moves-a-file"])
def test_a_plan_from_before_a_restore_is_stale_and_lifts_no_suspension(
    world: World, tmp_path: Path, takes: bool
) -> None:
    """It was made on records that are gone: by those nothing was left to do, or a file was free."""
    world.changes["policy"] = Policy(grace=timedelta(0))
    made = back_up(world, tmp_path / "backups")
    world.video(0)
    world.file("temp_composition_1.mp4", b"left over")
    world.recover()
    world.scan(full=True)
    plan = world.cleanup_plan() if takes else world.plan()
    assert plan.total == takes
    tree = world.tree()
    restore(world, made.path)
    with pytest.raises(PlanStale, match="an older store or tree was put back since the plan was made"):
        world.apply(plan)
    assert (world.tree(), is_suspended(world)) == (tree, True)


def test_nothing_is_purged_for_good_on_the_word_of_older_records(
    world: World, tmp_path: Path, calendar: Calendar
) -> None:
    world.file("temp_composition_1.mp4", b"left over")
    for _ in range(2):
        world.recover()
        world.scan(full=True)
        world.cleanup_plan()
        calendar.pass_(days=2)
    assert world.cleanup().counts["done"] == 1
    made = back_up(world, tmp_path / "backups")
    calendar.pass_(days=30)
    assert purges(world) == 1
    restore(world, made.path)
    assert purges(world) == 0
    world.recover()
    assert purges(world) == 1


def purges(world: World) -> int:
    """How many files a purge would remove."""
    with (
        world.site() as site,
        hold_roots(site, command="quarantine purge") as hold,
        plan_purge(hold, PurgeOptions()) as plan,
    ):
        return plan.total


def test_every_age_that_cleanup_waits_for_begins_anew(
    world: World, tmp_path: Path, calendar: Calendar
) -> None:
    """What had no reference at the time of the backup may have got one since."""
    world.file("temp_composition_1.mp4", b"left over")
    world.recover()
    world.cleanup_plan()
    calendar.pass_(days=2)
    made = back_up(world, tmp_path / "backups")
    restore(world, made.path)
    world.recover()
    assert verbs(world.cleanup_plan()) == []
    calendar.pass_(days=2)
    assert verbs(world.cleanup_plan()) == [Verb.QUARANTINE]


def test_runs_since_the_backup_do_not_lock_the_root_out_and_the_kept_store_is_too_old_then(
    embedded: World, tmp_path: Path
) -> None:
    made = back_up(embedded, tmp_path / "backups")
    for number in range(3):
        embedded.video(number)
        embedded.recover()
    kept = restore(embedded, made.path).plan.kept_as
    embedded.recover()
    assert len(embedded.job_ids()) == 3
    assert kept is not None
    shutil.copy(kept, embedded.url)
    with pytest.raises(StoreOlderThanRoot):
        embedded.recover()


def test_a_root_that_is_away_is_suspended_all_the_same(world: World, tmp_path: Path) -> None:
    made = back_up(world, tmp_path / "backups")
    for number in range(2):
        world.video(number)
        world.recover()
    world.root.rename(tmp_path / "away")
    restored = restore(world, made.path)
    assert len(restored.warnings) == 1
    (tmp_path / "away").rename(world.root)
    assert is_suspended(world)
    assert world.recover().counts["done"] == 2
    assert not is_suspended(world)


def test_a_root_that_is_away_while_a_lost_store_comes_back_is_not_ahead_of_it(
    world: World, tmp_path: Path
) -> None:
    for number in range(2):
        world.video(number)
        world.recover()
    made = back_up(world, tmp_path / "backups")
    world.root.rename(tmp_path / "away")
    lose(world)
    restore(world, made.path)
    (tmp_path / "away").rename(world.root)
    assert world.recover().exit_code == 0


def lose(world: World) -> None:
    """Remove the store."""
    if world.url.endswith(".db"):
        for path in Path(world.url).parent.glob("jobs.db*"):
            path.unlink()
    else:
        with psycopg.connect(world.url) as connection:
            connection.execute("DROP SCHEMA jobctl CASCADE")


def test_a_living_worker_is_in_the_way_and_a_dead_one_is_not(world: World, tmp_path: Path) -> None:
    made = back_up(world, tmp_path / "backups")
    with a_worker(world), pytest.raises(StoreInUse, match="worker w1"):
        restore(world, made.path)
    with world.site() as site, site.store.write() as connection:
        connection.execute(schema.worker.update().values(executor=dead_executor()._asdict()))
    restore(world, made.path)


def test_a_worker_of_another_host_counts_as_gone_once_it_was_silent_for_long(
    world: World, tmp_path: Path, calendar: Calendar
) -> None:
    made = back_up(world, tmp_path / "backups")
    elsewhere = current_executor("host-b")._replace(boot_id="another")._asdict()
    with a_worker(world, executor=elsewhere), pytest.raises(StoreInUse, match="on host-b"):
        restore(world, made.path)
    calendar.pass_(minutes=10)
    restore(world, made.path)


def test_a_run_at_work_is_in_the_way(world: World, tmp_path: Path) -> None:
    made = back_up(world, tmp_path / "backups")
    with (
        world.site() as site,
        hold_roots(site, command="recover"),
        pytest.raises(StoreInUse, match="'jobctl recover'"),
    ):
        restore(world, made.path)
    restore(world, made.path)


def test_a_backup_made_while_a_run_held_a_lock_does_not_hold_it_for_ever(
    world: World, tmp_path: Path
) -> None:
    with world.site() as site, hold_roots(site, command="recover"):
        made = back_up(world, tmp_path / "backups")
    restore(world, made.path)
    world.recover()


def test_another_stores_backup_is_refused(world: World, tmp_path: Path, bare_url: str) -> None:
    made = back_up(world, tmp_path / "backups")
    if bare_url.endswith(".db") != world.url.endswith(".db"):
        with pytest.raises(BackupUnusable, match="is of a"):
            restore(World(bare_url, tmp_path / "others"), made.path)
        return
    other = World(bare_url.replace("jobs.db", "other.db"), tmp_path / "others")
    other.init()
    other.queue_job(7)
    with pytest.raises(BackupUnusable, match="here is the store"):
        restore(other, made.path)
    assert other.job_ids() == {a_job_id(7)}


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98, 0.9999])
def test_a_backup_that_is_cut_short_is_refused(world: World, tmp_path: Path, share: float) -> None:
    world.queue_job(0)
    made = back_up(world, tmp_path / "backups")
    whole = Path(made.path).read_bytes()
    Path(made.path).write_bytes(whole[: int(len(whole) * share)])
    world.queue_job(1)
    with pytest.raises(BackupUnusable, match="nothing was changed"):
        restore(world, made.path)
    assert world.job_ids() == {a_job_id(0), a_job_id(1)}
    assert not is_suspended(world)


@pytest.mark.parametrize("content", [b"", b"-- a dump\n", b"SQLite format 3\0" + b"x" * 9_000, b"PGDMP" * 99])
def test_what_is_no_backup_is_refused(world: World, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    for name in ("file", "nowhere", "."):
        with pytest.raises(BackupUnusable, match="nothing was changed"):
            restore(world, str(tmp_path / name))


def test_a_backup_of_a_newer_schema_is_refused(embedded: World, tmp_path: Path) -> None:
    made = back_up(embedded, tmp_path / "backups")
    with closing(sqlite3.connect(made.path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BackupUnusable, match="schema 9999"):
        restore(embedded, made.path)


def test_a_backup_of_an_older_schema_is_brought_up_to_date(world: World, tmp_path: Path) -> None:
    world.queue_job(0)
    with world.site() as site:
        migrate(site.store.engine, site.store.dialect, "0004")
        made = _old_backup(world, tmp_path)
        migrate(site.store.engine, site.store.dialect, HEAD)
    world.queue_job(1)
    restored = restore(world, made)
    assert restored.plan.migrates_from == "0004"
    assert world.job_ids() == {a_job_id(0)}


def _old_backup(world: World, tmp_path: Path) -> str:
    if world.url.endswith(".db"):
        with closing(sqlite3.connect(world.url)) as source:
            source.execute("VACUUM INTO ?", (str(tmp_path / "old.db"),))
        return str(tmp_path / "old.db")
    path = str(tmp_path / "old.dump")
    subprocess.run([pg_dump_for(world.url), "-Fc", "-n", "jobctl", "-f", path, "-d", world.url], check=True)
    return path


def test_a_lost_store_comes_back_where_none_is(world: World, tmp_path: Path) -> None:
    world.queue_job(0)
    made = back_up(world, tmp_path / "backups")
    lose(world)
    restored = restore(world, made.path)
    assert (restored.plan.now, restored.plan.now_said, restored.plan.kept_as) == (None, "there is none", None)
    assert world.job_ids() == {a_job_id(0)}
    assert is_suspended(world)


def test_a_damaged_store_is_moved_aside_with_what_lies_beside_it(embedded: World, tmp_path: Path) -> None:
    embedded.queue_job(0)
    made = back_up(embedded, tmp_path / "backups")
    Path(embedded.url).write_bytes(b"\0" * 8192)
    Path(f"{embedded.url}-wal").write_bytes(b"log")
    with open(embedded.url, "rb"):
        restored = restore(embedded, made.path)
    kept = restored.plan.kept_as
    assert kept is not None
    assert (Path(kept).read_bytes(), Path(f"{kept}-wal").read_bytes()) == (b"\0" * 8192, b"log")
    assert embedded.job_ids() == {a_job_id(0)}


def test_a_store_of_another_schema_is_moved_aside_once_nobody_has_it_open(
    embedded: World, tmp_path: Path
) -> None:
    made = back_up(embedded, tmp_path / "backups")
    embedded.queue_job(1)
    with closing(sqlite3.connect(embedded.url)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    holding = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM job').fetchall();"
        "print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, embedded.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreInUse, match=f"process {holder.pid} has"):
            restore(embedded, made.path)
        holder.communicate()
    kept = restore(embedded, made.path).plan.kept_as
    assert embedded.job_ids() == set()
    assert kept_jobs(embedded, kept) == {a_job_id(1)}


def test_a_service_that_runs_over_a_restore_goes_on_with_what_is_there_now(
    world: World, tmp_path: Path
) -> None:
    """Its kept connections must not write into what was put aside."""
    with jobctl.Queue(world.url) as queue:
        queue.enqueue("render", job_id=a_job_id(0))
        made = back_up(world, tmp_path / "backups")
        queue.enqueue("render", job_id=a_job_id(1))
        kept = restore(world, made.path).plan.kept_as
        queue.enqueue("render", job_id=a_job_id(2))
        assert queue.get(a_job_id(2)).status is Status.QUEUED
    assert world.job_ids() == {a_job_id(0), a_job_id(2)}
    assert kept_jobs(world, kept) == {a_job_id(0), a_job_id(1)}


def test_a_service_that_writes_while_the_backup_is_put_back_loses_nothing_it_was_told_is_kept(
    world: World, tmp_path: Path
) -> None:
    """Each job is in the store that was kept, or in the one that is there: never in neither."""
    made = back_up(world, tmp_path / "backups")
    writing = (
        "import sys, jobctl\n"
        "with jobctl.Queue(sys.argv[1]) as queue:\n"
        "    while True:\n"
        "        print(queue.enqueue('render').job_id, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", writing, world.url], stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        told = [service.stdout.readline().strip()]
        try:
            kept = restore(world, made.path).plan.kept_as
            # What the pipe holds may all be older than the restore: read on until the new store has some.
            while not world.job_ids():
                told.append(service.stdout.readline().strip())
        finally:
            service.terminate()
        told += [line.strip() for line in service.stdout if line.endswith("\n")]
    now, before = world.job_ids(), kept_jobs(world, kept)
    assert now
    assert set(told) <= now | before
    assert not now & before


def test_rights_of_others_on_the_schema_are_kept(postgresql_url: str, tmp_path: Path) -> None:
    world = World(postgresql_url, tmp_path / "outputs")
    world.init()
    made = back_up(world, tmp_path / "backups")
    role = f"reader_{os.getpid()}"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{role}"')
        try:
            connection.execute(f'GRANT USAGE ON SCHEMA jobctl TO "{role}"')
            connection.execute(f'GRANT SELECT ON jobctl.job, jobctl.presentation_jobs TO "{role}"')
            # One of somebody else's, which goes with what is kept.
            connection.execute("CREATE VIEW jobctl.mine AS SELECT * FROM jobctl.event")
            connection.execute(f'GRANT SELECT ON jobctl.mine TO "{role}"')
            restore(world, made.path)
            connection.execute(f'SET ROLE "{role}"')
            connection.execute("SELECT * FROM jobctl.job, jobctl.presentation_jobs")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM jobctl.event")
        finally:
            connection.execute("RESET ROLE")
            connection.execute(f'DROP OWNED BY "{role}"')
            connection.execute(f'DROP ROLE "{role}"')


def test_the_restored_store_knows_of_the_backup_it_was_made_from(world: World, tmp_path: Path) -> None:
    made = back_up(world, tmp_path / "backups")
    restore(world, made.path)
    with world.site() as site:
        (known,) = [run for run in last_runs(site) if run.command == "backup"]
    assert known.succeeded_at == made.made_at


def test_a_restore_is_a_run_that_tells_from_which_backup_and_what_was_kept(
    world: World, tmp_path: Path
) -> None:
    made = back_up(world, tmp_path / "backups")
    restored = restore(world, made.path)
    with world.site() as site:
        (run,) = list_runs(site)
        (last,) = [each for each in last_runs(site) if each.command == "restore"]
    with world.site() as site, site.store.read() as connection:
        (root,) = get_roots(connection)
    assert (run.run_id, run.command, run.state, run.exit_code) == (restored.run_id, "restore", "finished", 0)
    assert (run.actor, run.host) == (operator(), world.host)
    assert run.restored is not None
    assert run.restored[:4] == (made.path, made.kind, made.made_at, restored.plan.kept_as)
    assert (last.run_id, last.exit_code, last.succeeded_at) == (run.run_id, 0, run.finished_at)
    assert root.negatives_suspended_at == run.started_at


def test_undo_says_of_a_restore_what_takes_it_back(world: World, tmp_path: Path) -> None:
    made = back_up(world, tmp_path / "backups")
    restored = restore(world, made.path)
    with (
        world.site() as site,
        pytest.raises(UsageError, match="put a backup in the store's place") as refused,
    ):
        roots_of_run(site, restored.run_id)
    assert str(restored.plan.kept_as) in (refused.value.hint or "")


def test_what_takes_a_restore_back_does(world: World, tmp_path: Path) -> None:
    """The very commands that 'jobctl run show' names."""
    world.queue_job(0)
    made = back_up(world, tmp_path / "backups")
    world.queue_job(1)
    restore(world, made.path)
    with world.site() as site:
        put_back = list_runs(site)[0].restored
    assert put_back is not None
    command = taking_back(put_back)
    assert command is not None
    if world.url.endswith(".db"):
        restore(world, shlex.split(command)[2])
    else:
        with psycopg.connect(world.url) as server:
            for statement in re.findall(r"-c '([^']+)'", command):
                server.execute(statement)
        with pytest.raises(StoreOlderThanRoot):
            world.recover()
        with world.site() as site:
            adopt_root(site, str(world.root))
    assert world.job_ids() == {a_job_id(0), a_job_id(1)}
    assert world.recover().exit_code == 0


def test_of_a_store_that_could_not_be_read_only_its_place_is_told(embedded: World, tmp_path: Path) -> None:
    made = back_up(embedded, tmp_path / "backups")
    Path(embedded.url).write_bytes(b"\0" * 9_000)
    restored = restore(embedded, made.path)
    with embedded.site() as site:
        put_back = list_runs(site)[0].restored
    assert put_back is not None
    assert taking_back(put_back) is None
    assert f"kept as {restored.plan.kept_as}, where it could not be read" in how_to_take_back(put_back)


def test_a_store_that_was_lost_left_nothing_to_take_back(embedded: World, tmp_path: Path) -> None:
    made = back_up(embedded, tmp_path / "backups")
    shutil.rmtree(Path(embedded.url).parent)
    restore(embedded, made.path)
    with embedded.site() as site:
        put_back = list_runs(site)[0].restored
    assert put_back is not None
    assert "nothing was kept" in how_to_take_back(put_back)


def test_it_works_for_a_second_time_and_tells_what_the_first_time_kept(world: World, tmp_path: Path) -> None:
    """Whoever was cut off runs the same again, and what was lost to the store lies in the first one kept."""
    world.queue_job(0)
    made = back_up(world, tmp_path / "backups")
    world.queue_job(1)
    first, second = (restore(world, made.path).plan for _ in range(2))
    assert kept_jobs(world, first.kept_as) == {a_job_id(0), a_job_id(1)}
    assert kept_jobs(world, second.kept_as) == {a_job_id(0)}
    assert first.already is None
    assert second.already is not None
    assert f"the store before it is kept as {first.kept_as}; " in already_said(*second.already)
    other = restore(world, shutil.copy(made.path, tmp_path / "other"))
    assert other.plan.already is None


def test_a_directory_that_was_lost_with_the_store_is_made(embedded: World, tmp_path: Path) -> None:
    made = back_up(embedded, tmp_path / "backups")
    shutil.rmtree(Path(embedded.url).parent)
    restore(embedded, made.path)
    assert embedded.job_ids() == set()
    initialise(
        embedded.settings,
        roots=[str(embedded.root)],
        layout="presentations",
        host_local=False,
        now=clock.now(),
    )


@pytest.mark.parametrize(
    ("phase", "note"),
    [
        ("copy", ""),
        ("verify", ""),
        ("keep", "nothing was changed"),
        ("restore", "the store that was there is kept as"),
    ],
)
def test_an_interrupt_in_any_phase_leaves_the_store_as_it_was(
    embedded: World, tmp_path: Path, phase: str, note: str
) -> None:
    embedded.queue_job(0)
    made = back_up(embedded, tmp_path / "backups")
    embedded.queue_job(1)

    def stop(step: Progress) -> None:
        if step.phase == phase:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt) as stopped,
        prepare_restore(embedded.settings, made.path, progress=stop) as prepared,
    ):
        carry_out(embedded.settings, prepared, progress=stop)
    assert (embedded.job_ids(), is_suspended(embedded)) == ({a_job_id(0), a_job_id(1)}, False)
    assert note in "".join(getattr(stopped.value, "__notes__", []))
    assert [name for name in os.listdir(Path(embedded.url).parent) if name.startswith(".")] == []


def test_where_the_store_was_lost_a_backup_is_no_older_than_its_roots(
    embedded: World, tmp_path: Path
) -> None:
    made = back_up(embedded, tmp_path / "backups")
    for number in range(2):
        embedded.video(number)
        embedded.recover()
    for path in Path(embedded.url).parent.glob("jobs.db*"):
        path.unlink()
    with prepare_restore(embedded.settings, made.path) as prepared:
        prepared.put_back(no_progress)
    # Killed before any root knew of it.
    assert embedded.recover().counts["done"] == 2


def test_the_store_that_was_kept_is_older_than_its_roots_at_once(embedded: World, tmp_path: Path) -> None:
    made = back_up(embedded, tmp_path / "backups")
    kept = restore(embedded, made.path).plan.kept_as
    assert kept is not None
    shutil.copy(kept, embedded.url)
    with pytest.raises(StoreOlderThanRoot):
        embedded.recover()


def test_a_backup_that_can_be_read_and_is_damaged_is_refused(embedded: World, tmp_path: Path) -> None:
    """What counting its jobs and events does not come upon: the body of a job."""
    embedded.queue_job(0)
    made = back_up(embedded, tmp_path / "backups")
    with closing(sqlite3.connect(made.path)) as connection:
        named = "SELECT rootpage FROM sqlite_master WHERE name = 'job_body'"
        (page,) = connection.execute(named).fetchone()
    with open(made.path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 200)
    with pytest.raises(BackupUnusable, match="cannot be put back"):
        restore(embedded, made.path)
    assert not is_suspended(embedded)


@pytest.mark.parametrize("patience", ["1s", "200ms"])
def test_a_writer_that_locks_tables_in_another_order_is_waited_for(
    postgresql_url: str, tmp_path: Path, patience: str
) -> None:
    """Each of the two holds what the other one wants: neither is ended, also where a server is rash."""
    world = World(postgresql_url, tmp_path / "outputs")
    world.init()
    made = back_up(world, tmp_path / "backups")
    waiting = "SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation > 0 AND NOT granted"
    with (
        psycopg.connect(postgresql_url) as writer,
        psycopg.connect(postgresql_url, autocommit=True) as looking,
        ThreadPoolExecutor() as pool,
    ):
        looking.execute(f"ALTER DATABASE {looking.info.dbname} SET deadlock_timeout = '{patience}'")
        writer.execute("LOCK TABLE jobctl.job IN ROW EXCLUSIVE MODE")
        restoring = pool.submit(restore, world, made.path)
        while not looking.execute(waiting).fetchone()[0]:
            assert not restoring.done()
        writer.execute("LOCK TABLE jobctl.artifact IN ROW EXCLUSIVE MODE")
        writer.commit()
        assert restoring.result().plan.kept_as
