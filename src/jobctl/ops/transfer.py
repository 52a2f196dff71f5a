"""Export and import: whole records out of a store and into one, and dumps of other programs into it.

An import is a plan like any other: proposed, shown, applied step by step, taken back by undo.
A record that is there is never overwritten.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple
from zoneinfo import ZoneInfo

from jobctl.core.cells import to_cell, to_columns
from jobctl.core.dump import (
    EXPORTED,
    DumpTerms,
    Entry,
    Wrong,
    differences,
    from_document,
    from_dump,
    is_exported,
    split_fields,
    to_document,
)
from jobctl.core.foreign import json_safe
from jobctl.errors import UsageError
from jobctl.evidence.dump import checked_fields, format_named, format_of, read_dump
from jobctl.model.dump import DumpFormat
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.plan import Action, PlanHeader, Row, Verb
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.hold import Hold
from jobctl.ops.new_file import new_file
from jobctl.ops.plan import Plan, PlanWriter
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.source import is_timezone
from jobctl.store import transfer
from jobctl.store.foreign import read_source
from jobctl.store.spool import SortedSpool
from jobctl.store.sqlite_dump import read_table, write_table

STANDARD = "-"
"""In place of a file: standard input, or standard output."""

SOURCE_PREFIX = "source:"
"""Before the name of a source of the configuration, in place of a file."""

_BATCH = 500
_HEAD = 64 * 1024
_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """A dump to be imported: a file, ``-`` or ``source:NAME``.

    ``source`` is what the provenance of its fields calls it.
    """

    file: str
    format: DumpFormat | None = None
    table: str | None = None
    source: str | None = None
    timezone: str = "UTC"

    @property
    def name(self) -> str:
        return self.source or ("stdin" if self.file == STANDARD else os.path.basename(self.file))


class Proposed(NamedTuple):
    """An import that is planned. ``same``: how many entries are recorded already, just so."""

    plan: Plan
    entries: int
    same: int


def plan_import(
    hold: Hold, dump: Dump, *, standard_input: BinaryIO, progress: ProgressSink | None = None
) -> Proposed:
    """Plan to record the jobs of a dump. What cannot be imported is told in the plan, entry by entry.

    Raises ``UsageError`` where the dump cannot be read at all.
    """
    site = hold.site
    if not is_timezone(dump.timezone):
        raise UsageError(
            f"--timezone {dump.timezone!r} is no zone that this machine knows; nothing was changed",
            hint="write --timezone UTC or --timezone Europe/Berlin",
        )
    with site.store.read() as connection:
        now = format_timestamp(site.store.now(connection))
    header = PlanHeader(
        command="import",
        store_id=site.store.store_id,
        roots={},
        created_at=now,
        configuration=site.settings.digest(),
    )
    importing = _Import(hold, dump, PlanWriter(header), DumpTerms(dump.name, ZoneInfo(dump.timezone), now))
    try:
        with ExitStack() as stack:
            spool = stack.enter_context(SortedSpool())
            importing.read(_entries(site, dump, standard_input, stack), spool, progress)
            importing.propose(spool)
    except BaseException:
        importing.writer.discard()
        raise
    importing.writer.is_incomplete = bool(importing.writer.findings)
    return Proposed(importing.writer.finish(), importing.entries, importing.same)


class _Candidate(NamedTuple):
    """One entry that can be recorded. ``exact``: it is an export, so that every field counts."""

    row: Row
    where: str
    exact: bool


@dataclass(slots=True)
class _Import:
    """One dump on its way into a plan."""

    hold: Hold
    dump: Dump
    writer: PlanWriter
    terms: DumpTerms
    entries: int = 0
    same: int = 0

    def read(self, entries: Iterable[Entry], spool: SortedSpool, progress: ProgressSink | None) -> None:
        """Spool what can be recorded, sorted by job; tell the rest."""
        for entry in entries:
            self.entries += 1
            try:
                candidate = self._candidate(entry)
            except Wrong as error:
                self._tell(FindingKind.UNREADABLE, None, entry.where, str(error))
            else:
                spool.add(candidate.row["job_id"], candidate)
            if self.entries % _TOLD_EVERY == 0:
                self.hold.renew_when_due()
                if progress is not None:
                    progress(Progress("import", self.entries))

    def propose(self, spool: SortedSpool) -> None:
        """Write a step for each job that no record, tombstone or other entry stands in the way of."""
        single = self._unambiguous(spool)
        while batch := list(islice(single, _BATCH)):
            self.hold.renew_when_due()
            self._propose(batch)

    def _candidate(self, entry: Entry) -> _Candidate:
        document = entry.document
        if document is None:
            raise Wrong(entry.fault)
        if is_exported(document):
            return _Candidate(from_document(document), entry.where, exact=True)
        known, rest = split_fields(document)
        row = from_dump(checked_fields(known), rest, entry.where, self.terms)
        return _Candidate(row, entry.where, exact=False)

    def _unambiguous(self, spool: SortedSpool) -> Iterator[_Candidate]:
        """The entries that are the only ones of their job, or agree with all others."""
        for job_id, group in groupby(spool.stream(), key=itemgetter(0)):
            first, *others = [_Candidate(*entry) for _, entry in group]
            rival = next((other for other in others if _disagree(first, other)), None)
            if rival is None:
                self.same += len(others)
                yield first
            else:
                places = f"{first.where} and {rival.where}"
                self._tell(FindingKind.CONFLICT, job_id, places, "they say different things of one job")

    def _propose(self, batch: Sequence[_Candidate]) -> None:
        ids = [candidate.row["job_id"] for candidate in batch]
        keys = [_key(candidate.row) for candidate in batch if candidate.row["idempotency_key"] is not None]
        with self.hold.site.store.read() as connection:
            tombstones = transfer.buried(connection, ids)
            recorded = transfer.records_of(connection, ids)
            holders = transfer.holders_of_keys(connection, keys) if keys else {}
        for row, where, exact in batch:
            job_id = row["job_id"]
            if job_id in recorded:
                self._compare(row, recorded[job_id], where, exact=exact)
            elif job_id in tombstones:
                reason = f"the job has ended for good ({tombstones[job_id]}); it is not brought back"
                self._tell(FindingKind.CONFLICT, job_id, where, reason)
            elif row["idempotency_key"] is not None and _key(row) in holders:
                reason = f"job {holders[_key(row)]} has its idempotency key"
                self._tell(FindingKind.CONFLICT, job_id, where, reason)
            else:
                self.writer.add(self._action(row, where))

    def _compare(self, row: Row, recorded: Row, where: str, *, exact: bool) -> None:
        found = differences(row, recorded, exact=exact)
        if not found:
            self.same += 1
            return
        reason = f"it is recorded already, with another {', '.join(found)}; the record stays as it is"
        self._tell(FindingKind.CONFLICT, row["job_id"], where, reason)

    def _action(self, row: Row, where: str) -> Action:
        return Action(
            seq=0,
            verb=Verb.IMPORT,
            job_id=row["job_id"],
            reason=f"{self.dump.name}: {where}",
            to_status=row["status"],
            confidence=row["confidence"],
            job_after=row,
        )

    def _tell(self, kind: FindingKind, job_id: str | None, where: str, reason: str) -> None:
        self.writer.tell(Finding(kind, job_id, f"{where}: {reason}"))


def _disagree(one: _Candidate, other: _Candidate) -> bool:
    if one.exact != other.exact:
        return True
    return bool(
        differences(one.row, other.row, exact=one.exact) or differences(other.row, one.row, exact=one.exact)
    )


def _key(row: Row) -> tuple[str, str]:
    return row["kind"], row["idempotency_key"]


def _entries(site: Site, dump: Dump, standard_input: BinaryIO, stack: ExitStack) -> Iterator[Entry]:
    if dump.file.startswith(SOURCE_PREFIX):
        return _rows_of_source(site, dump.file.removeprefix(SOURCE_PREFIX))
    stream = standard_input if dump.file == STANDARD else _opened(dump.file, stack)
    if not stream.seekable():
        stream = _kept(stream, stack)
    form = dump.format or format_named(dump.file) or _format_in(stream)
    if dump.table is not None and form is not DumpFormat.SQLITE:
        raise UsageError("--table names a table of a SQLite file; this is none", hint="leave --table out")
    if form is not DumpFormat.SQLITE:
        return read_dump(stream, form)
    if dump.file == STANDARD:
        raise UsageError("a SQLite file cannot be read from standard input", hint="name the file")
    return read_table(dump.file, dump.table)


def _rows_of_source(site: Site, name: str) -> Iterator[Entry]:
    """The rows of a table that the settings name as a source."""
    source = next((each for each in site.settings.sources if each.name == name), None)
    if source is None:
        known = ", ".join(each.name for each in site.settings.sources) or "none"
        raise UsageError(
            f"no source is called {name!r}; nothing was changed",
            hint=f"sources of the configuration: {known}",
        )
    for row in read_source(source, default_database=site.settings.database):
        yield Entry(row.locator, {**row.fields, "job_id": row.job_id})


def _opened(file: str, stack: ExitStack) -> BinaryIO:
    try:
        return stack.enter_context(open(file, "rb"))
    except OSError as error:
        raise UsageError(
            f"the dump {file} cannot be read: {error.strerror}; nothing was changed",
            hint="check the file's name",
        ) from None


def _kept(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    """A pipe's content in a temporary file, so that its beginning can be looked at."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
    stack.callback(kept.close)
    shutil.copyfileobj(stream, kept)
    kept.seek(0)
    return kept


