"""Moves: the steps of a plan that take files into quarantine, out of it, or away for good.

A thousand at a time: what no longer holds is refused, the files are moved, and what became of
each is journalled with its record in one transaction. A record that changed in between gets
its file back. After a crash the disk tells what was moved, and the journal is brought up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from jobctl.model.plan import Action, Outcome, Verb
from jobctl.model.quarantine import Entry, Item, Whereabouts
from jobctl.ops.hold import Hold, lock_names
from jobctl.ops.references import References
from jobctl.ops.unchanged import changed_files
from jobctl.outputs.entries import entries
from jobctl.outputs.quarantine import CHUNK, take
from jobctl.outputs.release import give_back, purge
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.turn import hold_files
from jobctl.store import run_steps, runs
from jobctl.store.engine import Connection
from jobctl.store.runs import FileToCheck, Mark

_CUT_SHORT = "moved before the run was interrupted"
_MOVED = frozenset({Outcome.DONE, Outcome.ALREADY})
_WHERE_MOVED = {
    Verb.QUARANTINE: Whereabouts.QUARANTINED,
    Verb.RESTORE: Whereabouts.RESTORED,
    Verb.PURGE: Whereabouts.PURGED,
}


class _Result(NamedTuple):
    """What became of a step's file."""

    seq: int
    outcome: Outcome
    note: str | None = None


@contextmanager
def files_held(hold: Hold) -> Iterator[None]:
    """Be the only one to move files below the held roots. Raises ``Locked`` or ``RootRefused``."""
    with ExitStack() as stack:
        for root in hold.roots:
            stack.enter_context(hold_files(root))
        yield


def catch_up(hold: Hold) -> None:
    """Journal what interrupted runs below the held roots had moved already, before anything is planned.

    Else a plan would rest on records that are not yet what the disk says. Raises ``Locked``.
    """
    names, held = lock_names([root.root_id for root in hold.roots]), {root.root_id for root in hold.roots}
    with hold.site.store.read() as connection:
        moving = [
            run.run_id
            for run in runs.unfinished_runs(connection)
            if names & lock_names(run.header["roots"])
            and held.issuperset(run.header["roots"])
            and runs.next_move(connection, run.run_id) is not None
        ]
    if moving:
        with files_held(hold):
            for run_id in moving:
                Mover(hold, run_id).catch_up()


