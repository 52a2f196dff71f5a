"""Giving back from quarantine: nothing is replaced, and nothing leaves the root."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from jobctl.errors import DiskFailed
from jobctl.model.plan import Outcome
from jobctl.outputs import effects
from quarantined import (
    ALREADY,
    DONE,
    NAME,
    given_back,
    in_quarantine,
    item,
    known,
    lines,
    manifest,
    taken,
    tree,
    whereabouts,
)
from unprivileged import NOBODY


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


def test_another_file_under_the_name_is_not_taken_for_one_that_is_gone_from_quarantine(
    outputs: Path, video: Path
) -> None:
    taken(outputs, [item(outputs, NAME)])
    stale = known(outputs)
    (manifest(outputs).parent / "1").unlink()
    video.write_text("another")
    assert given_back(outputs, stale) == [(Outcome.CONFLICT, "it is not in quarantine any more")]


def test_what_came_back_without_being_on_the_disk_is_synced_by_the_next_try(
    outputs: Path, video: Path
) -> None:
    def fail(name: str, _: int) -> None:
        if name == "fsync-directory":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    taken(outputs, [item(outputs, NAME)])
    stale, done = known(outputs), list[str]()
    effects.observe(before=fail)
    with pytest.raises(DiskFailed, match="cannot be synced"):
        given_back(outputs, stale)
    effects.observe(after=lambda name, _: done.append(name))
    assert given_back(outputs, stale) == [ALREADY]
    assert done == ["fsync-directory", "fsync-directory"]


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


def test_a_file_that_was_touched_and_cannot_be_read_stays(
    outputs: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_fd: int, _size: int) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    taken(outputs, [item(outputs, NAME, sha256="0" * 64)])
    os.utime(manifest(outputs).parent / "1", ns=(1, 1))
    monkeypatch.setattr("jobctl.outputs.release.sha256_of", fail)
    ((outcome, _),) = given_back(outputs)
    assert (outcome, whereabouts(outputs)) == (Outcome.CONFLICT, {1: "quarantined"})


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