def _format_in(stream: BinaryIO) -> DumpFormat:
    start = stream.tell()
    head = stream.read(_HEAD)
    stream.seek(start)
    return format_of(head)


class Exported(NamedTuple):
    """What an export wrote."""

    file: str
    format: DumpFormat
    jobs: int


def export_jobs(
    site: Site,
    file: str,
    *,
    form: DumpFormat | None = None,
    statuses: Iterable[Status] = (),
    standard_output: BinaryIO,
    progress: ProgressSink | None = None,
) -> Exported:
    """Write every record, or those of some statuses, to a new file or to ``-``.

    The records are those of one moment. Raises ``UsageError`` where the file is there already
    or cannot be made, ``DiskFailed`` where it cannot be written to its end: then there is none.
    """
    form = form or (format_named(file) if file != STANDARD else None) or DumpFormat.JSON_LINES
    if file == STANDARD and form is DumpFormat.SQLITE:
        raise UsageError("a SQLite file cannot be written to standard output", hint="name a file")
    with site.store.read() as connection:
        records = transfer.stream_records(connection, sorted(statuses))
        documents = _watched(map(to_document, records), progress)
        if file == STANDARD:
            return Exported(file, form, _write(standard_output, documents, form))
        return Exported(file, form, _write_file(file, documents, form))


