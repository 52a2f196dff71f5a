"""Quarantine: what goes in comes out as it was."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl.outputs import effects
from quarantined import (
    AT,
    DONE,
    NAME,
    OLD_NS,
    RUN,
    given_back,
    in_quarantine,
    item,
    known,
    lines,
    made_root,
    manifest,
    taken,
    tree,
    whereabouts,
)


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
