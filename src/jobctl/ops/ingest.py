"""Ingest: read server logs into the store, from where an earlier reading stopped.

Neither tree nor jobs are changed: what logs say is noted, and recover weighs it. Each
flush is one transaction of traces and position, so that a reading cut short goes on where
it was, and no line counts twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from itertools import chain, count
from typing import Any, NamedTuple

from jobctl import clock
from jobctl.core.logbook import (
    Key,
    Logbook,
    Trace,
    instance_from_json,
    instance_to_json,
    trace_from_json,
    trace_to_json,
)
from jobctl.errors import JobctlError, Locked, LogUnreadable
from jobctl.evidence.logfile import HEAD, STDIN, LogText, Place, digest
from jobctl.evidence.rotation import by_log, is_rotated
from jobctl.evidence.rules import rule_sets
from jobctl.evidence.serverlog import Batch, LogReader
from jobctl.model.names import to_stored
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.hold import held_lock
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.store import evidence, locks
from jobctl.store.engine import Connection
from jobctl.store.evidence import PartRow, StreamRow, TraceRow

_FLUSH_TRACES = 5_000
_FLUSH_S = 5.0
_RENEW_S = 30.0
"""How often the lock is renewed while a followed log is silent."""
_CLOCK_SLACK = timedelta(days=1)


class LogRead(NamedTuple):
    """What one file gave. ``bytes`` and ``lines`` are those that were new, unpacked."""

    path: str
    log: str
    bytes: int
    lines: int
    jobs: int


@dataclass(slots=True)
class IngestReport:
    """What reading some logs came to. ``naive``: how many moments named no time zone."""

    logs: list[LogRead] = field(default_factory=list)
    errors: list[JobctlError] = field(default_factory=list)
    naive: int = 0
    seconds: float = 0.0


def ingest(
    site: Site,
    paths: Sequence[str],
    *,
    zone: tzinfo,
    name: str | None = None,
    wait_s: float = 0.0,
    progress: ProgressSink | None = None,
) -> IngestReport:
    """Read logs into the store. ``name`` is what standard input is known by.

    ``wait_s``: how long to wait for another run that reads the same log.

    A log that cannot be read is told in the report, and the others are read. Raises
    ``ConfigurationError`` for a wrong rule, before anything is read.
    """
    report, began = IngestReport(), clock.monotonic()
    with site.store.read() as connection:
        latest = format_timestamp(site.store.now(connection) + _CLOCK_SLACK)
    reader = LogReader(rule_sets(site.settings.logs), zone=zone, latest=latest)
    logs: dict[str, list[str]] = {}
    if STDIN in paths:
        logs[name or STDIN] = [STDIN]
    logs.update(by_log(path for path in paths if path != STDIN))
    for log, parts in logs.items():
        reading = _Reading(site, log, reader, report, progress, wait_s)
        for path in parts:
            try:
                reading.read(path)
            except LogUnreadable as error:
                report.errors.append(error)
            except JobctlError as error:
                # Another run reads this very log: what it says is on its way into the store.
                report.errors.append(error)
                break
    report.naive, report.seconds = reader.naive, clock.monotonic() - began
    return report


@dataclass(slots=True)
class _Reading:
    """The parts of one log, one after the other. ``stream``: the one that the last of them went into."""

    site: Site
    log: str
    reader: LogReader
    report: IngestReport
    progress: ProgressSink | None
    wait_s: float = 0.0
    stream: str | None = None

    def read(self, path: str) -> None:
        """Read what is new in one part.

        Raises ``LogUnreadable``, or ``Locked`` where another run reads the log.
        """
        with self.site.store.read() as connection:
            parts = evidence.get_parts(connection)
            streams = {row.stream: row for row in evidence.get_streams(connection)}
        with closing(LogText(path)) as text:
            if not text.head:
                self.report.logs.append(LogRead(path, self.log, 0, 0, 0))
                return
            for part in parts:
                if self._may_be(text, part, streams[part.stream]) and self._goes_on(text, part):
                    return
            self.stream = self._stream_for(path, text, streams)
            number = 1 + max((part.part for part in parts if part.stream == self.stream), default=0)
            head = text.head
            part = PartRow(self.stream, number, path, len(head), digest(head), 0, digest(b""), 0, 0)
            self._read_on(text, part, text.blocks())

    def _may_be(self, text: LogText, part: PartRow, stream: StreamRow) -> bool:
        """Whether a file begins like a part that was read before, and not just like any log of its service.

        Two servers begin alike. What names jobs is told from all others; of what does not,
        only the log's own file, or a copy that holds nothing more, is taken for it.
        """
        if not text.is_continued(Place(*part[3:])):
            return False
        is_copy = len(text.head) == part.read_bytes < HEAD
        return (
            is_copy or stream.name == self.log or any(_names_jobs(state) for state in stream.state.values())
        )

    def _goes_on(self, found: LogText, part: PartRow) -> bool:
        """Read what follows in a part that was read before, whatever it is called now; if it is that part."""
        # A second look at a file leaves the first at its beginning; at a pipe there is only one.
        with nullcontext(found) if found.is_pipe else closing(LogText(found.path)) as text:
            blocks = text.blocks_after(Place(*part[3:]))
            if blocks is not None:
                self.stream = part.stream
                self._read_on(text, part._replace(path=text.path), blocks)
            elif text.is_pipe:
                raise LogUnreadable(
                    f"the log {text.path} begins like one that was read before, but goes on otherwise; "
                    "it was not read",
                    hint="save it as a file, and read that",
                )
        return blocks is not None

    def _stream_for(self, path: str, text: LogText, streams: Mapping[str, StreamRow]) -> str:
        """Where a new part belongs: behind the one before it, or else at the beginning of a stream."""
        if self.stream is not None:
            return self.stream
        if not is_rotated(path):
            for row in sorted(streams.values(), key=lambda row: row.noted_at, reverse=True):
                if row.name == self.log:
                    return row.stream
        named = f"l{digest(os.fsencode(self.log) + text.head)[:12]}"
        names = chain([named], (f"{named}.{number}" for number in count(2)))
        return next(name for name in names if name not in streams)

    def _read_on(self, text: LogText, part: PartRow, blocks: Iterator[bytes]) -> None:
        with ExitStack() as stack:
            lock = held_lock(self.site, f"log:{part.stream}", command="evidence ingest", wait_s=self.wait_s)
            fence = stack.enter_context(lock)
            keeper = _Keeper(self.site, self.log, part, fence, stack.enter_context(ExitStack()))
            keeper.expect_unmoved()
            for batch in self.reader.read(blocks, at_byte=part.read_bytes, at_line=part.read_lines):
                keeper.note(batch)
                if self.progress:
                    self.progress(Progress("read", batch.end_byte >> 20, None, part.path))
            keeper.flush()
        if text.trouble:
            self.report.errors.append(text.trouble)
        end = keeper.part
        self.report.logs.append(
            LogRead(
                part.path,
                self.log,
                end.read_bytes - part.read_bytes,
                end.read_lines - part.read_lines,
                len(keeper.jobs),
            )
        )


class _Keeper:
    """Keeps a logbook in memory for a while, and writes it into the store with the place it stands for."""

    def __init__(self, site: Site, log: str, part: PartRow, fence: locks.Fence, stack: ExitStack) -> None:
        self.part = part
        self.jobs: set[str] = set()
        self._site = site
        self._log = log
        self._fence = fence
        self._stack = stack
        self._connection: Connection | None = None
        with site.store.read() as connection:
            rows = [row for row in evidence.get_streams(connection) if row.stream == part.stream]
            before = evidence.get_parts(connection, part.stream)
        self._lines_before = sum(row.read_lines for row in before if row.part < part.part)
        instances = {
            speaker: instance_from_json(state) for row in rows for speaker, state in row.state.items()
        }
        self._book = Logbook(part.stream, instances, self._recall if rows else _nothing)
        self._flushed_at = clock.monotonic()
        self._has_news = False

    def expect_unmoved(self) -> None:
        """Raise ``Locked`` where another run read on in this part before the lock was ours."""
        with self._site.store.read() as connection:
            parts = evidence.get_parts(connection, self.part.stream)
        reached = next((each.read_bytes for each in parts if each.part == self.part.part), 0)
        if reached != self.part.read_bytes:
            raise Locked(
                f"another run read the log {self.part.path} at the same time; what it said is in the store",
                hint="for what was added since, run the same command again",
            )

    def note(self, batch: Batch) -> None:
        """Take a batch; one that does not move on says that nothing more is to be had just now."""
        moved = batch.end_byte > self.part.read_bytes
        self._has_news = self._has_news or moved
        self._book.note(to_stored(self.part.path), batch.mentions, lines_before=self._lines_before)
        self.part = self.part._replace(
            tail_bytes=len(batch.tail) if moved else self.part.tail_bytes,
            tail=digest(batch.tail) if moved else self.part.tail,
            read_bytes=batch.end_byte,
            read_lines=batch.end_line,
        )
        silent_s = clock.monotonic() - self._flushed_at
        is_due = silent_s > (_FLUSH_S if self._has_news else _RENEW_S)
        if is_due or len(self._book.traces) >= _FLUSH_TRACES or (self._has_news and not moved):
            self.flush()

    def flush(self) -> None:
        """Write what was noted, together with the place up to which it was read."""
        book, store = self._book, self._site.store
        state = {speaker: instance_to_json(instance) for speaker, instance in book.instances.items()}
        rows = [TraceRow(*key, trace_to_json(trace)) for key, trace in book.traces.items()]
        self._stack.close()
        with store.write() as connection:
            now = store.now(connection)
            locks.renew(connection, self._fence, at=now)
            evidence.record_traces(connection, rows, at=now)
            evidence.record_progress(connection, self.part.stream, self._log, state, self.part, at=now)
        self.jobs.update(key.job_id for key in book.traces)
        self._book = Logbook(self.part.stream, book.instances, self._recall)
        self._connection, self._flushed_at, self._has_news = None, clock.monotonic(), False

    def _recall(self, key: Key) -> Trace | None:
        """What was written of a trace; read on one connection until the next flush."""
        if self._connection is None:
            self._connection = self._stack.enter_context(self._site.store.read())
        claims = evidence.get_trace(self._connection, *key)
        return trace_from_json(claims) if claims is not None else None


def _names_jobs(state: dict[str, Any]) -> bool:
    instance = instance_from_json(state)
    return instance.has_worked or bool(instance.boots)


def _nothing(_key: Key) -> None:
    """For a log that was never read before."""
