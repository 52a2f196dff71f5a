"""Quarantine as operators see it: what lies there, what comes back, what goes for good.

Listing and restoring rest on the manifests; where the database is gone or knows nothing of a
run, files come back all the same, and 'jobctl recover' makes their records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, islice

from jobctl.core.ages import Ages
from jobctl.core.brakes import Limits
from jobctl.core.inverse import invert
from jobctl.core.release import needs_copy, why_not_purged
from jobctl.durations import spoken_duration
from jobctl.errors import JobctlError, QuarantineUnreadable, UnknownEntry
from jobctl.model.job import Artifact
from jobctl.model.names import to_shown, to_stored
from jobctl.model.plan import Action, Kept, Relied, Row, Verb
from jobctl.model.quarantine import Entry, Unreadable, Whereabouts
from jobctl.ops.brakes import brake
from jobctl.ops.clocks import read_clock
from jobctl.ops.hold import Hold, open_registered, visible_roots
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import Plan, PlanWriter, header_of
from jobctl.ops.reach import clock_troubles, suspended
from jobctl.ops.references import References, read_references
from jobctl.ops.runid import is_run_id
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.ops.unchanged import identity_there
from jobctl.outputs.entries import entries
from jobctl.outputs.root import OpenRoot
from jobctl.store import jobs, runs

_BATCH = 500
_ACTION = re.compile("[0-9]{1,18}")
PURGE = "purge"
"""The category a brake counts purging under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries are meant: all that match every part that is given."""

    run_id: str | None = None
    action: int | None = None
    job_id: str | None = None
    named: str | None = None
    """A job id, or a path below the root."""

    def fits(self, entry: Entry) -> bool:
        """Whether an entry is meant."""
        return (
            (self.action is None or entry.action == self.action)
            and (self.job_id is None or entry.job_id == self.job_id)
            and (self.named is None or self.named in {entry.job_id, entry.path})
        )


def wanted_from(text: str) -> Wanted:
    """What an operator names: ``RUN``, ``RUN/ACTION``, a job id, or a path below the root."""
    run_id, slash, action = text.partition("/")
    if is_run_id(run_id) and (_ACTION.fullmatch(action) or not slash):
        return Wanted(run_id=run_id, action=int(action) if slash else None)
    return Wanted(named=text)


@contextmanager
def opened_roots(site: Site, only: str | None, troubles: list[JobctlError]) -> Iterator[list[OpenRoot]]:
    """The roots that can be opened; one that cannot be is added to ``troubles``."""
    with ExitStack() as stack:
        opened = []
        for row in visible_roots(site, only):
            try:
                opened.append(stack.enter_context(open_registered(site, row)))
            except JobctlError as error:
                troubles.append(error)
        yield opened


def list_entries(
    roots: Iterable[OpenRoot], wanted: Sequence[Wanted] = (), *, troubles: list[JobctlError]
) -> Iterator[Entry]:
    """Give the files that were once to go into quarantine; what cannot be read is added to ``troubles``."""
    for root in roots:
        for entry in _read(root, troubles):
            if not wanted or any(_is_meant(each, entry) for each in wanted):
                yield entry


def _is_meant(wanted: Wanted, entry: Entry) -> bool:
    return wanted.fits(entry) and wanted.run_id in {None, entry.run_id}


def _read(root: OpenRoot, troubles: list[JobctlError]) -> Iterator[Entry]:
    def report(part: Unreadable) -> None:
        where = f"line {part.line} of the manifest" if part.line else "the manifest"
        troubles.append(
            QuarantineUnreadable(
                f"{where} of run {part.run_id or '?'} below {root.path} is not read: {part.why}; "
                "what it told of is left where it is",
                hint="see what differs: jobctl verify",
            )
        )

    for entry in entries(root, report=report):
        # Where it lies counts, not where its manifest says that it lay.
        yield entry._replace(root_id=root.root_id)


def plan_restore(hold: Hold, wanted: Sequence[Wanted], *, troubles: list[JobctlError] | None = None) -> Plan:
    """Plan to give files back to where they were, their records with them. Nothing is changed.

    Raises ``UnknownEntry`` where nothing in quarantine is meant.
    """
    catch_up(hold)
    writer = PlanWriter(header_of(hold, "quarantine restore"))
    told = troubles if troubles is not None else []
    planning = _Restoring(hold, writer)
    found = list_entries(hold.roots, wanted, troubles=told)
    while batch := list(islice(found, _BATCH)):
        planning.take(batch)
    if not planning.is_known:
        writer.discard()
        raise _unknown()
    return planning.finish()


def _unknown() -> UnknownEntry:
    return UnknownEntry(
        "nothing in quarantine is what was named; nothing was changed", hint="see: jobctl quarantine list"
    )


@dataclass(slots=True)
class _Restoring:
    """Records first, then files, as undo does it."""

    hold: Hold
    writer: PlanWriter
    moves: list[Action] = field(default_factory=list)
    is_known: bool = False
    """Whether anything that was named was once in quarantine."""
    _places: set[tuple[str, str]] = field(default_factory=set)
    _reverted: set[str] = field(default_factory=set)

    def take(self, found: Sequence[Entry]) -> None:
        """Plan to give back what is there of the entries that are meant."""
        self.is_known = True
        batch = [entry for entry in found if entry.whereabouts is Whereabouts.QUARANTINED]
        for entry in found:
            if entry.whereabouts is not Whereabouts.QUARANTINED:
                why = f"it is not in quarantine: {entry.whereabouts}"
                self.writer.keep(Kept(entry.job_id or "", entry.root_id, entry.path, why))
        with self.hold.site.store.read() as connection:
            ids = sorted({entry.job_id for entry in batch if entry.job_id})
            rows = runs.artifact_documents(connection, ids)
            for entry in batch:
                ended = runs.ending_of(connection, entry.run_id, entry.job_id or "")
                if ended is not None and ended.job_id not in self._reverted:
                    self._reverted.add(ended.job_id)
                    self.writer.add(invert(ended, seq=0, run_id=entry.run_id))
                self._give_back(entry, rows.get(entry.job_id or "", {}))

    def _give_back(self, entry: Entry, rows: Mapping[tuple[str, str], Row]) -> None:
        place = (entry.root_id, entry.path)
        if place in self._places:
            why = f"another file of this name comes back; this one stays in run {entry.run_id}"
            self.writer.keep(Kept(entry.job_id or "", *place, why))
            return
        self._places.add(place)
        row = rows.get((entry.root_id, to_stored(entry.path)))
        is_ours = row is not None and row["state"] == "quarantined"
        reason = f"moved there as: {entry.reason}"
        self.moves.append(
            _move(Verb.RESTORE, entry, row if is_ours else None, state="present", at=self._now, reason=reason)
        )

    @property
    def _now(self) -> str:
        return self.writer.header.created_at

    def finish(self) -> Plan:
        for action in sorted(self.moves, key=_as_they_lie):
            self.writer.add(action)
        return self.writer.finish()


def _as_they_lie(action: Action) -> tuple[str, str, int]:
    run_id, _, number = (action.entry or "").partition("/")
    return action.root_id or "", run_id, int(number)


def _move(verb: Verb, entry: Entry, row: Row | None, *, state: str, at: str, reason: str) -> Action:
    return Action(
        seq=0,
        verb=verb,
        job_id=entry.job_id or "",
        reason=reason,
        root_id=entry.root_id,
        path=entry.path,
        expect_file=entry.identity,
        artifact_before=row,
        artifact_after=None if row is None else {**row, "state": state, "noted_at": at},
        entry=f"{entry.run_id}/{entry.action}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """What to remove for good. ``older_than`` lengthens the retention, never shortens it."""

    wanted: Sequence[Wanted] = ()
    older_than: timedelta | None = None
    max_bytes: int | None = None
    allowed: Mapping[str, int] = field(default_factory=dict)


def plan_purge(
    hold: Hold,
    options: PurgeOptions,
    *,
    progress: ProgressSink | None = None,
    troubles: list[JobctlError] | None = None,
) -> Plan:
    """Plan to remove for good what was in quarantine long enough and nothing refers to.

    Raises ``SourceUnusable`` where it cannot be told what other tables refer to, and ``UnknownEntry``
    where nothing that ever was in quarantine is meant.
    """
    catch_up(hold)
    retention = max(hold.site.settings.policy.quarantine, options.older_than or timedelta(0))
    ages, jumped = read_clock(hold.site)
    told = troubles if troubles is not None else []
    every = _meant(list_entries(hold.roots, options.wanted, troubles=told), options.wanted)
    there = (_by_both_clocks(entry, ages) for entry in every if entry.whereabouts is Whereabouts.QUARANTINED)
    writer = PlanWriter(header_of(hold, "quarantine purge"))
    told.extend(clock_troubles(jumped))
    files: dict[str, int] = {}
    blind = suspended(hold)
    with read_references(hold.site) as references:
        while batch := list(islice(there, _BATCH)):
            hold.renew_when_due()
            if progress is not None:
                progress(Progress("purge", len(batch)))
            for entry, state in _with_records(hold, batch):
                files[entry.root_id] = files.get(entry.root_id, 0) + 1
                kept = _why_not_purged(entry, state, references, retention) or blind.get(entry.root_id)
                if kept:
                    writer.keep(Kept(entry.job_id or "", entry.root_id, entry.path, kept))
                else:
                    writer.add(_purge(entry, state, writer.header.created_at))
    limits = Limits(options.max_bytes or hold.site.settings.policy.max_bytes, options.allowed)
    return writer.finish(brake(hold.site, writer, limits, files_of=files))


def _meant(found: Iterator[Entry], wanted: Sequence[Wanted]) -> Iterator[Entry]:
    """These entries. Raises ``UnknownEntry`` where something was named, and there are none."""
    first = next(found, None)
    if first is None and wanted:
        raise _unknown()
    return chain([first] if first else [], found)


def _why_not_purged(entry: Entry, state: _State, references: References, retention: timedelta) -> str | None:
    return why_not_purged(
        entry,
        status=state.status,
        copies=[to_shown(copy.path) for copy in state.copies],
        referred_by=references.to_job(entry.job_id) if entry.job_id else None,
        retention=retention,
    )


def _by_both_clocks(entry: Entry, ages: Ages) -> Entry:
    """The entry with an age that neither the root's clock nor the store's makes too great."""
    by_store = ages.of(entry.at)
    age = None if entry.age is None or by_store is None else min(entry.age, by_store)
    return entry._replace(age=age)


@dataclass(frozen=True, slots=True)
class _State:
    """What is recorded of an entry's job now."""

    status: str | None
    version: int | None
    row: Row | None
    copies: list[Relied]


