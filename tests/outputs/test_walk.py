"""A walk sees every file that is ours, and says of every place it could not see that it could not."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobctl.core.layout import PRESENTATIONS, layout_from_mapping
from jobctl.model.files import Seen, Verdict
from jobctl.model.records import DirectoryMark
from jobctl.outputs import directories, stats
from jobctl.outputs import walk as walks
from jobctl.outputs.directories import open_directory
from jobctl.outputs.root import OpenRoot, open_root, register
from jobctl.outputs.stats import SecondProcess, signed64
from jobctl.outputs.walk import UnknownSubtree, WalkResult, walk
from unprivileged import without_privilege

OLD_NS = 1_762_300_800 * 10**9


def video(number: int = 0) -> str:
    return f"presentation_{uuid.UUID(int=number + 1)}.mp4"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return made_root(tmp_path / "outputs")


def made_root(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    register(str(path), store_id="s1", root_id="r1", others=[], store_path=None)
    return path


@contextmanager
def opened(path: Path) -> Iterator[OpenRoot]:
    with open_root(str(path), root_id="r1", store_id="s1", generation=0) as root:
        yield root


def walked(path: Path, **options: Any) -> tuple[list[Seen], WalkResult]:
    with opened(path) as root:
        walking = walk(root, options.pop("layout", PRESENTATIONS), **options)
        return sorted(map(Seen._make, walking)), walking.result


def paths(seen: list[Seen]) -> list[str]:
    return sorted(each.path for each in seen)


# --- what is seen -----------------------------------------------------------------------------


def test_every_file_of_ours_is_seen_as_the_file_system_has_it(outputs: Path) -> None:
    (outputs / "presentations" / "2025").mkdir(parents=True)
    places = [
        video(1),
        f"presentations/{video(2)}",
        f"presentations/2025/{video(3)}",
        "temp_composition_5.mp4",
    ]
    for number, place in enumerate(places):
        (outputs / place).write_bytes(b"x" * number)
    seen, result = walked(outputs)
    assert paths(seen) == sorted(places)
    for each in seen:
        there = (outputs / each.path).stat()
        identity = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
        assert each.identity == identity
        assert (each.role, each.key) == PRESENTATIONS.classify(os.path.basename(each.path))
        assert each.root_id == "r1"
    assert (result.files, result.bytes, result.foreign) == (4, 6, 0)
    assert (result.unknown, result.odd, result.skipped, result.vanished) == ([], {}, set(), [])
    assert result.is_full


def test_an_empty_root_is_seen_to_be_empty(outputs: Path) -> None:
    seen, result = walked(outputs)
    assert seen == []
    assert [mark.path for mark in result.marks] == [""]


def test_foreign_files_are_counted_and_never_looked_at(outputs: Path) -> None:
    for name in ("notes.txt", f".{video(1)}.part", ".nfs000000000123abcd00000001"):
        (outputs / name).touch()
    os.mkfifo(outputs / "pipe")
    (outputs / "link").symlink_to("/")
    decoys = outputs / "static_design_images" / "2025"
    decoys.mkdir(parents=True)
    (decoys / video(1)).touch()
    (decoys.parent / video(2)).touch()
    seen, result = walked(outputs)
    assert seen == []
    assert (result.files, result.foreign, result.odd) == (0, 7, {})


@pytest.mark.parametrize("name", [".jobctl", "lost+found", ".snapshot"])
def test_some_directories_are_never_entered(outputs: Path, name: str) -> None:
    place = outputs / "presentations" / name
    place.mkdir(parents=True)
    (place / video(1)).touch()
    seen, result = walked(outputs)
    assert (seen, result.files, result.unknown) == ([], 0, [])
    assert name not in {os.path.basename(mark.path) for mark in result.marks}


@pytest.mark.parametrize(
    "name", [b"line\nbreak", b"\x1b[31m", b"caf\xe9", b"[bold]", b"-rf", b"\\x41", b"\xff" * 255]
)
def test_a_directory_may_be_called_anything(outputs: Path, name: bytes) -> None:
    directory = os.path.join(os.fsencode(outputs), name)
    os.mkdir(directory)
    Path(os.fsdecode(directory), video(1)).touch()
    seen, result = walked(outputs)
    assert [os.fsencode(each.path) for each in seen] == [name + b"/" + video(1).encode()]
    assert result.unknown == []


def test_names_of_ones_own_layout_may_hold_bytes_that_are_no_text(outputs: Path) -> None:
    Path(outputs, os.fsdecode(b"caf\xe9\n.mp4")).touch()
    layout = layout_from_mapping("mine", {"rules": [{"role": "intermediate", "glob": "*.mp4"}]})
    seen, _ = walked(outputs, layout=layout)
    assert [os.fsencode(each.path) for each in seen] == [b"caf\xe9\n.mp4"]


def test_what_bears_a_name_of_ours_and_is_no_file_is_told_and_not_followed(
    outputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.mp4").write_bytes(b"secret")
    (outputs / video(1)).symlink_to(tmp_path / "elsewhere.mp4")
    os.mkfifo(outputs / video(2))
    (outputs / video(3)).mkdir()
    (outputs / video(3) / video(4)).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(outputs)
        try:
            listener.bind(video(5))
        finally:
            os.chdir(place)
        seen, result = walked(outputs)
    assert {path: check.verdict for path, check in result.odd.items()} == {
        video(1): Verdict.UNSUPPORTED,
        video(2): Verdict.NOT_MEDIA,
        video(3): Verdict.NOT_MEDIA,
        video(5): Verdict.NOT_MEDIA,
    }
    assert paths(seen) == sorted([video(1), video(2), video(3), f"{video(3)}/{video(4)}", video(5)])


def test_a_symlink_to_a_directory_is_foreign(outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / video(1)).touch()
    (outputs / "link").symlink_to(tmp_path / "elsewhere")
    (outputs / "loop").symlink_to(".")
    seen, result = walked(outputs)
    assert (seen, result.foreign, result.unknown) == ([], 2, [])


def test_directories_may_lie_thousands_deep(tmp_path: Path) -> None:
    outputs = made_root(tmp_path / "outputs")
    depth = 3_000
    fd = os.open(outputs, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open(video(1), os.O_CREAT, dir_fd=fd))
    os.close(fd)
    try:
        seen, result = walked(outputs)
        assert paths(seen) == ["d/" * depth + video(1)]
        assert (len(result.marks), result.unknown) == (depth + 1, [])
    finally:
        # Flattened level by level: what pytest removes its directories with recurses.
        for _ in range(depth - 1):
            (outputs / "d" / "d").rename(outputs / "e")
            (outputs / "d").rmdir()
            (outputs / "e").rename(outputs / "d")


def test_thousands_of_directories_need_few_descriptors(outputs: Path) -> None:
    for number in range(2_000):
        (outputs / f"{number}").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        _, result = walked(outputs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(result.marks) == 2_001


def test_a_walk_that_is_abandoned_leaves_nothing_open(outputs: Path) -> None:
    for number in range(walks._BATCH + 1):
        (outputs / video(number)).touch()
    with opened(outputs) as root:
        before = sorted(os.listdir("/proc/self/fd"))
        walking = iter(walk(root, PRESENTATIONS))
        next(walking)
        walking.close()  # type: ignore[attr-defined]
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_progress_never_goes_back_and_ends_at_the_number_of_files(outputs: Path) -> None:
    for number in range(3 * walks._BATCH):
        (outputs / video(number)).touch()
    reported: list[int] = []
    _, result = walked(outputs, on_progress=reported.append)
    assert reported == sorted(reported)
    assert reported[-1] == result.files == 3 * walks._BATCH


def test_device_and_inode_numbers_fit_the_databases() -> None:
    assert [signed64(number) for number in (0, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 2**63 - 1, -(2**63), -1]


# --- what could not be seen -------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "is_listed"), [(0o000, False), (0o444, True)])
def test_below_a_closed_directory_all_is_unknown(outputs: Path, mode: int, is_listed: bool) -> None:
    """One that cannot be listed, and one that can be listed but not searched."""
    outputs.chmod(0o755)
    closed = outputs / "closed"
    closed.mkdir()
    (closed / video(1)).touch()
    (outputs / video(2)).touch()
    closed.chmod(mode)
    with opened(outputs) as root, without_privilege():
        walking = walk(root, PRESENTATIONS)
        seen = [Seen._make(row) for row in walking]
    closed.chmod(0o755)
    assert paths(seen) == [video(2)]
    assert walking.result.unknown == [UnknownSubtree("closed", "Permission denied")]


def failing(directory: Path, number: int, *, after: int = 0) -> Callable[[int], Any]:
    """A way of reading directories that fails in one of them, after some entries."""
    inode = directory.stat().st_ino

    @contextmanager
    def scandir(fd: int) -> Iterator[Any]:
        with os.scandir(fd) as entries:
            yield _cut(entries, number, after) if os.fstat(fd).st_ino == inode else entries

    return scandir


def _cut(entries: Iterator[Any], number: int, after: int) -> Iterator[Any]:
    for count, entry in enumerate(entries):
        if count == after:
            raise OSError(number, os.strerror(number))
        yield entry
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("after", [0, 1, walks._BATCH + 1])
def test_a_directory_that_fails_while_it_is_read_is_unknown_and_the_rest_is_seen(
    outputs: Path, after: int
) -> None:
    for name in ("bad", "good"):
        (outputs / name).mkdir()
        for number in range(walks._BATCH + 10):
            (outputs / name / video(number)).touch()
    seen, result = walked(outputs, scandir=failing(outputs / "bad", errno.EIO, after=after))
    assert result.unknown == [UnknownSubtree("bad", "Input/output error")]
    assert len([each for each in seen if each.path.startswith("good/")]) == walks._BATCH + 10
    assert result.files == len(seen)
    assert [mark.path for mark in result.marks if mark.inode] == ["", "good"]


def test_a_root_that_fails_at_once_is_unknown_altogether(outputs: Path) -> None:
    seen, result = walked(outputs, scandir=failing(outputs, errno.EIO))
    assert (seen, result.unknown) == ([], [UnknownSubtree("", "Input/output error")])


def test_faults_below_uploads_are_none_of_ours(outputs: Path) -> None:
    uploads = outputs / "static_design_images"
    uploads.mkdir()
    _, result = walked(outputs, scandir=failing(uploads, errno.EIO))
    assert result.unknown == []


def while_reading(directory: Path, act: Callable[[], object]) -> Callable[[int], Any]:
    """A way of reading directories that acts once, after one of them was read."""
    inode = directory.stat().st_ino

    @contextmanager
    def scandir(fd: int) -> Iterator[Any]:
        with os.scandir(fd) as entries:
            yield entries
        if os.fstat(fd).st_ino == inode:
            act()

    return scandir


def test_a_directory_that_goes_during_the_walk_is_unknown(outputs: Path) -> None:
    """It may have been moved to where the walk had been already."""
    (outputs / "moving").mkdir()
    (outputs / "moving" / video(1)).touch()
    move = while_reading(outputs, lambda: (outputs / "moving").rename(outputs / "moved"))
    seen, result = walked(outputs, scandir=move)
    assert (seen, [place.path for place in result.unknown]) == ([], ["moving"])


@pytest.mark.parametrize("has_openat2", [True, False])
def test_a_directory_exchanged_for_a_symlink_does_not_lead_out(
    outputs: Path, tmp_path: Path, has_openat2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories._Openat2, "is_available", has_openat2)
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "elsewhere" / "below" / video(1)).touch()
    (outputs / "a" / "below").mkdir(parents=True)

    def exchange() -> None:
        (outputs / "a").rename(tmp_path / "away")
        (outputs / "a").symlink_to(tmp_path / "elsewhere")

    for directory, gap in ((outputs, "a"), (outputs / "a", "a/below")):
        seen, result = walked(outputs, scandir=while_reading(directory, exchange))
        assert (seen, result.unknown) == ([], [UnknownSubtree(gap, "it was exchanged during the walk")])
        (outputs / "a").unlink()
        (tmp_path / "away").rename(outputs / "a")


def test_a_file_that_goes_during_the_walk_was_not_seen(outputs: Path) -> None:
    (outputs / video(1)).touch()
    (outputs / video(2)).touch()
    seen, result = walked(outputs, scandir=while_reading(outputs, (outputs / video(1)).unlink))
    assert (paths(seen), result.files, result.unknown) == ([video(2)], 1, [])


@pytest.mark.parametrize("has_openat2", [True, False])
def test_no_directory_is_opened_through_a_symlink_or_above_the_root(
    outputs: Path, has_openat2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories._Openat2, "is_available", has_openat2)
    (outputs / "a").mkdir()
    (outputs / "link").symlink_to("a")
    with opened(outputs) as root:
        for path in ("link", "link/x", "/".join(["a", *["b"] * 600])):
            with pytest.raises(OSError, match="symbolic link|directory"):
                open_directory(root.fd, path)
        fd = open_directory(root.fd, "a")
        assert os.fstat(fd).st_ino == (outputs / "a").stat().st_ino
        os.close(fd)


# --- mounts -----------------------------------------------------------------------------------

MOUNTS = """
set -e
cd "$1"
mkdir tmpfs same plain
touch "plain/$3" "tmpfs/$3" "single-$3"
mount -t tmpfs none tmpfs
touch "tmpfs/$3"
mount --bind plain same
touch "$3" /dev/shm/jobctl-other
mount --bind /dev/shm/jobctl-other "$3"
exec "$2" -c "$4"
"""
LOOK = """
import json, os
from jobctl.core.layout import PRESENTATIONS
from jobctl.outputs.root import open_root
from jobctl.outputs.walk import walk
with open_root(os.getcwd(), root_id="r1", store_id="s1", generation=0) as root:
    walking = walk(root, PRESENTATIONS)
    seen = sorted(row[2] for row in walking)