@dataclass(slots=True)
class Mover:
    """Takes the moving steps of one run. The caller holds the files of every root."""

    hold: Hold
    run_id: str
    references: References | None = None
    purge_after: timedelta = timedelta(0)
    _entries: _EntryReader = field(init=False)

    def __post_init__(self) -> None:
        self._entries = _EntryReader(self.hold.roots)

    def take(self, start: int) -> int | None:
        """Take the moves from step ``start`` on, at most a thousand; say where to go on."""
        store = self.hold.site.store
        with store.read() as connection:
            first = runs.next_move(connection, self.run_id, start=start)
            steps = [] if first is None else runs.pending_moves(connection, self.run_id, first, limit=CHUNK)
        if not steps:
            return None
        low, high = steps[0].seq, steps[-1].seq + 1
        still = self._refuse(steps, low, high)
        steps = [step for step in steps if step.seq in still]
        with store.read() as connection:
            now = store.now(connection)
        self._conclude(steps, self._move(steps, now), low, high)
        return high

    def catch_up(self) -> None:
        """Journal what an interrupted run had moved already; what it had not stays pending."""
        store, start = self.hold.site.store, 0
        while True:
            with store.read() as connection:
                first = runs.next_move(connection, self.run_id, start=start)
                steps = (
                    [] if first is None else runs.pending_moves(connection, self.run_id, first, limit=CHUNK)
                )
            if not steps:
                return
            start = steps[-1].seq + 1
            for was_moved, group in groupby(steps, key=self._was_moved):
                if was_moved:
                    together = list(group)
                    done = [_Result(step.seq, Outcome.DONE, _CUT_SHORT) for step in together]
                    self._conclude(together, done, together[0].seq, together[-1].seq + 1)

    def _refuse(self, steps: Sequence[Action], low: int, high: int) -> set[int]:
        """Mark the steps that no longer hold; give the numbers of the others."""
        store = self.hold.site.store
        marks = [*self._referred_to(steps), *self._without_support(steps)]
        with store.write() as connection:
            self.hold.renew(connection)
            runs.mark_steps(connection, self.run_id, marks)
            run_steps.refuse_moves(connection, self.run_id, low, high, at=store.now(connection))
            return runs.pending_among(connection, self.run_id, low, high)

    def _referred_to(self, steps: Sequence[Action]) -> Iterator[Mark]:
        """Steps that would take away a file whose job some table names now."""
        for step in steps:
            if step.verb is Verb.RESTORE or self.references is None or not step.job_id:
                continue
            where = self.references.to_job(step.job_id)
            if where is not None:
                yield Mark(step.seq, Outcome.CONFLICT, f"{where} names its job now")

    def _without_support(self, steps: Sequence[Action]) -> list[Mark]:
        """Steps whose other copy, which was to stay, is not there any more as it was."""
        files = [FileToCheck(step.seq, *step.relies_on) for step in steps if step.relies_on is not None]
        return [
            Mark(mark.seq, Outcome.CONFLICT, f"the copy that was to stay is not as it was: {mark.note}")
            for mark in changed_files(self.hold.roots, files)
        ]

    def _move(self, steps: Sequence[Action], now: datetime) -> list[_Result]:
        if not steps:
            return []
        root = self._root(steps[0])
        if steps[0].verb is Verb.QUARANTINE:
            items = [_item(step) for step in steps]
            taken = take(root, self.run_id, items, at=now)
            return [_Result(each.item.action, each.outcome, each.note) for each in taken]
        found = {step.seq: self._entries.find(step) for step in steps}
        numbers = {(entry.run_id, entry.action): seq for seq, entry in found.items() if entry}
        known = [entry for entry in found.values() if entry]
        if steps[0].verb is Verb.RESTORE:
            released = give_back(root, known, at=now)
        else:
            released = purge(root, known, older_than=self.purge_after, keep=_nothing, at=now)
        results = [
            _Result(numbers[each.entry.run_id, each.entry.action], each.outcome, each.note)
            for each in released
        ]
        gone = "no manifest tells of it any more"
        return results + [_Result(seq, Outcome.CONFLICT, gone) for seq, entry in found.items() if not entry]

    def _conclude(self, steps: Sequence[Action], results: Sequence[_Result], low: int, high: int) -> None:
        """Journal what became of the files, each with its record."""
        store = self.hold.site.store
        failed = [
            Mark(each.seq, each.outcome, each.note or "") for each in results if each.outcome not in _MOVED
        ]
        moved = {each.seq: each.note for each in results if each.outcome in _MOVED}
        with store.write() as connection:
            self.hold.renew(connection)
            now = store.now(connection)
            runs.mark_steps(connection, self.run_id, failed)
            runs.note_steps(connection, self.run_id, ((seq, note) for seq, note in moved.items() if note))
            run_steps.apply_chunk(connection, self.run_id, low, high, actor=self.hold.site.actor, at=now)
            refused = moved.keys() & runs.conflicts_among(connection, self.run_id, low, high)
            self._give_back(connection, [step for step in steps if step.seq in refused], now)

    def _give_back(self, connection: Connection, refused: Sequence[Action], now: datetime) -> None:
        """Give back the files whose record changed while they were being moved."""
        changed = [step for step in refused if step.verb is Verb.QUARANTINE]
        if not changed:
            return
        root, numbers = self._root(changed[0]), {step.seq for step in changed}
        lines = (each for each in entries(root, run_id=self.run_id, now=now) if each.action in numbers)
        for released in give_back(root, list(lines), at=now):
            if released.outcome not in _MOVED:
                note = f"its record changed, and it could not be put back: {released.note}"
                runs.note_steps(connection, self.run_id, [(released.entry.action, note)])

    def _was_moved(self, step: Action) -> bool:
        entry = self._entries.find(step, run_id=self.run_id)
        return entry is not None and entry.whereabouts is _WHERE_MOVED[step.verb]

    def _root(self, step: Action) -> OpenRoot:
        return next(root for root in self.hold.roots if root.root_id == step.root_id)


class _EntryReader:
    """Finds entries of quarantine; those asked for in the order of their runs are found in one reading."""

    def __init__(self, opened: Iterable[OpenRoot]) -> None:
        self._roots = {root.root_id: root for root in opened}
        self._reading: tuple[str, str] | None = None
        self._lines: Iterator[Entry] = iter(())
        self._ahead: Entry | None = None

    def find(self, step: Action, *, run_id: str | None = None) -> Entry | None:
        """The entry that a step is about: of its own run, or of the run that took its file."""
        place = step.entry or f"{run_id}/{step.seq}"
        run, _, number = place.partition("/")
        root = self._roots.get(step.root_id or "")
        return None if root is None else self._find(root, run, int(number))

    def _find(self, root: OpenRoot, run_id: str, action: int) -> Entry | None:
        is_passed = self._ahead is None or self._ahead.action > action
        if self._reading != (root.root_id, run_id) or is_passed:
            self._reading = (root.root_id, run_id)
            self._lines = entries(root, run_id=run_id)
            self._ahead = next(self._lines, None)
        while self._ahead is not None and self._ahead.action < action:
            self._ahead = next(self._lines, None)
        return self._ahead if self._ahead is not None and self._ahead.action == action else None


def _item(step: Action) -> Item:
    if step.path is None or step.expect_file is None:
        raise ValueError(f"step {step.seq} names no file")
    known = step.artifact_before or {}
    # The checksum is of the bytes that the record knows, which another file in their place has not.
    seen = {"size": step.expect_file.size, "mtime_ns": step.expect_file.mtime_ns}
    is_another = any(known.get(name) not in {None, value} for name, value in seen.items())
    return Item(
        action=step.seq,
        path=step.path,
        identity=step.expect_file,
        reason=step.reason,
        job_id=step.job_id or None,
        role=known.get("role"),
        sha256=None if is_another else known.get("sha256"),
    )


def _nothing(entry: Entry) -> None:
    """Nothing speaks for keeping it: all that does was looked at in this very chunk."""
    del entry
