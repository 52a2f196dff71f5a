"""Quarantine again, and after faults: nothing is moved twice, or before it is told of."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jobctl.errors import DiskFailed, ExitCode
from jobctl.model.plan import Outcome
from jobctl.model.quarantine import DESPITE_ERROR
from jobctl.outputs import effects
from quarantined import (
    ALREADY,
    CHANGED,
    DONE,
    NAME,
    RUN,
    given_back,
    item,
    lines,
    manifest,
    taken,
    tree,
    unreadable,
    whereabouts,
)


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


def test_a_name_is_on_the_disk_where_a_file_goes_before_it_is_gone_where_it_was(
    outputs: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave it without any."""
    places: list[str] = []
    sync = effects.fsync_directory

    def note(fd: int) -> None:
        places.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    monkeypatch.setattr(effects, "fsync_directory", note)
    taken(outputs, [item(outputs, NAME)])
    assert places[-2:] == [RUN, "b"]
    given_back(outputs)
    assert places[-2:] == ["b", RUN]


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


@pytest.mark.parametrize("number", [4, 5])
def test_a_move_that_may_not_stay_is_not_told_as_done(outputs: Path, video: Path, number: int) -> None:
    """Neither of the two directories says that it is on the disk; the same command goes on."""
    synced: list[str] = []

    def fail(name: str, _: int) -> None:
        if name == "fsync-directory":
            synced.append(name)
            if len(synced) == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    planned = [item(outputs, NAME)]
    effects.observe(before=fail)
    with pytest.raises(DiskFailed, match="cannot be synced"):
        taken(outputs, planned)
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    assert taken(outputs, planned) == [ALREADY]
    assert done == ["fsync-directory"] * 5, "three on the way to the manifest, and both of the move"
    assert whereabouts(outputs) == {1: "quarantined"}


def test_what_somebody_takes_out_of_quarantine_at_once_is_not_told_as_moved(
    outputs: Path, video: Path
) -> None:
    def take_out(name: str, _: int) -> None:
        if name == "rename":
            (manifest(outputs).parent / "1").rename(outputs / "elsewhere")

    effects.observe(after=take_out)
    assert taken(outputs, [item(outputs, NAME)]) == [
        (Outcome.CONFLICT, "it was moved, and somebody took it out of quarantine")
    ]
    assert whereabouts(outputs) == {1: "in-place"}


def test_a_failed_move_is_told_with_its_error(outputs: Path, video: Path) -> None:
    def fail(name: str, _: int) -> None:
        if name == "rename":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    effects.observe(before=fail)
    assert taken(outputs, [item(outputs, NAME)]) == [
        (Outcome.FAILED, "it could not be moved: Input/output error")
    ]
    assert whereabouts(outputs) == {1: "in-place"}


def test_where_an_error_is_told_of_a_move_that_was_made_the_disk_is_believed(
    outputs: Path, video: Path
) -> None:
    def fail(name: str, _: int) -> None:
        if name == "rename":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    effects.observe(after=fail)
    assert taken(outputs, [item(outputs, NAME)]) == [(Outcome.DONE, DESPITE_ERROR)]
    assert (video.exists(), whereabouts(outputs)) == (False, {1: "quarantined"})
    assert given_back(outputs) == [(Outcome.DONE, DESPITE_ERROR)]
    assert (video.exists(), whereabouts(outputs)) == (True, {1: "restored"})
    assert [line["event"] for line in lines(outputs)] == ["take", "restore", "restored"]


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
    with video.open("ab") as out:
        out.write(b"more")
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