result = walking.result
print(json.dumps([seen, result.unknown, {path: check.verdict for path, check in result.odd.items()}]))
"""


def test_mounts_of_every_kind_are_unknown_not_absent(outputs: Path) -> None:
    """Another file system, the same one again, and one laid over a single file."""
    name = video(1)
    command = ["unshare", "-Urm", "sh", "-c", MOUNTS, "sh", str(outputs), sys.executable, name, LOOK]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    Path("/dev/shm/jobctl-other").unlink(missing_ok=True)
    if told.returncode and "unshare" in told.stderr:
        pytest.skip("this machine allows no namespaces")
    assert told.returncode == 0, told.stderr
    seen, unknown, odd = json.loads(told.stdout)
    assert seen == sorted([name, f"plain/{name}"])
    reason = "another file system is mounted here"
    assert sorted(unknown) == [["same", reason], ["tmpfs", reason]]
    assert odd == {name: "unreadable"}


# --- walking again ----------------------------------------------------------------------------


def remembered(result: WalkResult, **changes: Any) -> dict[str, DirectoryMark]:
    """The marks of a walk as a store gives them back, once every file was found settled and whole."""
    changes = {"is_quiet": True, "walk_started_ns": 2**62, **changes}
    return {mark.path: mark._replace(**changes) for mark in result.marks}


@pytest.fixture
def tree(outputs: Path) -> Path:
    for name in ("a", "a/b", "c"):
        (outputs / name).mkdir()
        (outputs / name / video(len(name))).write_bytes(b"12345")
    (outputs / "a" / "notes.txt").touch()
    return outputs


def test_an_unchanged_tree_is_skipped_and_still_counted(tree: Path) -> None:
    _, first = walked(tree)
    seen, again = walked(tree, remembered=remembered(first))
    assert seen == []
    assert again.skipped == {"", "a", "a/b", "c"}
    assert not again.is_full
    assert (
        (again.files, again.bytes, again.foreign) == (first.files, first.bytes, first.foreign) == (3, 15, 1)
    )
    assert (again.vanished, again.unknown, again.marks) == ([], [], [])


def test_a_change_deep_below_is_found_though_all_above_is_skipped(tree: Path) -> None:
    marks = remembered(walked(tree)[1])
    (tree / "a" / "b" / video(9)).touch()
    seen, again = walked(tree, remembered=marks)
    assert paths(seen) == sorted(["a/b/" + video(3), "a/b/" + video(9)])
    assert again.skipped == {"", "a", "c"}
    assert again.files == 4
    assert [mark.path for mark in again.marks] == ["a/b"]


def test_a_new_directory_is_walked_and_one_that_is_gone_is_forgotten(tree: Path) -> None:
    marks = remembered(walked(tree)[1])
    shutil.rmtree(tree / "a")
    (tree / "new" / "below").mkdir(parents=True)
    (tree / "new" / "below" / video(7)).touch()
    seen, again = walked(tree, remembered=marks)
    assert paths(seen) == ["new/below/" + video(7)]
    assert sorted(again.vanished) == ["a", "a/b"]
    assert again.skipped == {"c"}


@pytest.mark.parametrize(
    "changes",
    [
        {"is_quiet": False},
        {"layout": "another"},
        {"dev": 1},
        {"inode": 1},
        {"mtime_ns": 1},
        {"ctime_ns": 1},
        {"walk_started_ns": 0},
    ],
)
def test_a_directory_that_may_have_changed_is_read(tree: Path, changes: dict[str, Any]) -> None:
    marks = remembered(walked(tree)[1], **changes)
    seen, again = walked(tree, remembered=marks)
    assert len(seen) == 3
    assert again.is_full


def test_a_change_younger_than_a_coarse_clock_can_tell_is_not_trusted(tree: Path) -> None:
    """A directory last changed within two seconds of the walk; its mtime set back, as copies do."""
    os.utime(tree / "c", ns=(OLD_NS, OLD_NS))
    _, first = walked(tree)
    changed_ns = (tree / "c").stat().st_ctime_ns
    for started_ns, is_skipped in ((changed_ns + 2 * 10**9, False), (changed_ns + 2 * 10**9 + 1, True)):
        _, again = walked(tree, remembered=remembered(first, walk_started_ns=started_ns))
        assert ("c" in again.skipped) is is_skipped


def test_marks_bear_the_time_of_the_file_systems_own_clock(tree: Path) -> None:
    before = tree / "before"
    before.touch()
    _, result = walked(tree)
    (tree / "after").touch()
    [started_ns] = {mark.walk_started_ns for mark in result.marks}
    assert before.stat().st_mtime_ns <= started_ns <= (tree / "after").stat().st_mtime_ns


def test_a_walk_counts_from_its_beginning_and_without_a_clock_its_marks_prove_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes while it lasts is younger than it; by a coarse clock that is all that shows."""
    for told, started_ns in (([2**60, 2**61], 2**60), ([None, None], 0)):
        clock = iter(told)
        monkeypatch.setattr(walks, "root_clock_ns", lambda _root, clock=clock: next(clock))
        assert {mark.walk_started_ns for mark in walked(tree)[1].marks} == {started_ns}


