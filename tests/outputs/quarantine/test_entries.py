"""What is in quarantine: by the manifests, whoever wrote them, and by what lies there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl.model.plan import Outcome
from quarantined import (
    ALREADY,
    AT,
    DONE,
    NAME,
    RUN,
    given_back,
    item,
    known,
    lines,
    made_root,
    manifest,
    purged,
    taken,
    unreadable,
    whereabouts,
)


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


def test_entries_come_by_run_and_action_and_those_of_one_run_alone(outputs: Path) -> None:
    for number, name in enumerate(["x", "y", "z"]):
        (outputs / name).touch()
        taken(outputs, [item(outputs, name, 12 - number)], run_id=f"run-{number // 2}")
    found = {run_id: [entry.path for entry in known(outputs, run_id=run_id)] for run_id in (None, "run-0")}
    assert found == {None: ["y", "x", "z"], "run-0": ["y", "x"]}
    assert known(outputs, run_id="nothing") == []


@pytest.mark.parametrize("run_id", ["../../elsewhere", "../elsewhere", "/tmp", ".", ""])
def test_no_run_is_looked_for_outside_of_the_quarantine(outputs: Path, video: Path, run_id: str) -> None:
    """Nor is anything given back from there."""
    taken(outputs, [item(outputs, NAME)])
    (entry,) = known(outputs)
    for place in (outputs, outputs / ".jobctl"):
        shutil.copytree(manifest(outputs).parent, place / "elsewhere")
    assert known(outputs, run_id=run_id) == []
    ((outcome, _),) = given_back(outputs, [entry._replace(run_id=run_id)])
    assert outcome is Outcome.FAILED


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
