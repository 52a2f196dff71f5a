"""What must not go wrong: roots away or exchanged, old stores, failing disks, other hosts, two at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from jobctl import clock
from jobctl.errors import (
    ExitCode,
    Locked,
    LockLost,
    PlanStale,
    RootRefused,
    RootUnavailable,
    StoreOlderThanRoot,
)
from jobctl.evidence.executor import current_executor
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.job import Executor
from jobctl.model.status import Status
from jobctl.ops.hold import hold_roots
from jobctl.ops.recover import plan_recover
from jobctl.ops.roots import adopt_root, list_roots
from jobctl.ops.scan import scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.outputs import walk
from jobctl.store import jobs, roots
from ops.tidying import failing_scandir, observed
from ops.world import World, a_job_id, set_age


def recovered(world: World) -> None:
    """A completed job whose video is on disk, and a walk old enough to trust."""
    world.video()
    world.recover()


# --- roots ------------------------------------------------------------------------------------


def test_an_unmounted_root_is_refused_and_nothing_is_called_missing(world: World) -> None:
    recovered(world)
    away = world.root.rename(world.root.with_name("away"))
    world.root.mkdir()
    before = world.tables()
    with pytest.raises(RootUnavailable, match="not mounted"):
        world.recover()
    assert world.scan() == []
    assert world.tables() == before
    world.root.rmdir()
    away.rename(world.root)
    assert world.recover().counts["planned"] == 0


def test_a_root_that_is_gone_is_refused(world: World) -> None:
    recovered(world)
    world.root.rename(world.root.with_name("away"))
    with pytest.raises(RootUnavailable, match="No such file"):
        world.recover()


def test_another_root_in_its_place_is_refused(world: World, tmp_path: Path) -> None:
    recovered(world)
    second = World(world.url, tmp_path / "second")
    second.init()
    world.root.rename(tmp_path / "away")
    second.root.rename(world.root)
    with pytest.raises(RootUnavailable, match="another directory is mounted there"):
        world.recover()


def test_the_root_of_another_store_is_refused(world: World, tmp_path: Path) -> None:
    other = World(str(tmp_path / "other" / "jobs.db"), tmp_path / "theirs")
    other.init()
    with pytest.raises(RootRefused, match="belongs to another job store"):
        replace(world, root=other.root).init()


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b'{"format": 1}', b"[]", b"x" * 10_000])
def test_a_marker_that_is_none_is_refused(world: World, content: bytes) -> None:
    (world.root / ".jobctl" / "root.json").write_bytes(content)
    with pytest.raises(RootUnavailable, match="cannot be used"):
        world.recover()


def test_a_marker_that_is_a_symlink_is_refused(world: World, tmp_path: Path) -> None:
    marker = world.root / ".jobctl" / "root.json"
    marker.rename(tmp_path / "elsewhere.json")
    marker.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(RootUnavailable):
        world.recover()


def test_overlapping_and_dangerous_roots_are_refused(world: World, tmp_path: Path) -> None:
    below = world.root / "below"
    below.mkdir()
    for path in (below, tmp_path, Path("/"), Path.home()):
        with pytest.raises(RootRefused):
            replace(world, root=path).init()
    assert not (below / ".jobctl").exists()


def test_init_again_changes_nothing(world: World) -> None:
    marker = (world.root / ".jobctl" / "root.json").read_bytes()
    world.init()
    assert (world.root / ".jobctl" / "root.json").read_bytes() == marker
    with world.site() as site, site.store.read() as connection:
        assert len(roots.get_roots(connection)) == 1


def test_a_registered_root_in_the_place_of_another_keeps_its_marker(world: World, tmp_path: Path) -> None:
    second = World(world.url, tmp_path / "second")
    second.init()
    world.root.rename(tmp_path / "away")
    second.root.rename(world.root)
    marker = world.root / ".jobctl" / "root.json"
    before = marker.read_bytes()
    with pytest.raises(RootRefused, match="is root r.*, not r"):
        world.init()
    assert marker.read_bytes() == before


def test_of_a_root_that_lost_its_marker_or_was_moved_nothing_is_called_missing_yet(
    world: World, tmp_path: Path
) -> None:
    (world.root / ".jobctl" / "root.json").unlink()
    world.init()
    with world.site() as site:
        assert list_roots(site)[0].is_suspended
    world.recover()
    moved = replace(world, root=world.root.rename(tmp_path / "moved"))
    with moved.site() as site:
        assert not list_roots(site)[0].is_suspended
    moved.init()
    with moved.site() as site:
        assert list_roots(site)[0].is_suspended


def test_only_the_registered_root_itself_is_adopted(world: World, tmp_path: Path) -> None:
    second, other = (
        World(world.url, tmp_path / "second"),
        World(str(tmp_path / "other.db"), tmp_path / "third"),
    )
    second.init()
    other.init()
    world.root.rename(tmp_path / "away")
    for stranger, why in ((second, "is root r.*, not r"), (other, "belongs to another job store")):
        stranger.root.rename(world.root)
        with world.site() as site, pytest.raises(RootRefused, match=why):
            adopt_root(site, str(world.root))
        world.root.rename(stranger.root)


def test_a_root_that_moved_into_another_one_is_refused(world: World, tmp_path: Path) -> None:
    second = World(world.url, tmp_path / "second")
    second.init()
    moved = replace(second, root=second.root.rename(world.root / "below"))
    with pytest.raises(RootRefused, match="overlaps the root"):
        moved.init()
    with world.site() as site, site.store.read() as connection:
        assert str(second.root) in [row.path for row in roots.get_roots(connection)]


def test_with_one_of_two_roots_away_recover_refuses_and_names_the_other(world: World, tmp_path: Path) -> None:
    world.video()
    second = World(world.url, tmp_path / "second")
    second.init()
    second.root.rename(tmp_path / "away")
    with pytest.raises(RootUnavailable, match="second"):
        world.recover()
    with world.site() as site, hold_roots(site, command="recover", only=str(world.root)) as hold:
        with plan_recover(hold) as plan:
            assert plan.total == 1


# --- an older store ----------------------------------------------------------------------------


def test_a_store_put_back_from_an_older_copy_is_refused_until_adopted(world: World, tmp_path: Path) -> None:
    if not world.url.endswith(".db"):
        pytest.skip("a plain file copy is a thing of SQLite")
    recovered(world)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(world.url)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    world.video(1)
    world.recover()
    for suffix in ("-wal", "-shm"):
        Path(world.url + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, world.url)
    before = world.tables()
    with pytest.raises(StoreOlderThanRoot, match="older copy of the store"):
        world.recover()
    assert world.tables() == before
    with world.site() as site:
        adopt_root(site, str(world.root))
    (world.root / f"presentation_{a_job_id(0)}.mp4").unlink()
    report = world.recover()
    assert world.job_ids() == {a_job_id(0), a_job_id(1)}
    assert report.counts["done"] == 1, "nothing is called missing until a complete recover was applied"
    assert Kind.MISSING_VIDEO in [finding.kind for finding in world.scan()]


def test_an_older_tree_put_back_calls_nothing_missing(world: World) -> None:
    recovered(world)
    marker = world.root / ".jobctl" / "root.json"
    old = json.loads(marker.read_text())
    world.video(1)
    world.recover()
    world.video(2)
    world.recover()
    marker.write_text(json.dumps(old))
    (world.root / f"presentation_{a_job_id(2)}.mp4").unlink()
    assert world.recover().counts["planned"] == 0


@pytest.mark.parametrize("is_distrusted", [False, True], ids=["trusted", "distrusted-before"])
def test_a_plan_from_before_an_older_tree_was_put_back_is_stale_and_one_on_it_is_good(
    world: World, is_distrusted: bool
) -> None:
    recovered(world)
    marker = world.root / ".jobctl" / "root.json"
    old = marker.read_text()
    for number in (1, 2):
        world.video(number)
        world.recover()
    world.video(3)
    if is_distrusted:
        with world.site() as site:
            adopt_root(site, str(world.root))
    before = world.plan()
    marker.write_text(old)
    with pytest.raises(PlanStale, match="an older store or tree was put back"):
        world.apply(before)
    on_it = world.plan()
    assert world.apply(on_it).counts["done"] == 1


# --- places that cannot be looked at ------------------------------------------------------------


def test_what_is_put_back_while_a_recover_is_applied_stays_suspended(world: World) -> None:
    """It was planned before that."""
    world.video()
    done: list[str] = []

    def adopt(name: str, _: int) -> None:
        done.append(name)
        if done.count("replace") == 1 and name == "fsync-directory":
            with world.site() as site:
                adopt_root(site, str(world.root))

    with observed(after=adopt):
        assert world.recover().counts["done"] == 1
    with world.site() as site:
        assert list_roots(site)[0].is_suspended


def test_below_a_failing_directory_nothing_is_missing(world: World, monkeypatch) -> None:
    video = world.video()
    (world.root / "2025").mkdir()
    video.rename(world.root / "2025" / video.name)
    world.recover()
    plain_walk = walk.walk
    scandir = failing_scandir(world, "2025")
    monkeypatch.setattr(
        "jobctl.ops.scan.walk", lambda *given, **named: plain_walk(*given, scandir=scandir, **named)
    )
    before = world.tables()
    report = world.recover()
    assert report.exit_code is ExitCode.INCOMPLETE
    assert world.tables() == before
    with world.site() as site:
        scanning = scan(site, ScanOptions(full=True))
        assert list(scanning) == []
    assert [(place.path, place.reason) for place in scanning.report.unknown] == [
        ("2025", "Input/output error")
    ]
    assert not scanning.report.is_complete


def test_neither_an_incomplete_recover_nor_another_command_has_absence_trusted_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.root / "2025").mkdir()
    with world.site() as site:
        adopt_root(site, str(world.root))

    def is_suspended() -> bool:
        with world.site() as site:
            return list_roots(site)[0].is_suspended

    world.cleanup()
    with monkeypatch.context() as failing:
        scandir = failing_scandir(world, "2025")
        plain_walk = walk.walk
        failing.setattr(
            "jobctl.ops.scan.walk", lambda *given, **named: plain_walk(*given, scandir=scandir, **named)
        )
        assert world.recover().counts["planned"] == 0
        world.video()
        assert world.recover().counts["done"] == 1
    assert is_suspended()
    world.recover()
    assert not is_suspended()


MOUNTED = """
set -e
mount -t tmpfs none "$1/2025"
exec "$2" scan --json --full
"""


def test_below_a_mount_point_all_is_unknown(world: World) -> None:
    if not world.url.endswith(".db"):
        pytest.skip("a user namespace has no way to the server's socket")
    video = world.video()
    (world.root / "2025").mkdir()
    video.rename(world.root / "2025" / video.name)
    world.recover()
    program = Path(sys.executable).with_name("jobctl")
    command = ["unshare", "-Urm", "sh", "-c", MOUNTED, "sh", str(world.root), str(program)]
    environment = {**os.environ, "JOBCTL_DATABASE_URL": world.url, "JOBCTL_HOST_ID": world.host}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    answer = json.loads(said.stdout)
    assert said.returncode == ExitCode.INCOMPLETE
    assert answer["data"]["items"] == []
    assert "another file system" in json.dumps(answer)


# --- several hosts -------------------------------------------------------------------------------


def test_another_hosts_local_root_is_unknown_here(store_url: str, tmp_path: Path) -> None:
    hosts = [World(store_url, tmp_path / name, host=name) for name in ("host-a", "host-b", "host-c")]
    for number, world in enumerate(hosts):
        world.init(host_local=True)
        world.video(number)
        world.recover()
    assert hosts[0].job_ids() == {a_job_id(number) for number in range(3)}
    for number, world in enumerate(hosts[1:], start=1):
        world.start_job(10 + number, executor=Executor(world.host, "boot", 1, 1))
        world.root.rename(tmp_path / f"away-{number}")
    before = hosts[0].tables()
    assert hosts[0].recover().counts["planned"] == 0
    assert {finding.kind for finding in hosts[0].scan()} == {Kind.ZOMBIE}
    assert hosts[0].tables() == before


def test_a_dead_job_is_not_failed_where_its_root_cannot_be_seen(store_url: str, tmp_path: Path) -> None:
    here = World(store_url, tmp_path / "a", host="host-a")
    there = World(store_url, tmp_path / "b", host="host-b")
    here.init(host_local=True)
    there.init(host_local=True)
    here.start_job(executor=current_executor("host-a")._replace(boot_id="an-earlier-boot"))
    assert here.recover().counts["planned"] == 0
    (finding,) = here.scan()
    assert (finding.kind, "cannot be seen from this host" in finding.reason) == (Kind.INTERRUPTED, True)
    assert here.job().status is Status.PROCESSING


# --- one at a time -------------------------------------------------------------------------------


def test_of_two_recovers_at_once_one_is_told_who_holds_the_lock(world: World) -> None:
    with world.site() as site, hold_roots(site, command="recover"):
        with pytest.raises(Locked, match=f"jobctl recover.*pid {os.getpid()} on host {world.host}"):
            world.recover()
    assert world.recover().exit_code is ExitCode.CLEAN


HOLDER = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from ops.world import World
from jobctl.errors import LockLost
from jobctl.ops.apply import apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.recover import plan_recover

world = World(sys.argv[1], Path(sys.argv[2]), changes={"lock_stale_after_s": 0.05})
with world.site() as site, hold_roots(site, command="recover") as hold, plan_recover(hold) as plan:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        print(apply_plan(hold, plan).counts, flush=True)
    except LockLost as error:
        print("lost:", error, flush=True)
"""


