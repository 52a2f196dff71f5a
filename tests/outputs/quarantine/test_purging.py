"""Purging: what was in quarantine long enough is removed for good, and nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from jobctl.model.plan import Outcome
from jobctl.outputs import effects
from quarantined import (
    ALREADY,
    DONE,
    NAME,
    given_back,
    in_quarantine,
    item,
    lines,
    manifest,
    purged,
    taken,
    whereabouts,
)


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


def test_what_cannot_be_removed_is_not_told_as_purged(outputs: Path, video: Path) -> None:
    """Nor is it taken for purged once somebody has it out of there."""

    def fail(name: str, _: int) -> None:
        if name == "unlink":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    taken(outputs, [item(outputs, NAME)])
    effects.observe(before=fail)
    assert purged(outputs) == [(Outcome.FAILED, "it could not be removed: Read-only file system")]
    effects.observe()
    assert [line["event"] for line in lines(outputs)] == ["take", "purge", "stays"]
    (manifest(outputs).parent / "1").rename(outputs / "elsewhere")
    assert whereabouts(outputs) == {1: "lost"}


def test_what_was_removed_though_an_error_was_told_is_told_as_purged(outputs: Path, video: Path) -> None:
    def fail(name: str, _: int) -> None:
        if name == "unlink":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    taken(outputs, [item(outputs, NAME)])
    effects.observe(after=fail)
    ((outcome, _),) = purged(outputs)
    effects.observe()
    assert (outcome, whereabouts(outputs)) == (Outcome.DONE, {1: "purged"})


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
