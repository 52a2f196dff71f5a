"""Verify: journal against disk against store. Nothing is changed, and no lock is needed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby, islice
from operator import attrgetter

from jobctl.core.verify import Journalled, compare, interrupted
from jobctl.errors import JobctlError
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.model.names import to_stored
from jobctl.model.plan import Outcome, Verb
from jobctl.model.quarantine import Entry, Unreadable, Whereabouts
from jobctl.ops.hold import lock_names
from jobctl.ops.quarantine import opened_roots
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.outputs.entries import entries, untold
from jobctl.outputs.root import OpenRoot
from jobctl.store import claims
from jobctl.store.claims import Claim
from jobctl.store.engine import Connection
from jobctl.store.spool import SortedSpool

_BATCH = 500


@dataclass(slots=True)
class Verification:
    """One comparison: iterate it for the differences, then read what was compared."""

    site: Site
    root: str | None = None
    progress: ProgressSink | None = None
    counts: Counter[str] = field(default_factory=Counter)
    """How many runs, entries and artifacts were compared."""
    troubles: list[JobctlError] = field(default_factory=list)
    unreadable: int = 0
    """How many files could not be looked at: what cannot be read is not called gone."""
    _open_runs: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Difference]:
        with ExitStack() as stack:
            roots = stack.enter_context(opened_roots(self.site, self.root, self.troubles))
            connection = stack.enter_context(self.site.store.read())
            released, there = (stack.enter_context(SortedSpool()) for _ in range(2))
            yield from self._runs(connection)
            for entry, verb in claims.releases(connection):
                released.add(entry, verb)
            for root in roots:
                yield from self._quarantine(connection, root, released, there)
            yield from self._artifacts(connection, roots, there)
            yield from _jobs(connection)

    def _report(self, what: str) -> None:
        self.counts[what] += 1
        if self.progress is not None and self.counts[what] % _BATCH == 0:
            self.progress(Progress("compare", self.counts[what], None, what))

    def _runs(self, connection: Connection) -> Iterator[Difference]:
        """The runs that did not end and that nobody is at work on."""
        stale = self.site.store.now(connection) - timedelta(seconds=self.site.settings.lock_stale_after_s)
        held = {holder.name for holder in claims.holders(connection) if holder.heartbeat >= stale}
        for run in claims.open_runs(connection):
            self._report("runs")
            self._open_runs.add(run.run_id)
            if not held & lock_names(run.header["roots"]):
                yield interrupted(run.run_id, run.command, undo_of=run.undo_of)

    def _quarantine(
        self, connection: Connection, root: OpenRoot, released: SortedSpool, there: SortedSpool
    ) -> Iterator[Difference]:
        unreadable: list[Unreadable] = []
        found = entries(root, report=unreadable.append)
        for run_id, group in groupby(found, key=attrgetter("run_id")):
            while batch := list(islice(group, _BATCH)):
                outcomes = claims.outcomes(connection, run_id, [entry.action for entry in batch])
                for told in batch:
                    entry = told._replace(root_id=root.root_id)
                    self._report("entries")
                    if entry.whereabouts is Whereabouts.QUARANTINED:
                        there.add(f"{root.root_id}\0{to_stored(entry.path)}", None)
                    yield from compare(entry, self._journalled(entry, outcomes, released))
        for part in unreadable:
            where = f"line {part.line}" if part.line else "the manifest"
            yield Difference(
                DifferenceKind.UNREADABLE,
                f"{where}: {part.why}",
                f"jobctl quarantine list --run {part.run_id}" if part.run_id else "jobctl quarantine list",
                root.root_id,
                part.run_id or None,
            )
        for run_id, name in untold(root):
            reason = "no line of the manifest tells where it came from"
            mend = f"jobctl quarantine list --run {run_id} --all"
            yield Difference(DifferenceKind.UNTOLD, reason, mend, root.root_id, run_id, path=name)

    def _journalled(self, entry: Entry, outcomes: dict[int, str], released: SortedSpool) -> Journalled:
        outcome = outcomes.get(entry.action)
        place = f"{entry.run_id}/{entry.action}"
        verbs = [verb for _, verb in released.stream(place, f"{place}\0")]
        return Journalled(
            None if outcome is None else Outcome(outcome),
            Verb(verbs[-1]) if verbs else None,
            is_open=entry.run_id in self._open_runs,
        )

    def _artifacts(
        self, connection: Connection, roots: Sequence[OpenRoot], there: SortedSpool
    ) -> Iterator[Difference]:
        """What records say of files below the roots that could be opened."""
        opened = {root.root_id: root for root in roots}
        for claim in claims.claims(connection):
            root = opened.get(claim.root_id)
            if root is None:
                continue
            self._report("artifacts")
            place = f"{claim.root_id}\0{to_stored(claim.path)}"
            is_held = next(iter(there.stream(place, f"{place}\0")), None) is not None
            found = self._judge(claim, root, is_held=is_held)
            if found is not None:
                yield found

    def _judge(self, claim: Claim, root: OpenRoot, *, is_held: bool) -> Difference | None:
        if claim.state == "quarantined":
            if is_held:
                return None
            reason = "its record says that it is in quarantine, and it is not"
            return _of_claim(DifferenceKind.ARTIFACT, claim, reason, "jobctl recover")
        try:
            os.stat(claim.path, dir_fd=root.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            if is_held:
                reason = "its record says that it is present, and it is in quarantine"
                mend = f"jobctl quarantine restore --job {claim.job_id}"
                return _of_claim(DifferenceKind.ARTIFACT, claim, reason, mend)
            return _of_claim(DifferenceKind.MISSING, claim, "it is gone", "jobctl recover")
        except OSError:
            self.unreadable += 1
        return None


def _of_claim(kind: DifferenceKind, claim: Claim, reason: str, mend: str) -> Difference:
    return Difference(kind, reason, mend, claim.root_id, job_id=claim.job_id, path=claim.path)


def _jobs(connection: Connection) -> Iterator[Difference]:
    for job_id in claims.expired_without_tombstone(connection):
        reason = "it expired, and no tombstone tells of it"
        yield Difference(DifferenceKind.TOMBSTONE, reason, f"jobctl show {job_id}", job_id=job_id)
    for job_id, status in claims.tombstones_of_living(connection):
        reason = f"it has a tombstone, and its record says {status}"
        yield Difference(DifferenceKind.TOMBSTONE, reason, f"jobctl show {job_id}", job_id=job_id)
    for job_id, root_id, path in claims.completed_without_video(connection):
        reason = "its record says completed, and its only video was purged"
        mend = f"jobctl explain {job_id}"
        yield Difference(DifferenceKind.PURGED_VIDEO, reason, mend, root_id=root_id, job_id=job_id, path=path)
