"""The doctor on roots, disks and clocks: each fault is made, found, named, and mended where that can be."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cli.calling import call
from jobctl.model.health import Health
from jobctl.model.standing import Standing
from jobctl.ops.backup import Target, make_backup
from jobctl.ops.doctor import clocks, places
from jobctl.ops.restore import carry_out, prepare_restore
from jobctl.ops.standing import look
from jobctl.outputs.room import Room
from jobctl.store import roots
from ops.doctoring import diagnosis, is_ill, mend
from ops.world import Calendar, World
from unprivileged import NOBODY, without_privilege

ON_A_FULL_DISK = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[2])
from pathlib import Path
from ops.doctoring import diagnosis
from ops.world import World

disk, beside = Path(sys.argv[1], "disk"), Path(sys.argv[1], "beside")
world = World(str(beside / "jobs.db"), disk / "outputs")
with_store = World(str(disk / "jobs.db"), beside / "outputs")
world.init()
with_store.init()


def look(each, *names):
    return [diagnosis(each, name) for name in names]


before = [*look(world, "writable", "room"), *look(with_store, "store", "room")]
with open(disk / "outputs" / "ballast", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
after = [*look(world, "writable", "room"), *look(with_store, "store", "room")]
print(json.dumps([before, after]))
"""


@pytest.fixture
def nobodys() -> Iterator[World]:
    """A site of a user whom permissions bind; pytest's own directories are closed to others."""
    place = Path(tempfile.mkdtemp(prefix="jobctl-"))
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    with without_privilege():
        world = World(str(place / "store" / "jobs.db"), place / "outputs")
        world.init()
    yield world
    world.root.chmod(0o700)
    shutil.rmtree(place)


def test_roots_that_are_well(world: World) -> None:
    found = {name: diagnosis(world, name) for name in ("roots", "writable", "quarantine-place", "disk-clock")}
    assert {name: each.health for name, each in found.items()} == dict.fromkeys(found, Health.OK)
    assert found["roots"].said == "1 root ready"


def test_without_a_root_there_is_nothing_to_recover(world: World) -> None:
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM {site.store.dialect.table('root')}")
    assert diagnosis(world, "roots").health is Health.WARN
    assert diagnosis(world, "writable").health is Health.OK


def test_a_root_that_is_away_is_found_once_and_is_well_when_it_is_back(world: World, tmp_path: Path) -> None:
    away = world.root.rename(tmp_path / "away")
    found = diagnosis(world, "roots")
    assert (found.health, str(world.root) in found.said) == (Health.FAIL, True)
    assert "mount it" in found.fix
    for name in ("writable", "quarantine-place", "disk-clock"):
        seen = diagnosis(world, name)
        assert (seen.health, "see 'roots'" in seen.said) == (Health.UNKNOWN, True)
    away.rename(world.root)
    assert diagnosis(world, "roots").health is Health.OK


def test_an_exchanged_directory_is_not_the_root(world: World, tmp_path: Path) -> None:
    world.root.rename(tmp_path / "away")
    world.root.mkdir()
    found = diagnosis(world, "roots")
    assert (found.health, "no .jobctl/root.json" in found.said) == (Health.FAIL, True)


def test_the_root_of_another_store_is_told_with_whose_it_is(world: World, tmp_path: Path) -> None:
    marker = world.root / ".jobctl" / "root.json"
    marker.write_text(marker.read_text().replace(store_id_of(world), "0123456789abcdef"))
    found = diagnosis(world, "roots")
    assert (found.health, "belongs to another job store (0123456789abcdef)" in found.said) == (
        Health.FAIL,
        True,
    )


def test_an_older_store_in_the_place_of_a_newer_one_is_told_and_accepted_by_what_is_named(
    world: World,
) -> None:
    world.video(0)
    world.recover()
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('root')} SET generation = 0")
    found = diagnosis(world, "roots")
    assert (found.health, "an older copy of the store was put back" in found.said) == (Health.FAIL, True)
    named = found.fix.rpartition("jobctl ")[2]
    assert call(*shlex.split(named), database=world.url).exit_code == 0
    assert diagnosis(world, "roots").health is Health.OK
    mend(world, diagnosis(world, "absence"))
    assert diagnosis(world, "absence").health is Health.OK


