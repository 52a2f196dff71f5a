"""What restores leave that were killed is told with what removes it; nothing that is needed ever is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jobctl import clock
from jobctl.core.backups import kept_name
from jobctl.ops.left_copies import left_copies, work_beside
from jobctl.outputs import effects
from jobctl.report.backup_screen import left_said, plan_item
from ops.test_restore import back_up, kept_jobs, restore
from ops.world import World, a_job_id

pytestmark = pytest.mark.usefixtures("_tools")


def left(world: World) -> list[str]:
    with world.site() as site:
        return [each.path for each in left_copies(site)]


def broken_off(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that ends before its commit."""

    def stop(_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(effects, "commit", stop)
        restore(world, path)


def test_the_copy_of_each_restore_that_broke_off_is_told_and_what_was_kept_is_not(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.queue_job(0)
    made = back_up(embedded, tmp_path / "backups")
    embedded.queue_job(1)
    assert left(embedded) == []
    for count in (1, 2):
        broken_off(embedded, made.path, monkeypatch)
        assert len(left(embedded)) == count
    copies = left(embedded)
    plan = restore(embedded, made.path).plan
    assert (plan.left, plan_item(plan)["left"]) == (copies, [{"path": path} for path in copies])
    (said,) = left_said(plan)
    assert "left 2 copies of the store, all of which is elsewhere" in said
    # The store is older by now; all that is in them is in the one that was kept.
    assert left(embedded) == copies
    for path in copies:
        os.unlink(path)
    assert left(embedded) == []
    assert kept_jobs(embedded, plan.kept_as) == {a_job_id(0), a_job_id(1)}
    assert list(left_said(restore(embedded, made.path).plan)) == []


def test_on_a_server_a_restore_that_broke_off_leaves_nothing(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(postgresql_url, tmp_path / "outputs")
    world.init()
    broken_off(world, back_up(world, tmp_path / "backups").path, monkeypatch)
    assert left(world) == []
    with world.site() as site, site.store.read() as connection:
        named = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'jobctl_before%%'"
        assert connection.exec_driver_sql(named).scalar_one() == 0


def test_a_store_that_an_earlier_restore_kept_is_not_left_though_no_journal_tells_of_it_any_more(
    embedded: World, tmp_path: Path
) -> None:
    """The restore after it took the journal away, and what was lost the first time is there alone."""
    made = back_up(embedded, tmp_path / "backups")
    embedded.queue_job(1)
    first = restore(embedded, made.path).plan.kept_as
    restore(embedded, made.path)
    assert left(embedded) == []
    assert kept_jobs(embedded, first) == {a_job_id(1)}


def test_nothing_is_left_while_a_restore_is_at_work(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own copy may be all there is of the store a moment later."""
    made = back_up(embedded, tmp_path / "backups")
    broken_off(embedded, made.path, monkeypatch)
    directory, name = os.path.split(embedded.url)
    work = Path(directory) / f"{work_beside(name)}0a1b2c3d"
    work.write_bytes(b"x")
    (copy,) = (str(path) for path in Path(directory).glob("*.before-*"))
    with work.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert left(embedded) == []
    assert left(embedded) == [str(work), copy]
    assert restore(embedded, made.path).plan.left == [copy]
    assert not work.exists()


def test_what_cannot_be_proven_to_be_elsewhere_is_not_told(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another store's, a damaged one, one with its log, and what only looks like a name."""
    made = back_up(embedded, tmp_path / "backups")
    broken_off(embedded, made.path, monkeypatch)
    (copy,) = map(Path, left(embedded))
    other = World(str(tmp_path / "other" / "jobs.db"), tmp_path / "others")
    other.init()
    other.queue_job(7)
    moment = copy.name.partition(".before-")[2]
    beside = copy.with_name(f"jobs.db.before-{moment.replace('Z', '9Z')}")
    for name, content in (
        (copy.name.replace(moment, "20200101T000000.000000Z"), Path(other.url).read_bytes()),
        (copy.name.replace(moment, "20200101T000001.000000Z"), b"no database"),
        (beside.name, copy.read_bytes()),
    ):
        copy.with_name(name).write_bytes(content)
    assert left(embedded) == [str(copy)]
    Path(f"{copy}-wal").write_bytes(b"")
    assert left(embedded) == []


def test_a_second_name_of_the_store_itself_is_left(embedded: World) -> None:
    """As a restore makes one that moves a damaged store aside."""
    second = f"{os.path.dirname(embedded.url)}/{kept_name('jobs.db', clock.now())}"
    os.link(embedded.url, second)
    assert left(embedded) == [second]
