"""A root proves that it is the registered one; everything else is refused with the next step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobctl.errors import ExitCode, JobctlError, RootRefused, RootUnavailable, StoreOlderThanRoot
from jobctl.outputs import effects
from jobctl.outputs.file_systems import file_system_of, is_local
from jobctl.outputs.owner import become_owner_of
from jobctl.outputs.root import (
    OpenRoot,
    known_marker,
    open_root,
    read_generation,
    register,
    root_clock_ns,
    write_generation,
)
from unprivileged import NOBODY, without_privilege

STORE = "store-1"
ID = "r1"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    made = tmp_path / "outputs"
    made.mkdir()
    return made


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users reach: pytest's own are closed to them."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    for below in path.iterdir():
        below.chmod(0o755)
    shutil.rmtree(path)


def registered(path: Path, **changes: Any) -> str:
    given: dict[str, Any] = {"store_id": STORE, "root_id": ID, "others": [], "store_path": None}
    return register(str(path), **{**given, **changes})


def opened(path: Path, **changes: Any) -> OpenRoot:
    given: dict[str, Any] = {"root_id": ID, "store_id": STORE, "generation": 0}
    return open_root(str(path), **{**given, **changes})


def marker_of(path: Path) -> Path:
    return path / ".jobctl" / "root.json"


def everything_in(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def told(error: JobctlError, *words: str) -> None:
    assert error.exit_code in {ExitCode.ROOT, ExitCode.OLD_STORE}
    assert error.hint
    for word in words:
        assert word in error.message


# --- register ---------------------------------------------------------------------------------


def test_a_registered_root_bears_a_marker_that_only_its_owner_can_read(outputs: Path) -> None:
    assert registered(outputs) == str(outputs)
    document = json.loads(marker_of(outputs).read_text())
    assert {name: document[name] for name in ("schema", "root_id", "store_id", "generation")} == {
        "schema": "jobctl-root/v1",
        "root_id": ID,
        "store_id": STORE,
        "generation": 0,
    }
    assert marker_of(outputs).stat().st_mode & 0o777 == 0o600
    assert marker_of(outputs).parent.stat().st_mode & 0o777 == 0o700


def test_every_name_on_the_way_to_a_marker_is_on_the_disk(outputs: Path) -> None:
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    try:
        registered(outputs)
    finally:
        effects.observe()
    assert done == ["mkdir", "fsync-directory", "create", "write", "fsync", "replace", "fsync-directory"]


def test_registering_again_leaves_the_marker_as_it_is(outputs: Path) -> None:
    registered(outputs)
    with opened(outputs) as root:
        write_generation(root, store_id=STORE, generation=3)
    before = everything_in(outputs)
    registered(outputs, others=[str(outputs)])
    assert everything_in(outputs) == before


def test_a_symlink_is_registered_by_its_real_path(outputs: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(outputs)
    assert registered(link) == str(outputs)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, why in (("absent", "does not exist"), ("file", "is not a directory")):
        with pytest.raises(RootRefused) as refused:
            registered(tmp_path / name)
        told(refused.value, why, "nothing was changed")


def test_the_top_directory_and_whatever_holds_a_home_are_refused(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = outputs / "home" / "ada"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for path in (Path("/"), home, home.parent, outputs):
        with pytest.raises(RootRefused, match="may not become a root"):
            registered(path)
    (home / "outputs").mkdir()
    assert registered(home / "outputs")


def test_the_stores_own_directory_and_what_holds_it_are_refused(outputs: Path, tmp_path: Path) -> None:
    store = outputs / "store" / "jobs.db"
    store.parent.mkdir()
    for path in (outputs, store.parent):
        with pytest.raises(RootRefused, match="holds the job store itself"):
            registered(path, store_path=str(store))
    link = tmp_path / "elsewhere"
    link.symlink_to(store.parent)
    with pytest.raises(RootRefused, match="holds the job store itself"):
        registered(outputs, store_path=str(link / "jobs.db"))
    (store.parent / "outputs").mkdir()
    assert registered(store.parent / "outputs", store_path=str(store))


def test_overlapping_roots_are_refused_by_their_real_paths(outputs: Path, tmp_path: Path) -> None:
    inner = outputs / "inner"
    inner.mkdir()
    link = tmp_path / "link"
    link.symlink_to(inner)
    (tmp_path / "outputs-2").mkdir()
    for path, other in ((inner, outputs), (outputs, inner), (link, outputs)):
        with pytest.raises(RootRefused, match="overlaps the root"):
            registered(path, others=[str(other)])
    assert registered(tmp_path / "outputs-2", others=[str(outputs)])


def test_a_copy_of_a_root_is_refused_but_not_a_root_that_was_moved(outputs: Path, tmp_path: Path) -> None:
    registered(outputs)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", outputs, copy], check=True)
    with pytest.raises(RootRefused, match="in another place, or its copy"):
        registered(copy, others=[str(outputs)])
    outputs.rename(tmp_path / "moved")
    assert registered(tmp_path / "moved", others=[str(outputs)])


def test_the_root_of_another_store_is_refused(outputs: Path) -> None:
    registered(outputs)
    before = everything_in(outputs)
    with pytest.raises(RootRefused, match="belongs to another job store"):
        registered(outputs, store_id="store-2")
    assert everything_in(outputs) == before


def test_a_directory_that_cannot_be_written_is_refused(open_place: Path) -> None:
    open_place.chmod(0o555)
    with without_privilege(), pytest.raises(RootRefused) as refused:
        registered(open_place)
    told(refused.value, "cannot become a root: Permission denied")
    assert everything_in(open_place) == {}


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_whatever_else_bears_the_control_directorys_name_is_left_alone(outputs: Path, kind: str) -> None:
    control = outputs / ".jobctl"
    (outputs / "elsewhere").mkdir()
    make = {
        "file": control.touch,
        "link": lambda: control.symlink_to(outputs / "elsewhere"),
        "fifo": lambda: os.mkfifo(control),
    }
    make[kind]()
    with pytest.raises((RootRefused, RootUnavailable)):
        registered(outputs)
    assert sorted(os.listdir(outputs)) == [".jobctl", "elsewhere"]
    assert os.listdir(outputs / "elsewhere") == []


# --- open -------------------------------------------------------------------------------------


def test_the_registered_root_is_opened(outputs: Path) -> None:
    registered(outputs)
    with opened(outputs) as root:
        assert os.fstat(root.fd).st_ino == outputs.stat().st_ino
        assert (root.path, root.device) == (str(outputs), outputs.stat().st_dev)
        assert (root.marker_generation, root.behind) == (0, 0)
        assert not os.get_inheritable(root.fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(root.fd)


@pytest.mark.parametrize("kind", ["gone", "file", "link", "empty"])
def test_a_root_that_is_away_is_unavailable(outputs: Path, tmp_path: Path, kind: str) -> None:
    registered(outputs)
    outputs.rename(tmp_path / "away")
    match kind:
        case "file":
            outputs.touch()
        case "link":
            outputs.symlink_to(tmp_path / "away")
        case "empty":
            outputs.mkdir()
    with pytest.raises(RootUnavailable) as refused:
        opened(outputs)
    told(refused.value, str(outputs), "nothing was changed")
    assert "mount" in refused.value.hint


def test_a_closed_root_is_unavailable_not_empty(open_place: Path) -> None:
    registered(open_place)
    marker_of(open_place).parent.chmod(0o755)
    for closed in (marker_of(open_place), marker_of(open_place).parent, open_place):
        closed.chmod(0)
        with without_privilege(), pytest.raises(RootUnavailable, match="Permission denied"):
            opened(open_place)


@pytest.mark.parametrize(
    "changes", [{"root_id": "r2"}, {"store_id": "store-2"}], ids=["another root", "another store"]
)
def test_another_root_in_its_place_is_told(outputs: Path, changes: dict[str, str]) -> None:
    registered(outputs)
    with pytest.raises(RootUnavailable) as refused:
        opened(outputs, **changes)
    told(refused.value, str(outputs), "nothing was changed")


GOOD = {
    "schema": "jobctl-root/v1",
    "root_id": ID,
    "store_id": STORE,
    "generation": 0,
    "created_at": "2025-11-05",
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b'{"schema":"jobctl-root/v1"',
        b"[" * 4_000,
        b" " * 5_000,
        b"\xff\xfe",
        b"null",
        b"[]",
        *(json.dumps({**GOOD, name: value}).encode() for name, value in [
            ("schema", "jobctl-root/v2"),
            ("root_id", ""),
            ("root_id", 5),
            ("store_id", None),
            ("generation", -1),
            ("generation", "0"),
            ("generation", 0.0),
            ("generation", True),
            ("generation", 2**64),
            ("generation", None),
        ]),
    ],
)  # fmt: skip
def test_what_is_no_marker_is_refused_not_believed(outputs: Path, content: bytes) -> None:
    registered(outputs)
    marker_of(outputs).write_bytes(content)
    for look in (
        opened,
        lambda path: known_marker(str(path), store_id=STORE),
        lambda path: read_generation(str(path)),
    ):
        with pytest.raises(RootUnavailable, match="cannot be used"):
            look(outputs)


@pytest.mark.parametrize("kind", ["link", "endless link", "directory", "fifo", "huge"])
def test_a_marker_that_is_no_small_file_is_refused_and_neither_waited_for_nor_read(
    outputs: Path, tmp_path: Path, kind: str
) -> None:
    registered(outputs)
    marker = marker_of(outputs)
    marker.rename(tmp_path / "root.json")
    match kind:
        case "link":
            marker.symlink_to(tmp_path / "root.json")
        case "endless link":
            marker.symlink_to("/dev/zero")
        case "directory":
            marker.mkdir()
        case "fifo":
            os.mkfifo(marker)
        case "huge":
            shutil.copy(tmp_path / "root.json", marker)
            os.truncate(marker, 1 << 40)
    why = "a symbolic link stands in its place" if "link" in kind else "it is no small regular file"
    with pytest.raises(RootUnavailable, match=f"cannot be used: {why}"):
        opened(outputs)


def test_of_a_marker_that_grows_while_it_is_read_no_more_is_read_than_a_marker_has(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(outputs)
    fstat = os.fstat

    def grown(fd: int) -> os.stat_result:
        found = fstat(fd)
        if found.st_ino == marker_of(outputs).stat().st_ino:
            with marker_of(outputs).open("ab") as marker:
                marker.write(b" " * 10_000)
        return found

    monkeypatch.setattr(os, "fstat", grown)
    read: list[int] = []
    plain_read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read.append(len(found := plain_read(fd, size))) or found)
    with opened(outputs):
        assert read == [4_096]


def test_a_marker_ahead_of_the_store_tells_of_an_older_store(outputs: Path) -> None:
    registered(outputs)
    with opened(outputs) as root:
        write_generation(root, store_id=STORE, generation=5)
    with pytest.raises(StoreOlderThanRoot) as refused:
        opened(outputs, generation=3)
    told(refused.value, "2 changing runs", "older copy")
    assert refused.value.exit_code == ExitCode.OLD_STORE
    assert f"jobctl root adopt {outputs}" in refused.value.hint


def test_a_marker_behind_the_store_is_told_by_how_much(outputs: Path) -> None:
    registered(outputs)
    with opened(outputs, generation=2) as root:
        assert (root.marker_generation, root.behind) == (0, 2)


# --- generations ------------------------------------------------------------------------------


def test_a_written_generation_keeps_the_rest_of_the_marker(outputs: Path) -> None:
    registered(outputs)
    before = json.loads(marker_of(outputs).read_text())
    with opened(outputs) as root:
        write_generation(root, store_id=STORE, generation=1)
        assert (root.marker_generation, root.behind) == (1, 0)
    assert json.loads(marker_of(outputs).read_text()) == {**before, "generation": 1}
    assert read_generation(str(outputs)) == 1
    assert os.listdir(marker_of(outputs).parent) == ["root.json"]


def test_a_generation_that_cannot_be_written_is_an_error_with_a_next_step(outputs: Path) -> None:
    registered(outputs)

    def fail(name: str, number: int) -> None:
        del number
        if name == "fsync":
            raise OSError(5, os.strerror(5))

    effects.observe(before=fail)
    try:
        with opened(outputs) as root, pytest.raises(RootUnavailable) as refused:
            write_generation(root, store_id=STORE, generation=1)
    finally:
        effects.observe()
    told(refused.value, "cannot be written: Input/output error", "no step was taken")
    assert read_generation(str(outputs)) == 0


# --- the file system --------------------------------------------------------------------------


def test_a_disk_of_this_machine_is_not_shared_and_an_unknown_one_is(outputs: Path) -> None:
    registered(outputs)
    with opened(outputs) as root:
        assert is_local(file_system_of(root.fd))
        assert root.is_shared is False
    fd = os.open("/proc", os.O_RDONLY)
    assert file_system_of(fd) == "proc"
    os.close(fd)
    assert not is_local("nfs4")
    assert not is_local(file_system_of(fd))


def test_a_root_that_other_hosts_may_write_to_says_so(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(outputs)
    for kind in ("nfs4", "fuse.sshfs", ""):
        monkeypatch.setattr("jobctl.outputs.root.file_system_of", lambda _fd, kind=kind: kind)
        with opened(outputs) as root:
            assert root.is_shared is True


@pytest.mark.parametrize("has_nameless_files", [True, False])
def test_the_roots_clock_is_its_file_systems(
    outputs: Path, has_nameless_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(outputs)
    if not has_nameless_files:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_EXCL)
    first, last = outputs / "first", outputs / "last"
    with opened(outputs) as root:
        first.touch()
        told_ns = [root_clock_ns(root), root_clock_ns(root)]
        last.touch()
        assert None not in told_ns
        assert first.stat().st_mtime_ns <= told_ns[0] <= told_ns[1] <= last.stat().st_mtime_ns  # type: ignore[operator]
    assert sorted(os.listdir(outputs)) == [".jobctl", "first", "last"]


def test_the_clock_of_a_root_that_cannot_be_written_is_unknown(open_place: Path) -> None:
    registered(open_place)
    marker_of(open_place).parent.chmod(0o555)
    with opened(open_place) as root, without_privilege():
        assert root_clock_ns(root) is None


# --- running as root --------------------------------------------------------------------------

BECOME = """
import os, sys
from jobctl.outputs.owner import become_owner_of
become_owner_of(sys.argv[1])
print(*os.getresuid(), *os.getresgid(), *os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("no way back")
"""


def become(path: Path) -> list[str]:
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", BECOME, str(path)]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("uid", "gid"), [(NOBODY, NOBODY), (54_321, 54_322)], ids=["known", "nameless"])
def test_root_becomes_the_owner_for_good(open_place: Path, uid: int, gid: int) -> None:
    os.chown(open_place, uid, gid)
    ids, way_back = become(open_place)
    groups = ids.split()[3:]
    assert ids.split()[:3] == [str(uid)] * 3
    assert set(groups) == {str(gid)}
    assert way_back == "no way back"


def test_whoever_is_not_root_and_whose_directory_is_roots_stays(outputs: Path) -> None:
    before = os.getresuid(), os.getresgid(), os.getgroups()
    become_owner_of(str(outputs))
    with without_privilege():
        become_owner_of("/")
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_does_not_stay_root_where_the_owner_cannot_be_learnt(outputs: Path) -> None:
    with pytest.raises(RootUnavailable) as refused:
        become_owner_of(str(outputs / "absent"))
    told(refused.value, "cannot become the owner")
