"""Verify: journal against disk against store. Nothing is changed, and no lock is needed.

The store is read as it was at one moment, the disk as it is. What differs because a run came in
between, or is at work, is looked at once more and not told.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from jobctl.core.verify import Claim, Held, Step, compare, interrupted, judge, matched
from jobctl.errors import JobctlError, RootUnavailable
from jobctl.evidence.executor import liveness
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_word, show_command
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.model.names import to_stored
from jobctl.model.plan import Outcome, Verb
from jobctl.model.quarantine import Entry, Unreadable, Whereabouts
from jobctl.ops.hold import CRASH_LAG, lock_names
from jobctl.ops.quarantine import opened_roots
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.ops.verify_tally import tally_differences
from jobctl.outputs.entries import entries, is_placed, untold
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.touched import is_confined
from jobctl.store import claims, locks, roots
from jobctl.store.engine import Connection
from jobctl.store.spool import SortedSpool

_BATCH = 500
_MOST_NAMED = 100
# The clocks of hosts that share a store may differ by this much.
_SKEW = timedelta(minutes=5)


@dataclass(slots=True)
class Verification:
    """One comparison: iterate it for the differences, then read what was compared.

    With ``root``, what concerns only other roots, or no root at all, is left out.
    """

    site: Site
    root: str | None = None
    progress: ProgressSink | None = None
    with_history: bool = False
    """Whether the whole history is added up again, to compare it with what metrics read."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many runs, entries and artifacts were compared."""
    troubles: list[JobctlError] = field(default_factory=list)
    unreadable: int = 0
    """How many files and manifests could not be looked at: what cannot be read is not called gone."""
    in_progress: list[str] = field(default_factory=list)
    """The runs that are at work: what they are about to change is no difference."""
    _opened: dict[str, OpenRoot] = field(default_factory=dict)
    _suspended: set[str] = field(default_factory=set)
    _open_runs: set[str] = field(default_factory=set)
    _since: datetime = field(init=False)

    def __iter__(self) -> Iterator[Difference]:
        with ExitStack() as stack:
            opened = self._open_roots(stack)
            connection = stack.enter_context(self.site.store.read())
            self._since = self.site.store.now(connection) - _SKEW
            released, held = (stack.enter_context(SortedSpool()) for _ in range(2))
            yield from self._older(connection, opened)
            yield from self._runs(connection)
            for row in claims.releases(connection):
                released.add(_key(row.root_id, row.entry), [row.run_id, row.verb, row.outcome])
            for root in opened:
                yield from self._settled(connection, self._quarantine(connection, root, released, held))
                yield from self._untold(root)
            yield from self._settled(connection, self._artifacts(connection, held))
            yield from self._jobs(connection)
            if self.root is None:
                yield from tally_differences(
                    connection, self.site.store.dialect, whole=self.with_history, progress=self.progress
                )

    def _open_roots(self, stack: ExitStack) -> Sequence[OpenRoot]:
        """The roots that can be looked at. Raises ``RootUnavailable`` where one was named that is none."""
        try:
            opened = stack.enter_context(opened_roots(self.site, self.root, self.troubles))
        except RootUnavailable as error:
            if self.root is not None:
                raise
            self.troubles.append(error)
            opened = []
        self._opened = {root.root_id: root for root in opened}
        return opened

    def _report(self, what: str) -> None:
        self.counts[what] += 1
        if self.progress is not None and self.counts[what] % _BATCH == 0:
            self.progress(Progress("compare", self.counts[what], None, what))

    def _older(self, connection: Connection, opened: Sequence[OpenRoot]) -> Iterator[Difference]:
        """The roots of which nothing can be called gone, because an older copy was put back."""
        waiting = {row.root_id for row in roots.get_roots(connection) if row.negatives_suspended_at}
        for root in opened:
            if root.behind > CRASH_LAG:
                behind = counted(root.behind, "run")
                reason = f"its marker is {behind} behind the store: an older copy of it was put back"
                mend = f"jobctl root adopt {shell_word(root.path)}"
            elif root.root_id in waiting:
                reason, mend = "no complete recover was applied since", "jobctl recover"
            else:
                continue
            self._suspended.add(root.root_id)
            yield Difference(DifferenceKind.OLDER, reason, mend, root.root_id)

    def _runs(self, connection: Connection) -> Iterator[Difference]:
        """The runs that did not end and that nobody is at work on."""
        held = self._held_locks(connection)
        for run in claims.open_runs(connection):
            self._open_runs.add(run.run_id)
            if self.root is not None and self._opened.keys().isdisjoint(run.header["roots"]):
                continue
            self._report("runs")
            if held & lock_names(run.header["roots"]):
                self.in_progress.append(run.run_id)
            elif self._is_open_still(run.run_id):
                places = claims.left_to_release(connection, run.run_id, limit=_MOST_NAMED)
                yield interrupted(run.run_id, run.command, undo_of=run.undo_of, places=places)

    def _held_locks(self, connection: Connection) -> set[str]:
        """The locks of holders that gave a sign of life lately and are not proven dead."""
        stale = self.site.store.now(connection) - timedelta(seconds=self.site.settings.lock_stale_after_s)
        return {
            holder.name
            for holder in locks.held_locks(connection)
            if holder.heartbeat >= stale and liveness(holder.executor, host=self.site.host) != "dead"
        }

    def _is_open_still(self, run_id: str) -> bool:
        # Whoever held it may have ended it, and itself, since the store was read.
        with self.site.store.read() as latest:
            return claims.is_open(latest, run_id)

    def _quarantine(
        self, connection: Connection, root: OpenRoot, released: SortedSpool, held: SortedSpool
    ) -> Iterator[Difference]:
        unreadable: list[Unreadable] = []
        lying = (
            entry._replace(root_id=root.root_id)
            for entry in entries(root, now=self._since, report=unreadable.append)
        )
        last_run = None
        for entry, step in matched(lying, self._steps(connection, root.root_id, released)):
            yield from self._unreadable(root, unreadable)
            run_id = entry.run_id if entry is not None else step.run_id if step is not None else None
            if run_id != last_run:
                last_run = run_id
                if run_id not in self._open_runs:
                    self._report("runs")
            if entry is not None:
                self._report("entries")
            found = self._unless_unproven(root, entry, step, compare(entry, step))
            if entry is not None:
                place = (entry.run_id, entry.action, entry.whereabouts.value, found is not None)
                held.add(_key(root.root_id, to_stored(entry.path)), place)
            if found is not None:
                yield found
        yield from self._unreadable(root, unreadable)

    def _steps(self, connection: Connection, root_id: str, released: SortedSpool) -> Iterator[Step]:
        for row in claims.takings(connection, root_id):
            key = _key(root_id, f"{row.run_id}/{row.seq}")
            releases = [document for _, document in released.stream(key, f"{key}\0")]
            done = [verb for _, verb, outcome in releases if outcome != Outcome.PENDING]
            outcome = Outcome(row.outcome)
            is_open = row.run_id in self._open_runs and outcome is Outcome.PENDING
            is_leaving = any(
                run_id in self._open_runs and said == Outcome.PENDING for run_id, _, said in releases
            )
            yield Step(
                root_id,
                row.run_id,
                row.seq,
                row.job_id or None,
                row.path,
                outcome,
                released_by=Verb(done[-1]) if done else None,
                is_open=is_open or is_leaving,
            )

    def _unless_unproven(
        self, root: OpenRoot, entry: Entry | None, step: Step | None, found: Difference | None
    ) -> Difference | None:
        """A file is called lost only where it is proven that it is not there."""
        if found is None or found.kind is not DifferenceKind.LOST:
            return found
        if root.root_id in self._suspended:
            return None
        if entry is not None or step is None:
            return found
        try:
            # Its line in the manifest may be torn; what lies there is told as such.
            return None if is_placed(root, step.run_id, step.action) else found
        except OSError:
            self.unreadable += 1
            return None

    def _settled(self, connection: Connection, found: Iterator[Difference]) -> Iterator[Difference]:
        """Pass on the differences that no run has made since the store was read, or is about to end."""
        while batch := list(islice(found, _BATCH)):
            with self.site.store.read() as latest:
                runs = claims.runs_since(latest, self._since)
                still = [each for each in batch if not (runs and _is_at_work(each, runs, connection, latest))]
            yield from still

    def _unreadable(self, root: OpenRoot, parts: list[Unreadable]) -> Iterator[Difference]:
        """Tell what could not be read of manifests so far, and forget it."""
        if parts and f"root:{root.root_id}" in self._held_locks_now():
            # Whoever is at work there may be writing the line just now.
            parts[:] = [part for part in parts if not part.line]
        for part in parts:
            self.unreadable += not part.line
            where = f"line {part.line}" if part.line else "the manifest"
            named = f" --run {part.run_id}" if part.run_id else ""
            mend = f"jobctl quarantine list --all{named}"
            kind, run_id = DifferenceKind.UNREADABLE, part.run_id or None
            yield Difference(kind, f"{where}: {part.why}", mend, root.root_id, run_id)
        parts.clear()

    def _held_locks_now(self) -> set[str]:
        with self.site.store.read() as latest:
            return self._held_locks(latest)

    def _untold(self, root: OpenRoot) -> Iterator[Difference]:
        for run_id, name in untold(root):
            reason = "no line of a manifest tells where it came from"
            named = f" --run {run_id}" if run_id else ""
            mend = f"jobctl quarantine list --all{named}"
            yield Difference(DifferenceKind.UNTOLD, reason, mend, root.root_id, run_id or None, path=name)

    def _artifacts(self, connection: Connection, held: SortedSpool) -> Iterator[Difference]:
        """What records say of files below the roots that could be opened."""
        for claim in claims.claims(connection):
            root = self._opened.get(claim.root_id)
            if root is None:
                continue
            self._report("artifacts")
            found = judge(claim, _latest(held, claim), is_there=self._is_there(root, claim))
            is_unproven = (
                found is not None
                and found.kind is DifferenceKind.MISSING
                and claim.root_id in self._suspended
            )
            if found is not None and not is_unproven:
                yield found

    def _is_there(self, root: OpenRoot, claim: Claim) -> bool | None:
        """Whether something stands at a file's place; ``None`` where that cannot be told."""
        if not is_confined(claim.path):
            return None
        try:
            os.stat(claim.path, dir_fd=root.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            self.unreadable += 1
            return None
        return True

    def _jobs(self, connection: Connection) -> Iterator[Difference]:
        if self.root is None:
            yield from _tombstones(connection)
        for job_id, root_id, path in claims.completed_without_video(connection):
            if self.root is None or root_id in self._opened:
                reason = "its record says completed, and its only video was purged"
                kind = DifferenceKind.PURGED_VIDEO
                yield Difference(kind, reason, show_command(job_id), root_id, job_id=job_id, path=path)


def _is_at_work(found: Difference, runs: Collection[str], connection: Connection, latest: Connection) -> bool:
    """Whether one of ``runs`` has moved this file since the store was read, or is about to."""
    if found.root_id is None or found.path is None:
        return False
    now, then = (
        claims.moves_of(each, runs, job_id=found.job_id, root_id=found.root_id, path=found.path)
        for each in (latest, connection)
    )
    return now != then or any(outcome == Outcome.PENDING for _, _, outcome in now)


def _tombstones(connection: Connection) -> Iterator[Difference]:
    for job_id in claims.expired_without_tombstone(connection):
        reason = "it expired, and no tombstone tells of it"
        yield Difference(DifferenceKind.TOMBSTONE, reason, show_command(job_id), job_id=job_id)
    for job_id, status in claims.tombstones_of_living(connection):
        said = f"its record says {status}" if status else "it has no record"
        yield Difference(
            DifferenceKind.TOMBSTONE, f"it has a tombstone, and {said}", show_command(job_id), job_id=job_id
        )


def _key(root_id: str, rest: str) -> str:
    return f"{root_id}\0{rest}"


def _latest(held: SortedSpool, claim: Claim) -> Held | None:
    """The latest entry of quarantine that came from a file's place; one that is there before others."""
    key = _key(claim.root_id, to_stored(claim.path))
    latest = None
    for _, (run_id, action, whereabouts, is_told) in held.stream(key, f"{key}\0"):
        each = Held(run_id, action, Whereabouts(whereabouts), is_told)
        if (
            each.whereabouts is Whereabouts.QUARANTINED
            or latest is None
            or (latest.whereabouts is not Whereabouts.QUARANTINED)
        ):
            latest = each
    return latest