def test_a_gap_is_found_again_though_nothing_above_it_changed(tree: Path) -> None:
    _, first = walked(tree, scandir=failing(tree / "a" / "b", errno.EIO))
    assert first.unknown == [UnknownSubtree("a/b", "Input/output error")]
    marks = remembered(first)
    _, again = walked(tree, remembered=marks, scandir=failing(tree / "a" / "b", errno.EIO))
    assert again.unknown == first.unknown
    assert again.skipped == {"", "a", "c"}
    seen, mended = walked(tree, remembered=marks)
    assert (paths(seen), mended.unknown) == (["a/b/" + video(3)], [])


def test_what_was_remembered_below_a_gap_is_not_gone(tree: Path) -> None:
    marks = remembered(walked(tree)[1], is_quiet=False)
    _, again = walked(tree, remembered=marks, scandir=failing(tree / "a", errno.EIO))
    assert "a/b" not in again.vanished


# --- with a second process --------------------------------------------------------------------

MANY = 3_000


@pytest.fixture
def busy(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree that is worth a second process, on a machine that has a core for it."""
    monkeypatch.setattr(stats, "_WORTHWHILE", 500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    for directory in ("", "a", "a/b"):
        (outputs / directory).mkdir(exist_ok=True)
        for number in range(MANY // 3):
            (outputs / directory / video(number)).touch()
    return outputs


def test_two_processes_see_what_one_sees(busy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(busy / video(MANY))
    (busy / video(MANY + 1)).mkdir()
    (busy / video(MANY + 1) / video(1)).touch()
    seen, result = walked(busy)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    alone, result_alone = walked(busy)
    assert len(seen) == MANY + 3
    assert seen == alone
    assert (result.files, result.bytes, result.odd) == (
        result_alone.files,
        result_alone.bytes,
        result_alone.odd,
    )

    def by_path(mark: DirectoryMark) -> DirectoryMark:
        return mark._replace(walk_started_ns=0)

    assert sorted(map(by_path, result.marks)) == sorted(map(by_path, result_alone.marks))


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_second_process_that_dies_is_done_without(
    busy: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    take = SecondProcess.take
    taken: list[int] = []

    def take_and_kill(self: SecondProcess[Any], fd: int, batch: Any) -> bool:
        if moment == "before" and self._process is not None and not taken:
            self._process.kill()
            self._process.wait()
        is_taken = take(self, fd, batch)
        taken.extend([1] if is_taken or moment == "before" else [])
        if (
            self._process is not None
            and moment != "before"
            and len(taken) == (1 if moment == "during" else 3)
        ):
            self._process.kill()
        return is_taken

    monkeypatch.setattr(SecondProcess, "take", take_and_kill)
    seen, result = walked(busy)
    assert (len(seen), result.files, result.unknown) == (MANY, MANY, [])


def test_a_second_process_that_cannot_be_started_is_done_without(
    busy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    seen, result = walked(busy)
    assert (len(seen), result.unknown) == (MANY, [])


def test_what_the_second_process_cannot_look_at_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_WORTHWHILE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        outputs = made_root(place / "outputs")
        (outputs / "closed").mkdir()
        (outputs / "closed" / video(1)).touch()
        (outputs / "closed").chmod(0o444)
        with opened(outputs) as root, without_privilege():
            walking = walk(root, PRESENTATIONS)
            assert list(walking) == []
        assert walking.result.unknown == [UnknownSubtree("closed", "Permission denied")]
        assert [mark.path for mark in walking.result.marks if mark.inode] == [""]
    finally:
        (outputs / "closed").chmod(0o755)
        shutil.rmtree(place)


def test_no_second_process_outlives_its_walk(busy: Path) -> None:
    before = _children()
    with opened(busy) as root:
        walking = iter(walk(root, PRESENTATIONS))
        for _ in range(MANY - 10):
            next(walking)
        assert len(_children() - before) == 1
        walking.close()  # type: ignore[attr-defined]
        assert _children() == before


def _children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(file.read().split())
