"""Killed, or failed by the disk, at any step of quarantine: no file is lost, none is in two places."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crash.faults import every_kill, faults_of
from crash.program import Ended, Program
from quarantined import given_back, in_quarantine, item, known, made_root, purged, taken, tree, unreadable

pytestmark = pytest.mark.crash

FILES = {
    "top.mp4": b"one",
    "a/b/video.mp4": b"two",
    "a/slide\n.mp4": b"three",
    os.fsdecode(b"a/caf\xe9.mp4"): b"four",
}


@dataclass
class Stage:
    """A root that can be put back to where it was, inodes and all, as often as a test wants."""

    outputs: Path
    program: Program

    def make(self) -> None:
        """The same files anew, as a plan saw them."""
        shutil.rmtree(self.outputs, ignore_errors=True)
        made_root(self.outputs)
        for name, content in FILES.items():
            path = self.outputs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(0, 1_700_000_000_123_456_789))
        self.plan = [item(self.outputs, name, number) for number, name in enumerate(FILES)]
        planned = json.dumps([each._asdict() for each in self.plan])
        (self.outputs.parent / "plan.json").write_text(planned)

    def run(self, operation: str, *how: str, fault: dict[str, Any] | None = None) -> Ended:
        return self.program.run(operation, str(self.outputs), *how, fault=fault)

    def everything(self) -> dict[str, Any]:
        """All that matters: the tree, the quarantine, and what the manifest says of both."""
        return {
            "tree": tree(self.outputs),
            "quarantine": in_quarantine(self.outputs),
            "entries": [(entry.action, entry.path, entry.whereabouts) for entry in known(self.outputs)],
        }

    def expect_nothing_lost(self, told: str, *, names: int) -> None:
        """Right after the fault: each file is there, and the manifest knows all that are in quarantine.

        ``names`` is under how many names a file may be found at most.
        """
        inside = in_quarantine(self.outputs)
        outside = [content for _, _, content in tree(self.outputs).values() if content]
        is_known = {str(entry.action) for entry in known(self.outputs) if entry.whereabouts == "quarantined"}
        assert set(inside) <= is_known, f"{told}: a file in quarantine that the manifest does not know"
        found = Counter([*inside.values(), *outside])
        assert set(found) == set(FILES.values()), f"{told}: a file was lost"
        assert max(found.values()) <= names, f"{told}: a file was doubled"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Program(tmp_path, "quarantine_launcher.py") as program:
        made = Stage(tmp_path / "outputs", program)
        made.make()
        yield made


def prepare(stage: Stage, operation: str) -> None:
    stage.make()
    if operation != "take":
        taken(stage.outputs, stage.plan)


def expect_that_any_fault_heals(stage: Stage, operation: str, *how: str) -> None:
    """Replace each effect in turn by each fault, run the same operation again, compare."""
    prepare(stage, operation)
    whole = stage.run(operation, *how)
    assert whole.returncode == 0, whole.stderr
    wanted = stage.everything()
    effects = len(whole.effects)
    sample = faults_of(effects, is_server=False)
    for number, when, fault in every_kill(effects) if "careless" in how else sample:
        prepare(stage, operation)
        told = f"{operation} {how}: {fault} {when} effect {number} ({whole.effects[number - 1]})"
        failed = stage.run(operation, *how, fault={"number": number, "when": when, "how": fault})
        assert failed.returncode == (-9 if fault == "SIGKILL" else failed.returncode), told
        assert failed.returncode != 99, f"{told}\n{failed.stderr}"
        if operation != "purge":
            stage.expect_nothing_lost(told, names=2 if "link" in how else 1)
        again = stage.run(operation, *how)
        assert again.returncode == 0, f"{told}\n{again.stdout}{again.stderr}"
        now = stage.everything()
        for name, value in wanted.items():
            assert now[name] == value, f"{told}: {name} differs"


@pytest.mark.parametrize("how", [(), ("link",)], ids=["renameat2", "link"])
@pytest.mark.parametrize("operation", ["take", "give_back"])
def test_moving_heals_after_any_fault(stage: Stage, operation: str, how: tuple[str, ...]) -> None:
    expect_that_any_fault_heals(stage, operation, *how)


def test_purging_heals_after_any_fault(stage: Stage) -> None:
    expect_that_any_fault_heals(stage, "purge")


@pytest.mark.parametrize("operation", ["take", "give_back"])
def test_what_a_fault_left_can_be_taken_back_at_once(stage: Stage, operation: str) -> None:
    """Nobody has to run the same operation again: what is in quarantine can be given back as it is."""
    stage.make()
    before = tree(stage.outputs)
    prepare(stage, operation)
    effects = stage.run(operation).effects
    for number in range(1, len(effects) + 1):
        prepare(stage, operation)
        stage.run(operation, fault={"number": number, "when": "after", "how": "SIGKILL"})
        given_back(stage.outputs)
        assert tree(stage.outputs) == before, f"{operation}: killed after {number} ({effects[number - 1]})"
        assert in_quarantine(stage.outputs) == {}


def test_a_torn_manifest_line_is_told_and_hinders_nothing(stage: Stage) -> None:
    wrote = stage.run("take").effects.index("write") + 1
    wanted = stage.everything()
    place = stage.outputs / ".jobctl" / "quarantine"
    for cut in range(0, 400, 7):
        stage.make()
        stage.run("take", fault={"number": wrote, "when": "after", "how": "SIGKILL"})
        (manifest,) = place.rglob("manifest.jsonl")
        content = manifest.read_bytes()
        left = content[: len(content) - cut]
        manifest.write_bytes(left)
        assert len(unreadable(stage.outputs)) == (0 if left.endswith(b"\n") else 1)
        assert stage.run("take").returncode == 0
        assert stage.everything() == wanted


def test_the_suite_catches_files_that_are_moved_before_the_manifest_tells_of_them(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="that the manifest does not know"):
        expect_that_any_fault_heals(stage, "take", "careless")


def test_purging_after_all_leaves_nothing_but_manifests(stage: Stage) -> None:
    stage.run("take")
    assert stage.run("purge").returncode == 0
    assert in_quarantine(stage.outputs) == {}
    assert [outcome for outcome, _ in purged(stage.outputs)] == ["already"] * len(FILES)