def store_id_of(world: World) -> str:
    with world.site() as site:
        return site.store.store_id


def test_a_root_whose_older_copy_was_put_back_is_trusted_again_after_a_recover(world: World) -> None:
    with world.site() as site, site.store.write() as connection:
        for row in roots.get_roots(connection):
            roots.suspend_negatives(connection, row.root_id, at=site.store.now(connection))
    assert diagnosis(world, "roots").health is Health.OK
    found = diagnosis(world, "absence")
    assert found.health is Health.WARN
    assert f"an older copy was put back; below {world.root}" in found.said
    mend(world, found)
    assert diagnosis(world, "absence").health is Health.OK


@pytest.mark.usefixtures("_tools")
def test_after_a_restore_since_when_and_from_which_backup_is_told_until_a_complete_recover(
    world: World, tmp_path: Path
) -> None:
    """By the doctor, and by status."""
    with world.site() as site:
        made = make_backup(site, Target(str(tmp_path / "backups")))
    assert [diagnosis(world, "absence").health, standing_of(world).scans[0].suspended_at] == [Health.OK, None]
    with prepare_restore(world.settings, made.path) as prepared:
        carry_out(world.settings, prepared)
    found, seen = diagnosis(world, "absence"), standing_of(world)
    with world.site() as site, site.store.read() as connection:
        (row,) = roots.get_roots(connection)
    assert row.negatives_suspended_at is not None
    assert (found.health, found.command) == (Health.WARN, "jobctl recover --yes")
    assert f"since {row.negatives_suspended_at:%Y-%m-%d %H:%M} UTC" in found.said
    assert f"the backup of {made.made_at:%Y-%m-%d %H:%M} UTC was put back ({made.path})" in found.said
    (trouble,) = [each for each in seen.troubles if each.subject == "absence"]
    assert trouble.diagnosis.command == found.command
    assert seen.scans[0].suspended_at == row.negatives_suspended_at

    # A plan that shows what it would do lifts nothing.
    world.plan()
    assert diagnosis(world, "absence").health is Health.WARN
    mend(world, found)
    assert diagnosis(world, "absence").health is Health.OK
    assert standing_of(world).troubles == []


def standing_of(world: World) -> Standing:
    with world.site() as site:
        return look(site)


def test_another_hosts_root_is_none_of_ours(world: World, tmp_path: Path) -> None:
    other = replace(world, host="host-b", root=tmp_path / "others")
    other.init(host_local=True)
    shutil.rmtree(other.root)
    assert diagnosis(world, "roots").health is Health.OK
    assert diagnosis(other, "roots").health is Health.FAIL


def test_a_read_only_directory_is_found_as_its_owner_and_made_writable(nobodys: World) -> None:
    with without_privilege():
        assert diagnosis(nobodys, "writable").health is Health.OK
        nobodys.root.chmod(0o555)
        found = diagnosis(nobodys, "writable")
        assert found.health is Health.FAIL
        assert f"{nobodys.root} takes no file from user " in found.said
        assert "Permission denied" in found.said
        mend(nobodys, found)
        assert diagnosis(nobodys, "writable").health is Health.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_somebody_elses_directory_is_told_with_its_owner(nobodys: World) -> None:
    os.chown(nobodys.root, 0, 0)
    nobodys.root.chmod(0o755)
    with without_privilege():
        found = diagnosis(nobodys, "writable")
    assert (found.health, found.command) == (Health.FAIL, "")
    assert "run jobctl as root" in found.fix


