"""The effects: numbered, never replacing what is not ours, and whole or not at all."""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl.outputs import effects

OUTPUTS = Path(effects.__file__).parent


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(autouse=True)
def _unobserved() -> Iterator[None]:
    yield
    effects.observe()


@pytest.fixture
def no_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot rename without replacing, as NFS."""
    monkeypatch.setattr(effects, "_renameat2", lambda *_: False)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_a_file_moves_to_a_free_name(tmp_path: Path, directory: int) -> None:
    (tmp_path / "old").write_text("content")
    effects.rename_noreplace(directory, "old", directory, "new")
    assert names(tmp_path) == ["new"]


def test_a_name_that_is_not_utf8_moves_too(tmp_path: Path, directory: int) -> None:
    os.close(os.open(b"caf\xe9", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    effects.rename_noreplace(directory, os.fsdecode(b"caf\xe9"), directory, os.fsdecode(b"th\xe9"))
    assert os.listdir(os.fsencode(tmp_path)) == [b"th\xe9"]


@pytest.mark.parametrize("method", ["renameat2", "link"])
@pytest.mark.parametrize("taken_by", ["file", "directory", "dangling symlink"])
def test_a_taken_name_is_never_replaced(
    tmp_path: Path, directory: int, request: pytest.FixtureRequest, method: str, taken_by: str
) -> None:
    if method == "link":
        request.getfixturevalue("no_renameat2")
    (tmp_path / "old").write_text("content")
    if taken_by == "directory":
        (tmp_path / "new").mkdir()
    elif taken_by == "file":
        (tmp_path / "new").write_text("older")
    else:
        (tmp_path / "new").symlink_to("gone")
    before = (tmp_path / "new").lstat()
    with pytest.raises(FileExistsError):
        effects.rename_noreplace(directory, "old", directory, "new")
    assert (tmp_path / "new").lstat() == before
    assert (tmp_path / "old").read_text() == "content"


def test_without_renameat2_a_file_is_linked_then_unlinked(
    tmp_path: Path, directory: int, no_renameat2: None
) -> None:
    told: list[str] = []
    effects.observe(before=lambda name, _: told.append(name))
    (tmp_path / "old").write_text("content")
    effects.rename_noreplace(directory, "old", directory, "new")
    assert told == ["rename", "link", "unlink"]
    assert names(tmp_path) == ["new"]


def test_a_move_cut_short_between_link_and_unlink_is_completed_by_the_same_call(
    tmp_path: Path, directory: int, no_renameat2: None
) -> None:
    def fail(name: str, _: int) -> None:
        if name == "unlink":
            raise OSError(errno.EIO, name)

    (tmp_path / "old").write_text("content")
    effects.observe(before=fail)
    with pytest.raises(OSError, match="unlink"):
        effects.rename_noreplace(directory, "old", directory, "new")
    assert names(tmp_path) == ["new", "old"]
    effects.observe()
    effects.rename_noreplace(directory, "old", directory, "new")
    assert names(tmp_path) == ["new"]
    assert (tmp_path / "new").read_text() == "content"


def test_what_can_be_neither_renamed_nor_linked_stays(
    tmp_path: Path, directory: int, no_renameat2: None
) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(OSError, match="not permitted"):
        effects.rename_noreplace(directory, "old", directory, "new")
    assert names(tmp_path) == ["old"]


def test_a_missing_file_is_told(directory: int) -> None:
    with pytest.raises(FileNotFoundError):
        effects.rename_noreplace(directory, "gone", directory, "new")


@pytest.mark.parametrize("there", ["file", "dangling symlink"])
def test_creating_opens_nothing_that_is_there(tmp_path: Path, directory: int, there: str) -> None:
    if there == "file":
        (tmp_path / "name").write_text("content")
    else:
        (tmp_path / "name").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        effects.create_file(directory, "name")
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_told() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        effects.write_all(fd, b"content")
    os.close(fd)


def test_our_files_are_for_our_eyes(tmp_path: Path, directory: int) -> None:
    effects.make_directory(directory, "control")
    effects.write_file_atomically(directory, "marker", b"content")
    assert (tmp_path / "control").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "marker").stat().st_mode & 0o777 == 0o600


WRITE = """
import os, signal, sys
from jobctl.outputs import effects
directory, number, when = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]), sys.argv[3]
def die(name, at):
    if at == number:
        os.kill(os.getpid(), signal.SIGKILL)
effects.observe(**{when: die})
effects.write_file_atomically(directory, "marker", b"new")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_marker_is_old_or_new_whenever_its_writer_is_killed(
    tmp_path: Path, directory: int, number: int, when: str
) -> None:
    effects.write_file_atomically(directory, "marker", b"old")
    killed = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path), str(number), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "marker").read_bytes() in {b"old", b"new"}
    effects.write_file_atomically(directory, "marker", b"newer")
    assert (tmp_path / "marker").read_bytes() == b"newer"
    assert names(tmp_path) == ["marker"]


def test_the_numbers_above_reach_every_effect_of_writing_a_marker(directory: int) -> None:
    told: list[tuple[int, str]] = []
    effects.observe(before=lambda name, number: told.append((number, name)))
    effects.write_file_atomically(directory, "marker", b"content")
    assert told == [(1, "create"), (2, "write"), (3, "fsync"), (4, "replace"), (5, "fsync-directory")]


class Connection:
    is_committed = False

    def commit(self) -> None:
        self.is_committed = True


def test_commits_are_counted_with_the_effects(directory: int) -> None:
    told: list[tuple[str, int]] = []
    effects.observe(before=lambda *it: told.append(it), after=lambda *it: told.append(it))
    connection = Connection()
    effects.commit(connection)
    effects.fsync_directory(directory)
    assert connection.is_committed
    assert told == [("commit", 1), ("commit", 1), ("fsync-directory", 2), ("fsync-directory", 2)]


def test_an_effect_that_failed_is_not_told_as_done(directory: int) -> None:
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    with pytest.raises(FileNotFoundError):
        effects.unlink(directory, "gone")
    assert done == []


def test_numbers_begin_anew_with_each_observer(directory: int) -> None:
    for _ in range(2):
        told: list[int] = []
        effects.observe(before=lambda _, number, told=told: told.append(number))
        effects.fsync_directory(directory)
        assert told == [1]


CHANGES = re.compile(
    r"os\.(f?sync|f?truncate|link|symlink|unlink|remove|removedirs|mkdir|makedirs|rmdir|mknod|mkfifo|renames?"
    r"|replace|p?writev?|[fl]?chmod|[fl]?chown|posix_fallocate|sendfile|copy_file_range|splice)"
)


@pytest.mark.parametrize("module", sorted(OUTPUTS.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_else_below_outputs_changes_the_disk(module: Path) -> None:
    """Or a crash at that place would never be tried."""
    # What room.py writes to has no name: whatever happens, nothing is left of it.
    if module.name in {"effects.py", "room.py"}:
        return
    calls = [node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    assert [call for call in map(ast.unparse, calls) if CHANGES.fullmatch(call)] == []