def _watched(documents: Iterable[dict[str, Any]], progress: ProgressSink | None) -> Iterator[dict[str, Any]]:
    for number, document in enumerate(documents, start=1):
        if progress is not None and number % _TOLD_EVERY == 0:
            progress(Progress("export", number))
        yield document


def _write_file(file: str, documents: Iterator[dict[str, Any]], form: DumpFormat) -> int:
    with new_file(file) as unnamed:
        return _fill(unnamed.fd, unnamed.path, documents, form)


def _fill(fd: int, path: str, documents: Iterator[dict[str, Any]], form: DumpFormat) -> int:
    if form is DumpFormat.SQLITE:
        return write_table(path, documents)
    with os.fdopen(fd, "wb", closefd=False) as stream:
        return _write(stream, documents, form)


def _write(stream: BinaryIO, documents: Iterator[dict[str, Any]], form: DumpFormat) -> int:
    """Write all documents; give back how many."""
    count = 0
    for count, chunk in _chunks(documents, form):  # noqa: B007 - the last count is all
        stream.write(chunk)
    stream.flush()
    return count


def _chunks(documents: Iterator[dict[str, Any]], form: DumpFormat) -> Iterator[tuple[int, bytes]]:
    if form is DumpFormat.CSV:
        yield 0, _csv_line(EXPORTED)
    elif form is DumpFormat.JSON:
        yield 0, b"["
    number = 0
    for number, document in enumerate(documents, start=1):
        if form is DumpFormat.CSV:
            yield number, _csv_line([to_cell(value) for value in to_columns(document).values()])
        elif form is DumpFormat.JSON:
            yield number, (b",\n" if number > 1 else b"\n") + _json(document)
        else:
            yield number, _json(document) + b"\n"
    if form is DumpFormat.JSON:
        yield number, b"\n]\n"


def _csv_line(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode("utf-8", "surrogateescape")


def _json(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(json_safe(document), separators=(",", ":")).encode()
