"""Quarantine: what is not the planned file, or cannot be moved, is left alone and told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobctl.model.plan import Outcome
from jobctl.outputs import effects
from jobctl.outputs.quarantine import is_same_file
from quarantined import (
    ALREADY,
    CHANGED,
    DONE,
    GONE,
    NAME,
    OLD_NS,
    given_back,
    in_quarantine,
    item,
    made_root,
    manifest,
    taken,
    tree,
    whereabouts,
)
from unprivileged import NOBODY


def gone(path: Path) -> None:
    path.unlink()


def its_directory_gone(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


def appended_to(path: Path) -> None:
    with path.open("ab") as out:
        out.write(b"more")


def replaced(path: Path) -> None:
    path.with_name("new").write_bytes(b"moving pictures")
    os.utime(path.with_name("new"), ns=(OLD_NS, OLD_NS))
    path.with_name("new").rename(path)


def dated_back(path: Path) -> None:
    path.write_bytes(b"moving picturez")
    os.utime(path, ns=(OLD_NS, OLD_NS))


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_dangling_symlink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def a_symlink_to_the_file(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


NOT_A_FILE = (Outcome.SKIPPED, "it is no regular file any more")


@pytest.mark.parametrize(
    ("become", "told"),
    [
        (gone, GONE),
        (its_directory_gone, GONE),
        (appended_to, CHANGED),
        (replaced, CHANGED),
        (dated_back, CHANGED),
        (a_directory, NOT_A_FILE),
        (a_dangling_symlink, NOT_A_FILE),
        (a_symlink_to_the_file, NOT_A_FILE),
        (a_fifo, NOT_A_FILE),
    ],
)
def test_what_is_not_the_planned_file_any_more_is_left_and_told(
    outputs: Path, video: Path, become: Callable[[Path], None], told: tuple[Outcome, str]
) -> None:
    planned = item(outputs, NAME)
    become(video)
    before = tree(outputs)
    assert taken(outputs, [planned]) == [told]
    assert tree(outputs) == before
    assert in_quarantine(outputs) == {}


@pytest.mark.parametrize("where", ["a", "a/b"])
def test_no_symlink_is_followed_on_the_way_to_a_file(
    outputs: Path, video: Path, tmp_path: Path, where: str
) -> None:
    planned = item(outputs, NAME)
    (outputs / where).rename(tmp_path / "elsewhere")
    (outputs / where).symlink_to(tmp_path / "elsewhere")
    assert taken(outputs, [planned]) == [
        (Outcome.SKIPPED, "a symbolic link or a file stands in its path"),
    ]
    assert list((tmp_path / "elsewhere").rglob("video.mp4"))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside", "a/../../outside", "", "a//b", ".", ".jobctl/root.json", "a\0b"]
)
def test_a_path_that_leads_out_of_the_root_is_refused(outputs: Path, video: Path, path: str) -> None:
    planned = item(outputs, NAME)._replace(path=path)
    (told,) = taken(outputs, [planned])
    assert told == (Outcome.FAILED, "its path leads out of the root: refused")


WRITER = "import sys; out = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"


def test_a_file_that_is_still_being_written_is_left(outputs: Path, video: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(video)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    planned = item(outputs, NAME)
    assert taken(outputs, [planned]) == [(Outcome.SKIPPED, "it is still being written")]
    assert video.exists()
    assert whereabouts(outputs) == {1: "in-place"}
    writer.communicate()
    assert taken(outputs, [planned]) == [DONE]


def test_a_file_with_another_name_is_moved_and_that_is_told(outputs: Path, video: Path) -> None:
    os.link(video, outputs / "other")
    (told,) = taken(outputs, [item(outputs, NAME)])
    assert told == (Outcome.DONE, "it has 2 names: its bytes stay under the others")
    assert (outputs / "other").read_bytes() == b"moving pictures"
    assert given_back(outputs) == [DONE]
    assert os.path.samefile(video, outputs / "other")


def test_both_names_of_one_file_are_moved(outputs: Path, video: Path) -> None:
    """Moving the one changes the ctime that the other was planned with."""
    os.link(video, outputs / "other")
    items = [item(outputs, NAME, 1), item(outputs, "other", 2)]
    assert [outcome for outcome, _ in taken(outputs, items)] == [Outcome.DONE, Outcome.DONE]
    assert taken(outputs, items) == [ALREADY, ALREADY]
    assert [outcome for outcome, _ in given_back(outputs)] == [Outcome.DONE, Outcome.DONE]
    assert os.path.samefile(video, outputs / "other")


def test_both_names_of_one_file_are_moved_though_a_crash_came_between(outputs: Path, video: Path) -> None:
    os.link(video, outputs / "other")
    items = [item(outputs, NAME, 1), item(outputs, "other", 2)]
    taken(outputs, items[:1])
    assert [outcome for outcome, _ in taken(outputs, items)] == [Outcome.ALREADY, Outcome.DONE]


def test_a_file_that_is_exchanged_in_the_last_instant_is_moved_back(outputs: Path, video: Path) -> None:
    def exchange(name: str, _: int) -> None:
        if name == "rename":
            effects.observe()
            video.rename(video.with_name("planned"))
            video.write_text("another")

    planned = item(outputs, NAME)
    effects.observe(before=exchange)
    assert taken(outputs, [planned]) == [(Outcome.CONFLICT, CHANGED[1])]
    assert video.read_text() == "another"
    assert in_quarantine(outputs) == {}


def test_a_file_that_is_written_over_in_the_last_instant_is_moved_back(outputs: Path, video: Path) -> None:
    """By another host, say, whose writers no lease shows: it has the same inode and the same size."""

    def write_over(name: str, _: int) -> None:
        if name == "rename":
            effects.observe()
            video.write_bytes(b"moving picturez")

    planned = item(outputs, NAME)
    effects.observe(before=write_over)
    assert taken(outputs, [planned]) == [(Outcome.CONFLICT, CHANGED[1])]
    assert video.read_bytes() == b"moving picturez"
    assert in_quarantine(outputs) == {}


def test_what_was_exchanged_is_moved_back_by_the_next_try_though_the_first_was_killed(
    outputs: Path, video: Path
) -> None:
    def exchange(name: str, _: int) -> None:
        if name == "rename":
            effects.observe(after=die)
            video.rename(video.with_name("planned"))
            video.write_text("another")

    def die(name: str, _: int) -> None:
        raise KeyboardInterrupt

    planned = item(outputs, NAME)
    effects.observe(before=exchange)
    with pytest.raises(KeyboardInterrupt):
        taken(outputs, [planned])
    effects.observe()
    assert in_quarantine(outputs) == {"1": b"another"}
    assert taken(outputs, [planned]) == [(Outcome.CONFLICT, CHANGED[1])]
    assert video.read_text() == "another"


def test_what_was_exchanged_and_cannot_be_moved_back_can_be_given_back(outputs: Path, video: Path) -> None:
    def exchange(name: str, _: int) -> None:
        if name == "rename":
            effects.observe(after=take_the_name)
            video.rename(video.with_name("planned"))
            video.write_text("another")

    def take_the_name(name: str, _: int) -> None:
        if name == "rename":
            effects.observe()
            video.write_text("a third")

    effects.observe(before=exchange)
    (told,) = taken(outputs, [item(outputs, NAME)])
    assert told[0] is Outcome.CONFLICT
    assert video.read_text() == "a third"
    assert in_quarantine(outputs) == {"1": b"another"}
    assert whereabouts(outputs) == {1: "quarantined"}
    video.unlink()
    assert given_back(outputs) == [DONE]
    assert video.read_text() == "another"


def test_a_taken_place_in_quarantine_is_not_replaced(outputs: Path, video: Path) -> None:
    manifest(outputs).parent.mkdir(parents=True)
    (manifest(outputs).parent / "1").write_text("older")
    (told,) = taken(outputs, [item(outputs, NAME)])
    assert told == (Outcome.CONFLICT, "its place in quarantine is taken by another file")
    assert in_quarantine(outputs) == {"1": b"older"}
    assert video.exists()


def test_a_number_that_the_databases_write_as_a_negative_one_is_the_planned_one(
    outputs: Path, video: Path
) -> None:
    """Some file systems have inodes above 2⁶³."""
    seen = video.stat()
    times = {"st_mtime_ns": seen.st_mtime_ns, "st_ctime_ns": seen.st_ctime_ns}
    found = os.stat_result((seen.st_mode, 2**64 - 5, *seen[2:10]), times)
    assert is_same_file(found, item(outputs, NAME).identity._replace(inode=-5))
    assert not is_same_file(found, item(outputs, NAME).identity._replace(inode=-6))


def test_one_that_cannot_be_moved_hinders_no_other(outputs: Path, video: Path) -> None:
    (outputs / "other").write_text("x")
    items = [item(outputs, NAME, 1), item(outputs, "other", 2)]
    video.unlink()
    assert taken(outputs, items) == [GONE, DONE]


@pytest.fixture
def nobodys_root() -> Iterator[Path]:
    """A root of a user whom permissions bind."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    outputs = made_root(place / "outputs")
    (outputs / "a").mkdir()
    (outputs / "a" / "file").write_text("x")
    for path in [outputs, *outputs.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    yield outputs
    shutil.rmtree(place)


TAKE_AS_NOBODY = """
import os, sys
from pathlib import Path
from quarantined import given_back, item, opened, taken
here = Path(sys.argv[1])
with opened(here):  # nobody may not read the library this imports
    pass
os.setgroups([]); os.setgid(65534); os.setuid(65534)
((outcome, note),) = taken(here, [item(here, "a/file")])
print(outcome, note)
os.chmod(here / "a", 0o700)
os.chmod(here / "a" / "file", 0o600) if outcome == "skipped" else None
((outcome, note),) = taken(here, [item(here, "a/file")])
print(outcome, note)
os.chmod(here / "a", 0o500)
print(*given_back(here)[0])
"""


@pytest.mark.parametrize(
    ("path", "mode", "told"),
    [
        ("a/file", 0, "skipped it cannot be opened to see whether it is still being written"),
        ("a", 0o500, "failed it could not be moved: Permission denied"),
    ],
)
def test_what_permissions_forbid_is_told_and_works_once_they_are_mended(
    nobodys_root: Path, path: str, mode: int, told: str
) -> None:
    (nobodys_root / path).chmod(mode)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", TAKE_AS_NOBODY, str(nobodys_root)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert said.stderr == ""
    assert said.stdout.splitlines() == [
        told,
        "done None",
        "failed it cannot be reached: Permission denied",
    ]


FOREIGN_QUARANTINE = """
set -e
cd "$1"
mkdir -p .jobctl/quarantine
mount -t tmpfs none .jobctl/quarantine
exec "$2" -c "$3"
"""
TAKE = """
import os
from pathlib import Path
from quarantined import item, taken
here = Path(os.getcwd())
((outcome, note),) = taken(here, [item(here, "a/b/video.mp4")])
print(outcome, note, (here / "a/b/video.mp4").exists(), os.listdir(".jobctl/quarantine"), sep="|")
"""


def test_a_quarantine_on_another_file_system_takes_nothing(outputs: Path, video: Path) -> None:
    command = ["unshare", "-Urm", "sh", "-c", FOREIGN_QUARANTINE, "sh", str(outputs), sys.executable, TAKE]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if told.returncode and "unshare" in told.stderr:
        pytest.skip("this machine allows no namespaces")
    assert told.stderr == ""
    reason = "the quarantine is on another file system than the file"
    assert told.stdout == f"skipped|{reason}|True|[]\n"
