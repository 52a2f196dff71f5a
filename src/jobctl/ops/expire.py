"""Expire: plan the end of jobs that nobody works on, waits for, or keeps. Nothing is changed.

Open jobs are looked at beside their files, as recover does: what is finished is completed, what
is proven dead has another try or is failed. Ended jobs are found by an index, oldest first; a
job that goes takes its files into quarantine with it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from jobctl.core.brakes import Limits
from jobctl.core.case import Case
from jobctl.core.custody import quarantine
from jobctl.core.expiry import (
    CATEGORY,
    expire,
    judge_ended,
    judge_queued,
    rescue,
    shortest_retention,
    shortest_wait,
    why_left_open,
)
from jobctl.errors import JobctlError
from jobctl.model.files import STILL_NAMED, Seen, Tier
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import Action, Kept, Row
from jobctl.model.records import Ended
from jobctl.model.status import Status
from jobctl.ops.brakes import brake
from jobctl.ops.hold import Hold
from jobctl.ops.inspect import Inspector
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import Plan, PlanWriter, header_of
from jobctl.ops.protection import Protection
from jobctl.ops.reach import clock_troubles, expect_references, gaps, suspended
from jobctl.ops.recover import Gathering, terms_of
from jobctl.ops.references import References, read_references
from jobctl.ops.scan import Scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.ops.site import Progress, ProgressSink, no_progress
from jobctl.outputs.directories import stat_below
from jobctl.outputs.identity import identity_of
from jobctl.policy import ENDED, Policy
from jobctl.store import retention, runs
from jobctl.store.spool import SortedSpool

_BATCH = 500
_PAST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireOptions:
    """By which policy, and how much. ``explains``: tell also of every job that is kept why."""

    policy: Policy
    stale_after: timedelta | None = None
    allowed: Mapping[str, int] = field(default_factory=dict)
    explains: bool = False


def plan_expire(
    hold: Hold,
    options: ExpireOptions,
    *,
    progress: ProgressSink | None = None,
    troubles: list[JobctlError] | None = None,
) -> Plan:
    """Plan to end what has outlived itself under the held roots. Changes neither tree nor jobs.

    What could not be read, though the rest went on, is added to ``troubles``. Raises
    ``SourceUnusable`` where it cannot be told what other tables refer to.
    """
    catch_up(hold)
    planning = _Planning(hold, options, progress or no_progress)
    try:
        with SortedSpool() as files:
            planning.look_at_open_jobs()
            planning.look_at_ended_jobs(files)
            planning.look_at_files_left(files)
            planning.add_files(files)
        plan = planning.finish()
    except BaseException:
        planning.writer.discard()
        raise
    if troubles is not None:
        troubles.extend(planning.troubles)
    return plan


@dataclass(slots=True)
class _Planning:
    """One planning: the open jobs, then the ended ones, then the files of those that go."""

    hold: Hold
    options: ExpireOptions
    progress: ProgressSink
    writer: PlanWriter = field(init=False)
    scanning: Scan = field(init=False)
    troubles: list[JobctlError] = field(default_factory=list)
    _suspended: dict[str, str] = field(init=False)
    """Roots below which there may be more than the records know, and why."""
    _unknown: dict[str, str] = field(default_factory=dict)
    """Roots whose files cannot be judged, and why."""

    def __post_init__(self) -> None:
        self.writer = PlanWriter(header_of(self.hold, "expire"))
        self._suspended = suspended(self.hold)
        stale_after = self.options.stale_after
        options = ScanOptions(
            full=True,
            only=self._open_jobs(),
            stale_after_s=stale_after.total_seconds() if stale_after else None,
        )
        self.scanning = Scan(self.hold.site, options, self._report, opened=list(self.hold.roots))

    def look_at_open_jobs(self) -> None:
        """Complete, requeue, fail or expire what is not ended, each beside its files."""
        site = self.hold.site
        with Inspector(site, self.hold.roots, Tier.DEMUX) as inspector:
            gathering = Gathering(
                site, inspector, terms_of(site, self.writer.header), self._report, self.troubles
            )
            cases = self.scanning.cases(every=True)
            while batch := list(islice(cases, _BATCH)):
                expect_references(self.scanning.report)
                for material in gathering.materials(batch):
                    if material.job_row is not None:
                        self._judge_open(material.case, rescue(material).actions, material.job_row)
        report = self.scanning.report
        expect_references(report)
        self.troubles.extend([*report.errors, *clock_troubles(report.clock_jump)])
        self.writer.is_incomplete = not report.is_complete
        self._unknown = self._suspended | gaps(report)

    def look_at_ended_jobs(self, files: SortedSpool) -> None:
        """Expire what is kept no longer; put aside the files that go with it."""
        with ExitStack() as stack:
            references = stack.enter_context(read_references(self.hold.site))
            connection = stack.enter_context(self.hold.site.store.read())
            for status in ENDED:
                before = self._expired_before(status)
                if before is None and not self.options.explains:
                    continue
                limit = None if self.options.explains else before
                for page in retention.ended_before(connection, status, limit):
                    self._report(Progress("expire", 0, None, status))
                    self._judge_ended(page, references, files)

    def look_at_files_left(self, files: SortedSpool) -> None:
        """Put aside also what an earlier run ended the job of and could not move."""
        with self.hold.site.store.read() as connection:
            left = {(step.job_id, step.path): step for step in runs.unmoved(connection, "expire", runs=_PAST)}
            ids = sorted({job_id for job_id, _ in left})
            rows = runs.artifact_documents(connection, ids)
        for step in left.values():
            row = rows.get(step.job_id, {}).get((step.root_id or "", to_stored(step.path or "")))
            if row is not None and step.expect_version is not None and not self._why_blind({_at(row): row}):
                self._put_aside(row, step.expect_version - 1, files)

    def add_files(self, files: SortedSpool) -> None:
        """Plan to move the files of the jobs that go, unless something else still needs them."""
        places = [_place(key) for key, _ in files.stream()]
        if not places:
            return
        protection = Protection(self.hold, self.scanning.report.links)
        protection.prepare(places)
        for _, (fields, row, version) in files.stream():
            seen = Seen._make(fields)._replace(path=from_stored(fields[2]))
            why = protection.why_kept(seen)
            if why:
                self.writer.keep(Kept(seen.key, seen.root_id, seen.path, why))
                continue
            action = quarantine(
                seen,
                category=CATEGORY,
                reason="its job expires with this run",
                record_version=version + 1,
                artifact_row=row,
                at=self.writer.header.created_at,
            )
            self.writer.add(action)

    def finish(self) -> Plan:
        """Hold back what is more than one run may take, and seal the plan."""
        limits = Limits(self.hold.site.settings.policy.max_bytes, self.options.allowed)
        held = brake(self.hold.site, self.writer, limits, files_of=self.scanning.report.files_of)
        # A job and its files go together, whichever of them the brake is about.
        return self.writer.finish([each._replace(root_id="") for each in held])

    def _report(self, step: Progress) -> None:
        self.hold.renew_when_due()
        self.progress(step)

    def _open_jobs(self) -> tuple[str, ...]:
        """The jobs that something may have to be done about, which are few among all."""
        site = self.hold.site
        wait = shortest_wait(self.options.policy)
        with site.store.read() as connection:
            found = retention.unfinished_ids(connection, Status.PROCESSING)
            if self.options.explains:
                found += retention.unfinished_ids(connection, Status.QUEUED)
            elif wait is not None:
                before = site.store.now(connection) - wait
                found += retention.unfinished_ids(connection, Status.QUEUED, before=before)
        return tuple(sorted(found))

    def _judge_open(self, case: Case, actions: Sequence[Action], job_row: Row) -> None:
        for action in actions:
            self.writer.add(action)
        if actions:
            return
        if job_row["status"] == Status.QUEUED:
            answer = judge_queued(
                case, self._with_version(case, job_row), self.options.policy, self.scanning.report.known_ages
            )
            older = self._why_older(job_row)
            if isinstance(answer, Kept):
                self.writer.keep(answer)
            elif older:
                self.writer.keep(Kept(case.key, "", "", older))
            else:
                self.writer.add(answer)
        else:
            self.writer.keep(Kept(case.key, "", "", why_left_open(case)))

    def _with_version(self, case: Case, job_row: Row) -> Row:
        if case.record is None:
            raise ValueError(f"job {case.key} has a row and no record")
        return {**job_row, "version": case.record.version, "updated_at": case.record.updated_at}

    def _expired_before(self, status: str) -> datetime | None:
        kept_for = shortest_retention(self.options.policy, status)
        return None if kept_for is None else self.scanning.report.known_ages.now - kept_for

    def _judge_ended(self, page: Sequence[Ended], references: References, files: SortedSpool) -> None:
        going: dict[str, str] = {}
        for job in page:
            answer = judge_ended(job, self.options.policy, self.scanning.report.known_ages)
            where = None if isinstance(answer, Kept) else references.to_job(job.job_id)
            if isinstance(answer, Kept):
                self.writer.keep(answer)
            elif where is not None:
                self.writer.keep(Kept(job.job_id, "", "", f"{where} names it"))
            else:
                going[job.job_id] = answer
        if going:
            self._let_go(going, files)

    def _let_go(self, going: Mapping[str, str], files: SortedSpool) -> None:
        with self.hold.site.store.read() as connection:
            job_rows = runs.job_documents(connection, list(going), with_version=True)
            artifact_rows = runs.artifact_documents(connection, list(going))
        for job_id, reason in going.items():
            job_row, rows = job_rows.get(job_id), artifact_rows.get(job_id, {})
            if job_row is None:
                continue
            blind = self._why_blind(rows) or self._why_older(job_row)
            if blind:
                self.writer.keep(Kept(job_id, "", "", blind))
                continue
            self.writer.add(expire(job_row, reason))
            for row in rows.values():
                self._put_aside(row, int(job_row["version"]), files)

    def _why_blind(self, rows: Mapping[tuple[str, str], Row]) -> str | None:
        """Why the files of a job cannot be judged, or ``None``."""
        held = {root.root_id for root in self.hold.roots}
        for root_id, _ in rows:
            if root_id not in held:
                return f"its files lie below root {root_id}, which is not seen from here"
            if root_id in self._unknown:
                return self._unknown[root_id]
        return None

    def _why_older(self, job_row: Row) -> str | None:
        """Why a record may not know yet what became of its job, or ``None``. One without a root: of any."""
        root_id = job_row["root_id"]
        if root_id is None:
            return next(iter(self._suspended.values()), None)
        return self._suspended.get(root_id)

    def _put_aside(self, row: Row, version: int, files: SortedSpool) -> None:
        """Note that a file goes which its record names; one that is marked as missing may have come back."""
        seen = self._look(row) if row["state"] in STILL_NAMED else None
        if seen is not None:
            fields = [*seen[:2], to_stored(seen.path), *seen[3:]]
            files.add(f"{seen.root_id}\0{to_stored(seen.path)}", (fields, row, version))

    def _look(self, row: Row) -> Seen | None:
        """The file of an artifact as it is now; one that is gone, or is no file, is left alone."""
        path = from_stored(row["path"])
        root = next(root for root in self.hold.roots if root.root_id == row["root_id"])
        try:
            found = stat_below(root.fd, path)
        except OSError as error:
            if row["state"] != "present" and isinstance(error, FileNotFoundError | NotADirectoryError):
                return None
            self._keep_file(row, path, f"it cannot be looked at: {error.strerror}")
            return None
        if not stat.S_ISREG(found.st_mode):
            self._keep_file(row, path, "it is no regular file")
            return None
        return Seen(row["job_id"], root.root_id, path, row["role"], *identity_of(found))

    def _keep_file(self, row: Row, path: str, reason: str) -> None:
        self.writer.keep(Kept(row["job_id"], row["root_id"], path, reason))


def _at(row: Row) -> tuple[str, str]:
    return row["root_id"], row["path"]


def _place(key: str) -> tuple[str, str]:
    root_id, _, path = key.partition("\0")
    return root_id, from_stored(path)
