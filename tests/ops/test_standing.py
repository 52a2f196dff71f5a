"""One look at a store: what scans and disks add to it, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from jobctl import clock
from jobctl.model.health import Health
from jobctl.model.standing import Standing
from jobctl.model.status import Status
from jobctl.ops import standing, tallies
from jobctl.ops.standing import look
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow
from jobctl.store.schema import root
from ops.world import World, dead_executor
from store.records import claim, create, fail


def seen(world: World) -> Standing:
    with world.site() as site:
        return look(site)


def said(found: Standing) -> dict[str, str]:
    return {each.subject: each.diagnosis.said for each in found.troubles}


def test_a_new_site_stands_well(world: World) -> None:
    found = seen(world)
    assert (found.health, found.troubles) == (Health.OK, [])
    (room,) = found.rooms
    assert room.now is not None
    assert room.now.bytes >= room.now.bytes_free > 0
    assert room.outlook.days is None
    assert found.scans[0].finished_at is None


def test_a_scan_tells_what_it_found_until_a_run_changed_that(world: World) -> None:
    world.video(0)
    world.video(1)
    world.scan()
    found = seen(world)
    assert found.scans[0].findings == {"orphan-video": 2}
    assert said(found) == {"scan": f"2 orphaned videos below {world.root}"}
    assert found.troubles[0].diagnosis.command == "jobctl recover --dry-run"
    world.recover()
    after = seen(world)
    assert after.scans[0].is_outdated
    assert after.health is Health.OK
    assert after.jobs[Status.COMPLETED] == after.changes.net[Status.COMPLETED] == 2


def test_scans_note_the_room_so_that_days_can_be_told(world: World) -> None:
    world.scan()
    world.scan()
    (room,) = seen(world).rooms
    assert room.outlook.said == "unknown: 3 readings so far, scans add more"


def test_a_disk_that_gives_no_answer_is_unknown_and_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(standing, "room_of", lambda _: answers.wait(300))
    monkeypatch.setattr(standing, "_DISK_S", 0.05)
    began = clock.monotonic()
    found = seen(world)
    answers.set()
    assert clock.monotonic() - began < 200
    assert found.rooms[0].trouble == "it gave no answer within 0.05 s"
    assert found.health is Health.UNKNOWN


def test_a_root_that_is_away_is_broken_also_where_its_empty_mount_point_is_left(world: World) -> None:
    away = world.root.with_name("away")
    world.root.rename(away)
    found = seen(world)
    assert said(found) == {"roots": f"root {world.root} cannot be opened: No such file or directory"}
    assert (found.health, found.rooms[0].now) == (Health.FAIL, None)
    world.root.mkdir()
    with world.site() as site, site.store.write() as connection:
        at = clock.now()
        for job_id in map(str, range(12)):
            create(connection, job_id, at=at)
            claim(connection, job_id, at=at)
            fail(connection, job_id, at=at)
    found = seen(world)
    assert [each.subject for each in found.troubles] == ["roots", "jobs"]
    assert found.troubles[1].diagnosis.health is Health.FAIL
    why = f"{world.root} has no .jobctl/root.json: it is not mounted, or not a root"
    assert said(found)["roots"] == why
    assert found.troubles[0].diagnosis.command == "jobctl doctor --only roots"
    world.root.rmdir()
    away.rename(world.root)
    assert "roots" not in said(seen(world))


def test_an_older_copy_of_the_store_in_its_place_is_broken(world: World) -> None:
    world.video(0)
    world.recover()
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(root).values(generation=0))
    found = seen(world)
    assert found.health is Health.FAIL
    assert "an older copy of the store was put back" in said(found)["roots"]
    assert "jobctl root adopt" in found.troubles[0].diagnosis.fix


def test_a_run_that_passes_while_it_is_looked_is_no_older_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.video(0)
    read = standing.roots.get_roots

    def read_and_let_a_run_pass(connection: Connection) -> list[RootRow]:
        rows = read(connection)
        return [row._replace(generation=row.generation - 1) for row in rows]

    world.recover()
    monkeypatch.setattr(standing, "roots", SimpleNamespace(get_roots=read_and_let_a_run_pass))
    assert "roots" not in said(seen(world))


def test_jobs_without_a_sign_of_life_are_told(world: World) -> None:
    with world.site() as site, site.store.write() as connection:
        at = clock.now() - timedelta(hours=2)
        create(connection, "j1", at=at)
        claim(connection, "j1", at=at, changes={"executor": dead_executor()})
    assert said(seen(world)) == {"heartbeats": "1 job with a stale heartbeat (j1 for 2 h)"}


def test_jobs_that_nobody_takes_are_told(world: World) -> None:
    with world.site() as site, site.store.write() as connection:
        create(connection, "j1", kind="render", run_at=clock.now() - timedelta(minutes=10), at=clock.now())
    found = seen(world)
    assert said(found) == {
        "workers": "1 job (render) has been due for 10 min, and no worker serves the queue default"
    }
    assert found.queues[0].oldest_job == "j1"


def test_a_history_that_is_not_added_up_yet_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "QUICK", 2)
    monkeypatch.setattr(standing, "QUICK", 2)
    monkeypatch.setattr(standing, "_CATCH_UP_S", 0.0)
    with world.site() as site, site.store.write() as connection:
        for number in range(5):
            create(connection, f"j{number}", run_at=clock.now() + timedelta(days=1))
    found = seen(world)
    assert (found.uncounted, found.jobs[Status.QUEUED]) == (5, 0)
    monkeypatch.setattr(standing, "_CATCH_UP_S", 30.0)
    found = seen(world)
    assert (found.uncounted, found.jobs[Status.QUEUED]) == (0, 5)