def holder(world: World) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, world.url, str(world.root), *sys.path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_lock_of_a_killed_run_is_taken_over_at_once(world: World) -> None:
    world.video()
    process = holder(world)
    with pytest.raises(Locked):
        world.recover()
    process.kill()
    process.communicate()
    assert world.recover().counts["done"] == 1


def test_a_holder_that_was_stopped_changes_nothing_after_its_lock_was_taken(world: World) -> None:
    world.video()
    process = holder(world)
    process.send_signal(signal.SIGSTOP)
    world.changes["lock_stale_after_s"] = 0.000001
    report = world.recover()
    assert report.counts["done"] == 1
    after = world.tables("job", "artifact", "event", "run_action")
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate("\n")
    assert said.startswith("lost: another run took")
    assert world.tables("job", "artifact", "event", "run_action") == after


def test_a_renewal_after_the_takeover_is_refused(world: World) -> None:
    with world.site() as site, hold_roots(site, command="first") as first:
        world.changes["lock_stale_after_s"] = 0.000001
        with world.site() as other, hold_roots(other, command="second"):
            with pytest.raises(LockLost), site.store.write() as connection:
                first.renew(connection)


def test_ten_recovers_at_once_make_one_set_of_records(world: World) -> None:
    for number in range(5):
        world.video(number)
    program = Path(sys.executable).with_name("jobctl")
    environment = {**os.environ, "JOBCTL_DATABASE_URL": world.url, "JOBCTL_HOST_ID": world.host}
    started = [
        subprocess.Popen(
            [program, "recover", "--yes", "--quiet"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(10)
    ]
    codes = {process.wait() for process in started}
    assert codes <= {ExitCode.CLEAN, ExitCode.LOCKED}
    assert ExitCode.CLEAN in codes
    assert len(world.job_ids()) == 5
    with world.site() as site, site.store.read() as connection:
        for number in range(5):
            assert len(jobs.history(connection, a_job_id(number))) == 1


def test_a_root_that_is_registered_while_one_waits_is_not_held(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has locked it."""
    later = World(world.url, tmp_path / "later")
    with world.site() as site, ExitStack() as first:
        first.enter_context(hold_roots(site, command="first"))

        def register(_: float) -> None:
            later.init()
            first.close()

        monkeypatch.setattr(clock, "sleep", register)
        with hold_roots(site, command="second", wait_s=60) as hold:
            assert [root.path for root in hold.roots] == [str(world.root)]
            assert len(hold.fences) == 1
    with world.site() as site, hold_roots(site, command="third") as hold:
        assert len(hold.roots) == len(hold.fences) == 2


# --- hostile trees -------------------------------------------------------------------------------


def test_odd_things_with_our_names_get_a_verdict_and_are_never_opened(world: World) -> None:
    os.mkfifo(world.root / f"presentation_{a_job_id(0)}.mp4")
    (world.root / f"presentation_{a_job_id(1)}.mp4").mkdir()
    (world.root / f"presentation_{a_job_id(2)}.mp4").symlink_to("/etc/passwd")
    (world.root / f"presentation_{a_job_id(3)}.mp4").symlink_to("gone")
    found = {finding.job_id: finding.kind for finding in world.scan()}
    assert found == {
        a_job_id(0): Kind.BROKEN_VIDEO,
        a_job_id(1): Kind.BROKEN_VIDEO,
        a_job_id(2): Kind.UNREADABLE,
        a_job_id(3): Kind.UNREADABLE,
    }
    assert world.recover().counts["planned"] == 0


@pytest.mark.parametrize("kind", ["a link to a link", "a second name of a link"])
def test_a_link_is_not_followed_however_it_leads_to_a_whole_video(
    world: World, tmp_path: Path, kind: str
) -> None:
    outside = world.video().rename(tmp_path / "whole.mp4")
    (world.root / "current.mp4").symlink_to(outside)
    path = world.root / f"presentation_{a_job_id()}.mp4"
    if kind == "a link to a link":
        path.symlink_to("current.mp4")
    else:
        os.link(world.root / "current.mp4", path, follow_symlinks=False)
    assert [(finding.kind, finding.reason) for finding in world.scan()] == [
        (Kind.UNREADABLE, "a symbolic link; it is not followed")
    ]
    assert (world.recover().counts["planned"], world.job_ids()) == (0, set())


def test_a_recorded_video_behind_a_symlink_is_not_missing(world: World) -> None:
    video = world.video()
    world.recover()
    moved = video.rename(world.root / "kept-elsewhere.bin")
    video.symlink_to(moved)
    assert Kind.MISSING_VIDEO not in [finding.kind for finding in world.scan()]


def test_two_names_of_one_file_are_told_not_chosen(world: World) -> None:
    video = world.video()
    (world.root / "copy").mkdir()
    os.link(video, world.root / "copy" / video.name)
    assert world.recover().counts["planned"] == 0
    assert {finding.kind for finding in world.scan()} == {Kind.AMBIGUOUS}


def test_a_rescan_looks_only_at_what_changed(world: World) -> None:
    for number in range(3):
        (world.root / str(number)).mkdir()
        video = world.video(number)
        video.rename(world.root / str(number) / video.name)
        set_age(world.root / str(number), 3_600)
    with world.site() as site:
        first = scan(site, ScanOptions())
        list(first)
        second = scan(site, ScanOptions())
        findings = list(second)
    assert (first.report.probed, second.report.probed) == (3, 0)
    assert (second.report.files, len(findings)) == (3, 3)


def test_a_directory_that_vanished_takes_its_sightings_with_it(world: World) -> None:
    video = world.video()
    (world.root / "old").mkdir()
    video.rename(world.root / "old" / video.name)
    set_age(world.root / "old", 3_600)
    assert len(world.scan()) == 1
    shutil.rmtree(world.root / "old")
    assert world.scan() == []


AS_ROOT = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from ops.world import World

# Once as root for root, so that every module is loaded before the machine's are out of reach.
place = Path(sys.argv[1])
World(str(place / "first" / "jobs.db"), place / "first-outputs").init()
world = World(str(place / "second" / "jobs.db"), place / "second-outputs")
os.chown(world.root, 65534, 65534)
os.chmod(place, 0o755)
world.init()
print(os.getuid(), os.getgid())
"""


def test_run_by_root_everything_stays_the_owners(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for parent in [tmp_path, *tmp_path.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    command = [sys.executable, "-c", AS_ROOT, str(tmp_path / "site"), *sys.path]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "65534 65534\n"
    for path in [tmp_path / "site" / "second", *(tmp_path / "site" / "second").iterdir()]:
        assert path.stat().st_uid == 65534
    assert (tmp_path / "site" / "second-outputs" / ".jobctl" / "root.json").stat().st_uid == 65534


def test_undo_needs_no_file(world: World) -> None:
    video = world.video()
    report = world.recover()
    video.unlink()
    assert world.undo(report.run_id).exit_code is ExitCode.CLEAN
    assert world.job_ids() == set()


def test_a_layout_that_no_longer_fits_is_told_not_taken_for_missing_videos(world: World) -> None:
    recovered(world)
    world.changes["layouts"] = {"presentations": {"rules": [{"role": "video", "glob": "invoice_{uuid}.mp4"}]}}
    with world.site() as site:
        scanning = scan(site, ScanOptions())
        assert list(scanning) == []
    assert scanning.report.unmatched == 1
    assert world.recover().counts["planned"] == 0


def test_a_root_that_moved_keeps_its_records_and_a_copy_of_it_is_refused(
    world: World, tmp_path: Path
) -> None:
    recovered(world)
    shutil.copytree(world.root, tmp_path / "copy")
    with pytest.raises(RootRefused, match="is a copy of root"):
        replace(world, root=tmp_path / "copy").init()
    moved = replace(world, root=world.root.rename(tmp_path / "moved"))
    moved.init()
    with world.site() as site, site.store.read() as connection:
        assert [row.path for row in roots.get_roots(connection)] == [str(moved.root)]
    assert moved.recover().counts["planned"] == 0