def test_a_disk_that_is_really_full_is_found(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    mounted = 'mount -t tmpfs -o size=2m none "$1/disk" && exec "$2" -c "$3" "$1" "$4"'
    words = [str(tmp_path), sys.executable, ON_A_FULL_DISK, json.dumps(sys.path)]
    command = ["unshare", "-Urm", "sh", "-c", mounted, "sh", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip("this machine allows no namespaces")
    before, after = json.loads(ran.stdout)
    assert [health for health, *_ in before] == ["ok"] * 4
    assert [health for health, *_ in after] == ["fail"] * 4
    assert "No space left on device" in after[0][1]
    # Where the store itself has no room, SQLite says only that; the other check knows why.
    assert "disk I/O error" in after[2][1]
    for room in (after[1], after[3]):
        assert f"{tmp_path}/disk" in room[1]
        assert "0 B free, 0.0 %" in room[1]


@pytest.mark.parametrize(
    ("room", "health", "scarce"),
    [
        (Room(1000 << 30, 60 << 30, 1000, 900), Health.OK, "60.0 GiB free"),
        (Room(1000 << 30, 40 << 30, 1000, 900), Health.WARN, "40.0 GiB free"),
        (Room(1000 << 30, 900 << 30, 1000, 9), Health.FAIL, "9 inodes free"),
        (Room(1000 << 30, 900 << 30, 0, 0), Health.OK, "900 GiB free"),
    ],
)
def test_what_is_scarcer_counts(
    embedded: World, monkeypatch: pytest.MonkeyPatch, room: Room, health: Health, scarce: str
) -> None:
    monkeypatch.setattr(places, "room_of", lambda path: room)
    found = diagnosis(embedded, "room")
    assert (found.health, scarce in found.said) == (health, True)


def test_what_may_go_from_a_full_disk_is_told_by_what_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "room_of", lambda path: Room(1000 << 30, 0, 1000, 9))
    mend(world, diagnosis(world, "room"))


def test_a_mount_below_a_roots_own_directory_is_found(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "quarantine_device", lambda root: root.device + 1)
    found = diagnosis(embedded, "quarantine-place")
    assert (found.health, "another file system is mounted" in found.said) == (Health.FAIL, True)


def test_a_shared_root_on_a_local_disk_is_told_once_there_is_a_second_host(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis(world, "root-sharing").health is Health.OK
    replace(world, host="host-b").recover()
    monkeypatch.setattr(places, "file_system_of", lambda path: "ext4")
    found = diagnosis(world, "root-sharing")
    assert (found.health, "each host sees another directory" in found.said) == (Health.FAIL, True)
    monkeypatch.setattr(places, "file_system_of", lambda path: "nfs4")
    assert diagnosis(world, "root-sharing").health is Health.OK


def test_one_hosts_root_on_a_network_is_told(world: World, tmp_path: Path, monkeypatch) -> None:
    replace(world, root=tmp_path / "own").init(host_local=True)
    assert diagnosis(world, "root-sharing").health is Health.OK
    monkeypatch.setattr(places, "file_system_of", lambda path: "nfs4")
    found = diagnosis(world, "root-sharing")
    assert (found.health, "which other hosts may see" in found.said) == (Health.WARN, True)


# --- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "health", "said"),
    [
        (timedelta(hours=2), Health.FAIL, r"the store's clock is 2 h behind this host's"),
        (timedelta(seconds=-45), Health.WARN, r"the store's clock is \d\d s ahead of this host's"),
    ],
)
def test_a_host_whose_clock_is_off_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, off: timedelta, health: Health, said: str
) -> None:
    assert diagnosis(world, "store-clock").health is Health.OK
    now = clocks.store_now
    monkeypatch.setattr(clocks, "store_now", lambda site: now(site) - off)
    found = diagnosis(world, "store-clock")
    assert (found.health, bool(re.fullmatch(said, found.said))) == (health, True)
    assert "timedatectl" in found.fix


def test_a_file_server_two_hours_off_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    root_clock_ns = clocks.root_clock_ns
    monkeypatch.setattr(clocks, "root_clock_ns", lambda root: (root_clock_ns(root) or 0) + 7200 * 10**9)
    found = diagnosis(world, "disk-clock")
    assert found.health is Health.FAIL
    assert found.said.startswith(f"the clock of {world.root} is ")


def test_a_clock_that_jumped_since_it_was_last_looked_at_is_told(world: World, calendar: Calendar) -> None:
    assert diagnosis(world, "clock-jumps").health is Health.OK
    world.cleanup()
    assert diagnosis(world, "clock-jumps").health is Health.OK
    calendar.jump(days=40)
    found = diagnosis(world, "clock-jumps")
    assert (found.health, "jumped ahead by 40 d" in found.said) == (Health.WARN, True)
    world.cleanup()
    assert not is_ill(diagnosis(world, "clock-jumps"))
