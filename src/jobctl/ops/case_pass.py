"""The second half of a scan: what the walk met, beside the records and all other evidence, job by job."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from jobctl.core.accounts import Lives
from jobctl.core.case import Candidate, Case, Liveness, World
from jobctl.core.merge import align
from jobctl.core.reconcile import liveness_by_log, reconcile, unlinked_files
from jobctl.model.files import Role, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.names import from_stored
from jobctl.model.records import Linked, Record
from jobctl.model.status import Status
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.accounts import account_of_rows
from jobctl.ops.custody import Custody
from jobctl.ops.duplicates import DuplicateFinder
from jobctl.ops.inspect import Inspector
from jobctl.ops.runid import new_run_id
from jobctl.ops.scan_report import ScanOptions, ScanReport
from jobctl.ops.site import Site
from jobctl.ops.sources import SourcesRead
from jobctl.ops.witness import Witness
from jobctl.outputs.room import room_of
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.spool import Spool
from jobctl.outputs.walk import WalkResult
from jobctl.store import evidence, job_streams, loose, renders, sightings
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

_NOTE_BATCH = 20_000
_CASES_AT_ONCE = 10_000
_LOOKED_UP_SINGLY = 1_000
_RECORDED = 8
"""The streams of what is on disk and in the records; those behind them are evidence."""


class Walked(NamedTuple):
    """One root after its walk."""

    row: RootRow
    root: OpenRoot
    result: WalkResult


@dataclass(slots=True, kw_only=True)
class CasePass:
    """All that is known of each job, reconciled: partition by partition, key by key."""

    site: Site
    options: ScanOptions
    report: ScanReport
    walked: list[Walked]
    world: World
    inspector: Inspector
    witness: Witness
    lives: Lives
    sources: SourcesRead
    custody: Custody
    wanted: frozenset[str] | None
    leased: frozenset[str]
    gone: list[tuple[str, str, str]] = field(default_factory=list)
    restless: set[tuple[str, str]] = field(default_factory=set)
    """Directories with a video that is not settled and whole: to be looked at again."""

    def run(self, spool: Spool, *, every: bool) -> Iterator[Case]:
        duplicates = DuplicateFinder(self.inspector)
        for low, high, rows in spool.partitions():
            for case in self._spanned(low, high, rows, every=every):
                for finding in case.findings:
                    if self.options.compares_bytes:
                        duplicates.notice(finding)
                    self.report.count(finding)
                yield case
            self._note()
        for case in duplicates.cases():
            for finding in case.findings:
                self.report.count(finding)
            yield case
        self._note_directories()

    def _spanned(self, low: str, high: str | None, rows: list[Any], *, every: bool) -> Iterator[Case]:
        """The cases of one partition, or those of it that are to be looked at."""
        only = self.options.only
        if only is None or len(only) > _LOOKED_UP_SINGLY:
            yield from self._partition(low, high, rows, every=every)
            return
        wanted = only[bisect_left(only, low) : len(only) if high is None else bisect_left(only, high)]
        for key in wanted:
            at = bisect_left(rows, key, key=itemgetter(0)), bisect_right(rows, key, key=itemgetter(0))
            yield from self._partition(key, f"{key}\x01", rows[slice(*at)], every=every)

    def _partition(self, low: str, high: str | None, rows: list[Any], *, every: bool) -> Iterator[Case]:
        waiting: list[Case] = []
        with self.site.store.read() as connection:
            for key, groups in align(self._streams(connection, low, high, rows)):
                if self.wanted is not None and key not in self.wanted:
                    continue
                if not every and self.inspector.knows_all_is_well(*groups[:_RECORDED]):
                    self.report.records += 1
                    continue
                case = self._case(key, groups)
                if case.findings or every or _has_unlinked(case):
                    waiting.append(case)
                if len(waiting) >= _CASES_AT_ONCE:
                    yield from waiting
                    waiting.clear()
        yield from waiting

    def _streams(
        self, connection: Connection, low: str, high: str | None, rows: list[Any]
    ) -> list[Iterator[Any]]:
        dialect = self.site.store.dialect
        declined = job_streams.stream_declined(connection, dialect, low, high)
        return [
            iter(rows),
            sightings.stream_sightings(connection, dialect, low, high),
            job_streams.stream_records(connection, dialect, low, high),
            job_streams.stream_artifacts(connection, dialect, low, high),
            job_streams.stream_tombstones(connection, dialect, low, high),
            iter(()) if self.options.include_declined else declined,
            sightings.stream_watches(connection, dialect, low, high, host=self.site.host),
            loose.stream_loose(connection, dialect, low, high),
            evidence.stream_traces(connection, dialect, low, high),
            self.sources.stream(low, high),
            renders.stream_renders(connection, dialect, low, high),
            self.sources.references(low, high),
        ]

    def _case(self, key: str, groups: list[list[Any]]) -> Case:
        walked, remembered, records, linked, tombstones, declined, watches, freed, *said = groups
        traces, facts, rendered, references = said
        case = Case(key, references=[locator for _, locator in references])
        if records:
            case.record = Record._make(records[0])
            self.report.records += 1
        if walked or remembered:
            case.files = self._files(walked, remembered)
        if traces or facts or rendered:
            told, known = ([row for _, row in group] for group in (facts, rendered))
            case.account = account_of_rows(key, traces, self.lives, told, known)
        if not case.files and case.record is None and case.account is None:
            self.custody.note(case, freed)
            return case
        case.linked = [_linked(row) for row in linked]
        case.declined = declined
        case.tombstone = tombstones[0] if tombstones else None
        if case.record is not None:
            case.liveness = self._liveness(case, case.record, watches)
            case.is_leased = key in self.leased
        case.findings = [finding for finding in reconcile(case, self.world) if not self._is_there(finding)]
        self.report.unmatched += self._is_unmatched(case)
        self.custody.note(case, freed)
        return case

    def _liveness(self, case: Case, record: Record, watches: list[Any]) -> Liveness:
        """What is known of a job's executor: by sight, else by a log in which its instance boots."""
        seen = self.witness.judge(record, watches)
        if seen.state != "unknown" or case.account is None or record.status != Status.PROCESSING:
            return seen
        return liveness_by_log(record, case.account) or seen

    def _files(self, walked: list[Any], remembered: list[Any]) -> list[Candidate]:
        before = {(row[1], from_stored(row[2])): row for row in remembered}
        files = [self.inspector.judge(row, before.pop((row[1], row[2]), None)) for row in walked]
        for row in before.values():
            if self._was_skipped(row[1], from_stored(row[2])):
                files.append(self.inspector.judge((*row[:2], from_stored(row[2]), *row[3:9]), row))
            else:
                self._forget_if_proven(row)
        for file in files:
            if file.check is not None and file.check.verdict != Verdict.WHOLE:
                self.restless.add((file.seen.root_id, os.path.dirname(file.seen.path)))
        return files

    def _was_skipped(self, root_id: str, path: str) -> bool:
        result = self._result(root_id)
        return result is not None and os.path.dirname(path) in result.skipped

    def _forget_if_proven(self, row: tuple[Any, ...]) -> None:
        result = self._result(row[1])
        if result is not None and not result.unknown:
            self.gone.append((row[0], row[1], from_stored(row[2])))

    def _result(self, root_id: str) -> WalkResult | None:
        return next((each.result for each in self.walked if each.row.root_id == root_id), None)

    def _is_unmatched(self, case: Case) -> bool:
        """Whether a completed job's video is on disk, but was not met under a name of ours."""
        if case.files or case.findings or case.record is None or case.record.status != Status.COMPLETED:
            return False
        return any(self._exists(file.root_id, file.path) for file in case.linked if file.role == Role.VIDEO)

    def _is_there(self, finding: Finding) -> bool:
        """Whether a "missing" file came while we walked: look once more, at its very place."""
        if finding.kind is not FindingKind.MISSING_VIDEO or finding.path is None:
            return False
        return self._exists(finding.root_id, finding.path)

    def _exists(self, root_id: str | None, path: str) -> bool:
        root = next((each.root for each in self.walked if each.row.root_id == root_id), None)
        if root is None:
            return True
        try:
            os.stat(path, dir_fd=root.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def _note(self) -> None:
        """Keep what was seen of this partition for the next scan."""
        site, noted, gone = self.site, self.inspector.noted, self.gone
        for start in range(0, max(len(noted), len(gone)), _NOTE_BATCH):
            with site.store.write() as connection:
                now = site.store.now(connection)
                sightings.record_sightings(connection, noted[start : start + _NOTE_BATCH], at=now)
                sightings.forget_sightings(connection, gone[start : start + _NOTE_BATCH])
        noted.clear()
        gone.clear()
        self.custody.keep()

    def _note_directories(self) -> None:
        site = self.site
        # A look at some jobs is none at the directories they lie in.
        walked = self.walked if self.options.only is None else []
        with site.store.write() as connection:
            for each in walked:
                marks = [
                    mark._replace(is_quiet=(each.row.root_id, mark.path) not in self.restless)
                    for mark in each.result.marks
                ]
                sightings.record_directories(connection, each.row.root_id, marks)
                sightings.forget_directories(connection, each.row.root_id, each.result.vanished)
                self._note_scan(connection, each)
            sightings.note_heartbeats(connection, self.witness.watched, host=site.host)

    def _note_scan(self, connection: Connection, walked: Walked) -> None:
        """Record that and how far this root was seen, once it was seen to the end."""
        store, report, result = self.site.store, self.report, walked.result
        began = parse_timestamp(self.world.walk_started_at)
        scan_id, root_id = f"{new_run_id(began)}-{walked.row.root_id}", walked.row.root_id
        sightings.begin_scan(connection, scan_id, root_id, is_full=result.is_full, at=began)
        counts = {"findings": report.counts_of.get(root_id, {}), **_room(walked.root)}
        sightings.finish_scan(
            connection, scan_id, is_complete=not result.unknown, counts=counts, at=store.now(connection)
        )


def _room(root: OpenRoot) -> dict[str, dict[str, int]]:
    """What is left on the disk of a root; remembered, it tells how fast that shrinks."""
    try:
        left = room_of(root.fd)
    except OSError:
        return {}
    return {"room": {"bytes": left.bytes, "bytes_free": left.bytes_free}}


def _linked(row: tuple[Any, ...]) -> Linked:
    linked = Linked._make(row)
    return linked._replace(path=from_stored(linked.path)) if "\\" in linked.path else linked


def _has_unlinked(case: Case) -> bool:
    record: Record | None = case.record
    if record is None or record.status not in {"completed", "failed"}:
        return False
    return len(case.named) > len(case.linked) or bool(unlinked_files(case))
