"""Quarantine: what goes in comes out as it was; what is not the planned file is left alone."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl.errors import DiskFailed, ExitCode
from jobctl.model.plan import Outcome
from jobctl.outputs import effects
from jobctl.outputs.entries import find
from quarantined import (
    AT,
    RUN,
    given_back,
    in_quarantine,
    item,
    known,
    made_root,
    manifest,
    opened,
    purged,
    taken,
    tree,
    unreadable,
    whereabouts,
)

NOBODY = 65534
OLD_NS = 1_700_000_000_123_456_789
DONE = (Outcome.DONE, None)
ALREADY = (Outcome.ALREADY, None)
CHANGED = (Outcome.SKIPPED, "the file was changed or replaced since the plan")
GONE = (Outcome.SKIPPED, "the file is gone")


@pytest.fixture(autouse=True)
def _unobserved() -> Iterator[None]:
    yield
    effects.observe()


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return made_root(tmp_path / "outputs")


@pytest.fixture
def video(outputs: Path) -> Path:
    """A file some directories deep, written long ago."""
    (outputs / "a" / "b").mkdir(parents=True)
    made = outputs / "a" / "b" / "video.mp4"
    made.write_bytes(b"moving pictures")
    made.chmod(0o640)
    os.utime(made, ns=(OLD_NS, OLD_NS))
    return made


NAME = "a/b/video.mp4"


def lines(outputs: Path, run_id: str = RUN) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest(outputs, run_id).read_bytes().splitlines()]


# --- there and back ---------------------------------------------------------------------------


def test_a_file_goes_into_quarantine_and_comes_back_as_it_was(outputs: Path, video: Path) -> None:
    before = tree(outputs)
    assert taken(outputs, [item(outputs, NAME)]) == [DONE]
    assert not video.exists()
    assert in_quarantine(outputs) == {"1": b"moving pictures"}
    assert whereabouts(outputs) == {1: "quarantined"}
    assert given_back(outputs) == [DONE]
    assert tree(outputs) == before
    assert in_quarantine(outputs) == {}
    assert whereabouts(outputs) == {1: "restored"}


def test_the_manifest_tells_all_that_is_needed_to_give_a_file_back_by_hand(
    outputs: Path, video: Path
) -> None:
    found = video.stat()
    taken(outputs, [item(outputs, NAME, 7, reason="nobody's", job_id="j1", role="video", sha256="ab")])
    (line,) = lines(outputs)
    assert line == {
        "event": "take",
        "action": 7,
        "path": NAME,
        "dev": found.st_dev,
        "inode": found.st_ino,
        "size": 15,
        "mtime_ns": OLD_NS,
        "ctime_ns": found.st_ctime_ns,
        "mode": "0640",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "reason": "nobody's",
        "job_id": "j1",
        "role": "video",
        "sha256": "ab",
        "root_id": "r1",
        "store_id": "s1",
        "run_id": RUN,
        "at": "2026-01-31T12:00:00.000000Z",
    }


def test_what_the_manifest_told_is_what_an_entry_tells(outputs: Path, video: Path) -> None:
    planned = item(outputs, NAME, 7, job_id="j1", role="video", sha256="ab")
    taken(outputs, [planned])
    (entry,) = known(outputs)
    assert (entry.run_id, entry.root_id, entry.store_id, entry.at) == (RUN, "r1", "s1", AT)
    assert entry[1:4] == (7, NAME, planned.identity)
    assert (entry.mode, entry.job_id, entry.role, entry.sha256) == (0o640, "j1", "video", "ab")


def test_the_quarantine_is_for_our_eyes(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    directory = manifest(outputs).parent
    modes = [place.stat().st_mode & 0o777 for place in (directory.parent, directory, manifest(outputs))]
    assert modes == [0o700, 0o700, 0o600]


def test_a_file_of_the_root_itself_is_moved_too(outputs: Path) -> None:
    (outputs / "top").write_text("x")
    assert taken(outputs, [item(outputs, "top")]) == [DONE]
    assert given_back(outputs) == [DONE]
    assert (outputs / "top").read_text() == "x"


def test_directories_that_were_emptied_are_left(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    assert (outputs / "a" / "b").is_dir()


def test_directories_that_went_meanwhile_are_made_again(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    (outputs / "a" / "b").rmdir()
    (outputs / "a").rmdir()
    assert given_back(outputs) == [DONE]
    assert video.read_bytes() == b"moving pictures"


def test_a_tree_that_was_copied_with_its_quarantine_gives_back_too(
    outputs: Path, video: Path, tmp_path: Path
) -> None:
    """Put back from a backup: inodes differ, times are the same, and no database is there."""
    before = tree(outputs)
    taken(outputs, [item(outputs, NAME)])
    subprocess.run(["cp", "-a", str(outputs), str(tmp_path / "copy")], check=True)
    assert given_back(tmp_path / "copy") == [DONE]
    assert tree(tmp_path / "copy") == before


names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b"..", b".jobctl"}
)
files = st.fixed_dictionaries(
    {
        "parents": st.lists(st.sampled_from([b"a", b"b\n", b"\xff", "é".encode()]), max_size=3),
        "name": names,
        "content": st.binary(max_size=20),
        "mode": st.integers(0, 0o777),
        "mtime_ns": st.integers(0, 2**61),
        "selected": st.booleans(),
    }
)


@given(st.lists(files, max_size=12), st.booleans())
@settings(max_examples=120)
def test_taking_any_files_of_any_tree_and_giving_them_back_changes_nothing(
    made: list[dict[str, Any]], has_renameat2: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        if not has_renameat2:
            patch.setattr(effects, "_renameat2", lambda *_: False)
        outputs = made_root(Path(directory) / "outputs")
        selected = make_files(os.fsencode(outputs), made)
        before = tree(outputs)
        items = [item(outputs, os.fsdecode(path), action) for action, path in enumerate(selected)]
        assert taken(outputs, items) == [DONE] * len(items)
        assert set(tree(outputs)) == set(before) - set(selected)
        assert [entry.path for entry in known(outputs)] == [os.fsdecode(path) for path in selected]
        assert given_back(outputs) == [DONE] * len(items)
        assert tree(outputs) == before


def make_files(top: bytes, made: list[dict[str, Any]]) -> list[bytes]:
    """Make each file whose place is free; give the paths of those that are selected."""
    selected = []
    for file in made:
        path = b"/".join([*file["parents"], file["name"]])
        full = os.path.join(top, path)
        with suppress(FileExistsError, NotADirectoryError):
            os.makedirs(os.path.dirname(full), exist_ok=True)
            fd = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(fd, file["content"])
            # Who is not root cannot read a file that he shut himself out of.
            os.fchmod(fd, file["mode"] | 0o400)
            os.close(fd)
            os.utime(full, ns=(0, file["mtime_ns"]))
            if file["selected"]:
                selected.append(path)
    return selected


def test_names_that_are_not_utf8_are_told_byte_for_byte(outputs: Path) -> None:
    name = b"caf\xe9\nvideo.mp4"
    Path(os.fsdecode(os.path.join(os.fsencode(outputs), name))).write_text("x")
    taken(outputs, [item(outputs, os.fsdecode(name))])
    (line,) = lines(outputs)
    assert line["path"] == "caf\\xe9\nvideo.mp4"
    assert base64.b64decode(line["path_b64"]) == name
    assert given_back(outputs) == [DONE]
    assert name in tree(outputs)


# --- what is left alone -----------------------------------------------------------------------


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


# --- again, and after faults --------------------------------------------------------------------


def test_taking_again_tells_what_was_moved_already(outputs: Path, video: Path) -> None:
    planned = [item(outputs, NAME)]
    assert taken(outputs, planned) == [DONE]
    assert taken(outputs, planned) == [ALREADY]
    assert len(lines(outputs)) == 1


def test_a_new_file_under_the_name_is_not_mistaken_for_the_one_that_was_moved(
    outputs: Path, video: Path
) -> None:
    planned = [item(outputs, NAME)]
    taken(outputs, planned)
    video.write_text("new")
    assert taken(outputs, planned) == [ALREADY]
    assert video.read_text() == "new"


def test_nothing_is_moved_before_the_manifest_tells_of_it_durably(outputs: Path, video: Path) -> None:
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    taken(outputs, [item(outputs, NAME)])
    assert done == [
        "mkdir",
        "fsync-directory",
        "mkdir",
        "fsync-directory",
        "create",
        "fsync-directory",
        "write",
        "fsync",
        "rename",
        "fsync-directory",
        "fsync-directory",
    ]


def test_a_thousand_files_share_their_syncs(outputs: Path) -> None:
    for number in range(2_000):
        (outputs / f"{number}").touch()
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    taken(outputs, [item(outputs, f"{number}", number) for number in range(2_000)])
    assert done.count("rename") == 2_000
    assert done.count("fsync") == 2
    assert done.count("fsync-directory") == 3 + 2 * 2


def test_files_of_more_directories_than_may_be_open_are_moved(outputs: Path) -> None:
    for number in range(500):
        (outputs / f"{number}").mkdir()
        (outputs / f"{number}" / "file").write_text(f"{number}")
    before = tree(outputs)
    assert taken(outputs, [item(outputs, f"{n}/file", n) for n in range(500)]) == [DONE] * 500
    assert given_back(outputs) == [DONE] * 500
    assert tree(outputs) == before


@pytest.mark.parametrize("effect", ["write", "fsync"])
def test_where_the_manifest_cannot_be_written_nothing_is_moved(
    outputs: Path, video: Path, effect: str
) -> None:
    def fail(name: str, _: int) -> None:
        if name == effect:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    planned = [item(outputs, NAME)]
    effects.observe(before=fail)
    with pytest.raises(DiskFailed, match="No space left") as failure:
        taken(outputs, planned)
    assert failure.value.exit_code is ExitCode.INCOMPLETE
    assert video.exists()
    effects.observe()
    assert taken(outputs, planned) == [DONE]


def test_a_failed_move_is_told_with_its_error(outputs: Path, video: Path) -> None:
    def fail(name: str, _: int) -> None:
        if name == "rename":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    effects.observe(before=fail)
    assert taken(outputs, [item(outputs, NAME)]) == [
        (Outcome.FAILED, "it could not be moved: Input/output error")
    ]
    assert whereabouts(outputs) == {1: "in-place"}


def test_a_file_that_changed_after_a_try_that_was_cut_short_is_in_its_place_and_not_lost(
    outputs: Path, video: Path
) -> None:
    """The first try told the manifest of a move that it never made."""

    def die(name: str, _: int) -> None:
        if name == "rename":
            raise KeyboardInterrupt

    planned = item(outputs, NAME)
    effects.observe(before=die)
    with pytest.raises(KeyboardInterrupt):
        taken(outputs, [planned])
    effects.observe()
    assert whereabouts(outputs) == {1: "in-place"}
    appended_to(video)
    assert taken(outputs, [planned]) == [CHANGED]
    assert whereabouts(outputs) == {1: "in-place"}


def test_a_torn_last_line_is_told_and_hinders_nothing(outputs: Path, video: Path) -> None:
    (outputs / "other").write_text("x")
    items = [item(outputs, NAME, 1), item(outputs, "other", 2)]
    taken(outputs, items[:1])
    with manifest(outputs).open("ab") as out:
        out.write(b'{"event":"take","action":2,"pa')
    assert whereabouts(outputs) == {1: "quarantined"}
    assert [(told.run_id, told.line) for told in unreadable(outputs)] == [(RUN, 2)]
    assert taken(outputs, items) == [ALREADY, DONE]
    assert whereabouts(outputs) == {1: "quarantined", 2: "quarantined"}
    assert given_back(outputs) == [DONE, DONE]


# --- what is there ------------------------------------------------------------------------------


def test_a_file_that_was_taken_out_of_quarantine_by_hand_is_lost_or_in_its_place(
    outputs: Path, video: Path
) -> None:
    taken(outputs, [item(outputs, NAME)])
    (manifest(outputs).parent / "1").rename(video)
    assert whereabouts(outputs) == {1: "in-place"}
    assert given_back(outputs) == [ALREADY]
    video.unlink()
    assert whereabouts(outputs) == {1: "lost"}
    assert given_back(outputs) == [(Outcome.CONFLICT, "it is lost: nothing is left to give back")]


def test_another_file_at_its_place_in_quarantine_is_not_taken_for_it(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    place = manifest(outputs).parent / "1"
    place.rename(outputs / "away")
    place.write_text("something else")
    assert whereabouts(outputs) == {1: "lost"}
    (told,) = given_back(outputs)
    assert told[0] is Outcome.CONFLICT
    (told,) = purged(outputs)
    assert told[0] is Outcome.CONFLICT
    assert place.read_text() == "something else"


def test_entries_are_found_by_run_action_job_and_path(outputs: Path) -> None:
    for number, name in enumerate(["x", "y", "z"]):
        (outputs / name).touch()
        taken(outputs, [item(outputs, name, number, job_id=f"j{number // 2}")], run_id=f"run-{number // 2}")
    with opened(outputs) as root:

        def found(**by: Any) -> list[str]:
            return [entry.path for entry in find(root, **by)]

        assert found() == ["x", "y", "z"]
        assert found(run_id="run-0") == ["x", "y"]
        assert found(run_id="run-0", action=1) == ["y"]
        assert found(job_id="j1") == ["z"]
        assert found(path="x") == ["x"]
        assert found(run_id="run-1", path="x") == []
        assert found(run_id="nothing") == []
        assert found(run_id="../../a") == []


def test_ages_count_from_the_later_of_two_witnesses(outputs: Path, video: Path) -> None:
    """A store whose clock was years behind makes nothing old."""
    taken(outputs, [item(outputs, NAME)])
    moved = datetime.fromtimestamp((manifest(outputs).parent / "1").stat().st_ctime, UTC)
    assert moved > AT
    (entry,) = known(outputs, now=moved + timedelta(days=3))
    assert entry.age is not None
    assert timedelta(days=2, hours=23) < entry.age <= timedelta(days=3, seconds=1)


def test_an_age_by_the_roots_own_clock(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    (entry,) = known(outputs)
    assert entry.age is not None
    assert timedelta(0) <= entry.age < timedelta(hours=1)


def test_an_age_that_cannot_be_is_unknown(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    (entry,) = known(outputs, now=AT - timedelta(days=1))
    assert entry.age is None


HOSTILE_LINES = [
    b"",
    b"null",
    b"[1]",
    b"[" * 100_000,
    b'{"event":"take"}',
    b'{"event":"explode","action":1}',
    b'{"event":["take"],"action":1}',
    b'{"event":"take","action":-1}',
    b'{"event":"take","action":true}',
    b'{"event":"take","action":1e400}',
    b'{"event":"take","action":99999999999999999999999}',
    b'{"event":"take","action":' + b"9" * 5_000 + b"}",
    b'{"event":"take","action":5}',
    b"\xff\xfe",
    b"x" * 3_000_000,
]


@pytest.mark.parametrize("hostile", HOSTILE_LINES, ids=range(len(HOSTILE_LINES)))
def test_a_line_that_jobctl_did_not_write_is_told_and_hinders_nothing(
    outputs: Path, video: Path, hostile: bytes
) -> None:
    manifest(outputs).parent.mkdir(parents=True)
    manifest(outputs).write_bytes(hostile + b"\n")
    assert taken(outputs, [item(outputs, NAME)]) == [DONE]
    assert len(unreadable(outputs)) == 1
    assert whereabouts(outputs) == {1: "quarantined"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": None},
        {"path": "\ud800"},
        {"path": "\\x"},
        {"size": "1"},
        {"inode": 1 << 70},
        {"mode": "rwx"},
        {"uid": 1 << 33},
        {"at": "2026"},
        {"at": "2026-01-31"},
        {"job_id": 7},
    ],
    ids=repr,
)
def test_a_take_line_with_a_wrong_field_is_no_take_line(
    outputs: Path, video: Path, wrong: dict[str, Any]
) -> None:
    taken(outputs, [item(outputs, NAME)])
    (line,) = lines(outputs)
    manifest(outputs).write_text(json.dumps({**line, **wrong}) + "\n")
    assert known(outputs) == []
    assert [told.line for told in unreadable(outputs)] == [1]


LINE = {
    "event": "take",
    "action": 1,
    "path": "a",
    **dict.fromkeys(("dev", "inode", "size", "mtime_ns", "ctime_ns", "uid", "gid"), 1),
    "mode": "0644",
    "reason": "no record of it",
    "root_id": "r1",
    "store_id": "s1",
    "run_id": RUN,
    "at": "2026-01-31T12:00:00.000000Z",
}
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
mangled = st.dictionaries(st.sampled_from([*LINE, "job_id", "role", "sha256"]), anything, max_size=3)


@given(st.lists(st.binary(max_size=40) | mangled.map(lambda change: json.dumps({**LINE, **change}).encode())))
@settings(max_examples=150)
def test_no_manifest_brings_anything_down_or_moves_anything_out_of_the_root(content: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        outputs = made_root(Path(directory) / "outputs")
        manifest(outputs).parent.mkdir(parents=True)
        manifest(outputs).write_bytes(b"\n".join(content))
        (manifest(outputs).parent / "1").write_text("x")
        given_back(outputs)
        purged(outputs, days=0)
        assert os.listdir(directory) == ["outputs"]


@pytest.mark.parametrize("there", ["no manifest", "directory", "fifo", "symlink", "run is a file"])
def test_a_run_whose_manifest_cannot_be_opened_is_told(outputs: Path, video: Path, there: str) -> None:
    taken(outputs, [item(outputs, NAME)], run_id="good")
    bad = manifest(outputs, "bad")
    if there == "run is a file":
        bad.parent.touch()
    else:
        bad.parent.mkdir()
    if there == "no manifest":
        (bad.parent / "1").touch()
    elif there == "directory":
        bad.mkdir()
    elif there == "fifo":
        os.mkfifo(bad)
    elif there == "symlink":
        bad.symlink_to(manifest(outputs, "good"))
    assert [entry.run_id for entry in known(outputs)] == ["good"]
    assert [(told.run_id, told.line) for told in unreadable(outputs)] == [("bad", 0)]


def test_nothing_was_ever_taken(outputs: Path) -> None:
    assert known(outputs) == []
    assert unreadable(outputs) == []
    assert taken(outputs, []) == []
    assert not (outputs / ".jobctl" / "quarantine").exists()


# --- giving back --------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["file", "directory", "dangling symlink"])
def test_a_name_that_was_taken_meanwhile_is_never_replaced(outputs: Path, video: Path, there: str) -> None:
    taken(outputs, [item(outputs, NAME)])
    if there == "file":
        video.write_text("new")
    elif there == "directory":
        video.mkdir()
    else:
        video.symlink_to("/nowhere/at/all")
    before = tree(outputs)
    assert given_back(outputs) == [(Outcome.CONFLICT, "its name is taken by another file")]
    assert tree(outputs) == before
    assert whereabouts(outputs) == {1: "quarantined"}


def test_a_directory_whose_name_a_file_took_is_told(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    video.parent.rmdir()
    video.parent.touch()
    assert given_back(outputs) == [(Outcome.CONFLICT, "a symbolic link or a file stands in its path")]


def test_what_is_given_back_is_on_the_disk_before_the_manifest_says_so(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    video.parent.rmdir()
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    given_back(outputs)
    told_before, told_after = ["write", "fsync"], ["write", "fsync"]
    synced = ["fsync-directory"] * 3
    assert done == [*told_before, "mkdir", "rename", *synced, *told_after]


def test_giving_back_again_tells_that_it_is_back(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    stale = known(outputs)
    assert given_back(outputs, stale) == [DONE]
    assert given_back(outputs, stale) == [ALREADY]
    assert given_back(outputs) == [ALREADY]


def test_mode_and_time_are_brought_back(outputs: Path, video: Path) -> None:
    before = tree(outputs)
    sha256 = hashlib.sha256(video.read_bytes()).hexdigest()
    taken(outputs, [item(outputs, NAME, sha256=sha256)])
    place = manifest(outputs).parent / "1"
    place.chmod(0o600)
    os.utime(place, ns=(1, 1))
    assert given_back(outputs) == [DONE]
    assert tree(outputs) == before


def test_without_a_checksum_it_is_told_that_a_file_was_touched_in_quarantine(
    outputs: Path, video: Path
) -> None:
    before = tree(outputs)
    taken(outputs, [item(outputs, NAME)])
    os.utime(manifest(outputs).parent / "1", ns=(1, 1))
    (told,) = given_back(outputs)
    assert told == (
        Outcome.DONE,
        "its time was changed in quarantine; whether its bytes were cannot be told",
    )
    assert tree(outputs) == before


def test_a_file_that_was_written_to_in_quarantine_stays_there(outputs: Path, video: Path) -> None:
    sha256 = hashlib.sha256(video.read_bytes()).hexdigest()
    taken(outputs, [item(outputs, NAME, sha256=sha256)])
    (manifest(outputs).parent / "1").write_bytes(b"moving picturez")
    assert given_back(outputs) == [
        (Outcome.CONFLICT, "its content was changed in quarantine; it stays there")
    ]
    assert whereabouts(outputs) == {1: "quarantined"}


def test_the_owner_is_brought_back_by_root(outputs: Path, video: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.chown(video, NOBODY, NOBODY)
    taken(outputs, [item(outputs, NAME)])
    os.chown(manifest(outputs).parent / "1", 0, 0)
    assert given_back(outputs) == [DONE]
    assert (video.stat().st_uid, video.stat().st_gid) == (NOBODY, NOBODY)


def test_a_manifest_that_another_user_may_have_written_gives_no_file_to_root(
    outputs: Path, video: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    taken(outputs, [item(outputs, NAME)])
    os.chown(manifest(outputs), NOBODY, NOBODY)
    os.chown(manifest(outputs).parent / "1", NOBODY, NOBODY)
    (told,) = given_back(outputs)
    assert told == (Outcome.DONE, "its owner 0:0 could not be brought back")
    assert video.stat().st_uid == NOBODY


def test_no_manifest_can_set_special_bits(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    (line,) = lines(outputs)
    manifest(outputs).write_text(json.dumps({**line, "mode": "6755"}) + "\n")
    assert given_back(outputs) == [DONE]
    assert video.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "path",
    ["/tmp/outside", "../outside", "a/../../outside", ".jobctl/root.json.new", ".JOBCTL/x", "a\0b", ""],
)
def test_a_manifest_that_names_a_path_outside_the_root_is_refused(
    outputs: Path, video: Path, tmp_path: Path, path: str
) -> None:
    taken(outputs, [item(outputs, NAME)])
    (line,) = lines(outputs)
    manifest(outputs).write_text(json.dumps({**line, "path": path}) + "\n")
    assert given_back(outputs) == [(Outcome.FAILED, "its path leads out of the root: refused")]
    assert in_quarantine(outputs) == {"1": b"moving pictures"}
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("where", ["a", "a/b"])
def test_nothing_is_given_back_through_a_symlink(
    outputs: Path, video: Path, tmp_path: Path, where: str
) -> None:
    taken(outputs, [item(outputs, NAME)])
    (outputs / where).rename(tmp_path / "elsewhere")
    (outputs / where).symlink_to(tmp_path / "elsewhere")
    assert given_back(outputs) == [(Outcome.CONFLICT, "a symbolic link or a file stands in its path")]
    assert list((tmp_path / "elsewhere").rglob("video.mp4")) == []


def test_a_run_that_is_gone_gives_nothing_back_and_says_so(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    stale = known(outputs)
    manifest(outputs).parent.rename(outputs / "away")
    (told,) = given_back(outputs, stale)
    assert told[0] is Outcome.FAILED


# --- purging ------------------------------------------------------------------------------------


def test_what_is_old_enough_is_removed_for_good(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    assert purged(outputs) == [DONE]
    assert in_quarantine(outputs) == {}
    assert whereabouts(outputs) == {1: "purged"}
    assert purged(outputs) == [ALREADY]
    assert given_back(outputs) == [(Outcome.CONFLICT, "it is purged: nothing is left to give back")]


def test_what_is_not_old_enough_stays(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    (told,) = purged(outputs, days=14, after=13)
    assert told[0] is Outcome.SKIPPED
    assert in_quarantine(outputs) == {"1": b"moving pictures"}


def test_what_has_no_age_stays(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    (told,) = purged(outputs, days=0, after=-9_000)
    assert told[0] is Outcome.SKIPPED
    assert in_quarantine(outputs) == {"1": b"moving pictures"}


def test_what_is_to_be_kept_stays_and_says_why(outputs: Path, video: Path) -> None:
    (outputs / "other").write_text("x")
    taken(outputs, [item(outputs, NAME, 1, job_id="j1"), item(outputs, "other", 2)])
    told = purged(outputs, keep=lambda entry: "the last copy of j1" if entry.job_id == "j1" else None)
    assert told == [(Outcome.SKIPPED, "the last copy of j1"), DONE]
    assert in_quarantine(outputs) == {"1": b"moving pictures"}


def test_what_was_given_back_is_not_purged(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    given_back(outputs)
    assert purged(outputs) == [(Outcome.SKIPPED, "it is not in quarantine")]
    assert video.exists()


def test_what_was_touched_in_quarantine_is_not_purged(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    os.utime(manifest(outputs).parent / "1", ns=(1, 1))
    (told,) = purged(outputs)
    assert told[0] is Outcome.CONFLICT


def test_nothing_is_removed_before_the_manifest_tells_of_it_durably(outputs: Path, video: Path) -> None:
    taken(outputs, [item(outputs, NAME)])
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    purged(outputs)
    assert done == ["write", "fsync", "unlink", "fsync-directory", "write", "fsync"]


# --- size ---------------------------------------------------------------------------------------


GO_THROUGH = """
import os, resource, sys
from pathlib import Path
from jobctl.outputs.entries import entries
from jobctl.outputs.quarantine import take
from jobctl.outputs.release import give_back
from quarantined import AT, item, opened
here, count = Path(sys.argv[1]), int(sys.argv[2])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
def go(run_id, count):
    items = (item(here, f"{number // 1_000}/{number}", number) for number in range(count))
    with opened(here) as root:
        done = [0, 0]
        for told in take(root, run_id, items, at=AT):
            done[0] += told.outcome == "done"
        for told in give_back(root, entries(root, run_id=run_id), at=AT):
            done[1] += told.outcome == "done"
    assert done == [count, count], done
go("few", 2_000)
few = peak()
go("many", count)
print(peak() - few)
"""


def test_any_number_of_files_goes_through_flat_in_memory(outputs: Path) -> None:
    count = 50_000
    for number in range(count):
        if number % 1_000 == 0:
            (outputs / f"{number // 1_000}").mkdir()
        os.close(os.open(outputs / f"{number // 1_000}" / f"{number}", os.O_CREAT | os.O_WRONLY))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", GO_THROUGH, str(outputs), str(count)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert told.stderr == ""
    assert int(told.stdout) <= 8, "MiB more than a twenty-fifth of the files took"