def _with_records(hold: Hold, batch: Sequence[Entry]) -> Iterator[tuple[Entry, _State]]:
    ids = sorted({entry.job_id for entry in batch if entry.job_id})
    with hold.site.store.read() as connection:
        job_rows = runs.job_documents(connection, ids, with_version=True)
        rows = runs.artifact_documents(connection, ids)
        copies = {job_id: _whole_copies(hold, jobs.artifacts_of(connection, job_id)) for job_id in job_rows}
    for entry in batch:
        job_id = entry.job_id or ""
        job_row = job_rows.get(job_id, {})
        row = rows.get(job_id, {}).get((entry.root_id, to_stored(entry.path)))
        yield (
            entry,
            _State(job_row.get("status"), job_row.get("version"), row, copies.get(job_id, [])),
        )


def _whole_copies(hold: Hold, artifacts: Sequence[Artifact]) -> list[Relied]:
    """The videos of a job that are verified and still there as they were."""
    opened = {root.root_id: root for root in hold.roots}
    found = []
    for each in artifacts:
        is_verified = (each.role, each.state, each.verdict) == ("video", "present", "whole")
        if is_verified and each.root_id in opened:
            identity = identity_there(opened[each.root_id], each.path, size=each.size, mtime_ns=each.mtime_ns)
            found += [Relied(each.root_id, each.path, identity)] if identity else []
    return found


def _purge(entry: Entry, state: _State, at: str) -> Action:
    row = state.row if state.row is not None and state.row["state"] == "quarantined" else None
    age = spoken_duration(entry.age) if entry.age is not None else "unknown"
    reason = f"in quarantine for {age}; moved there as: {entry.reason}"
    action = _move(Verb.PURGE, entry, row, state="purged", at=at, reason=reason)
    action.expect_version = state.version
    action.category = PURGE
    if needs_copy(entry, state.status):
        action.relies_on = state.copies[0]
    return action
