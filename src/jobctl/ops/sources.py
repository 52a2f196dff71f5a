"""Other tables as evidence: every configured source, read once, as facts sorted by job id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from jobctl.core.foreign import SourceRow, facts_of_row
from jobctl.errors import JobctlError, SourceUnusable, UsageError
from jobctl.model.evidence import Bound, Fact, Trust
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.source import Source
from jobctl.store.foreign import read_source
from jobctl.store.spool import SortedSpool

_TOLD_EVERY = 1_000


class SourceCount(NamedTuple):
    """How many rows of a source name a job, and how many do not."""

    rows: int
    skipped: int


@dataclass(slots=True)
class SourcesRead:
    """What all sources say, spooled to disk. Close it, or use it in a ``with``."""

    counts: dict[str, SourceCount] = field(default_factory=dict)
    errors: list[JobctlError] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """The sources that could not be read to their end."""
    knows_all_references: bool = True
    """Whether every source that protects files was read whole: else no file is known to be unreferenced."""
    _spool: SortedSpool = field(default_factory=SortedSpool)

    def stream(self, low: str = "", high: str | None = None) -> Iterator[tuple[str, Fact]]:
        """Facts of the jobs with ``low`` ≤ id < ``high``, in byte order of the id."""
        for job_id, entry in self._spool.stream(low, high):
            for fact in entry["facts"]:
                yield job_id, Fact(*fact[:5], Trust(fact[5]), fact[6], Bound(fact[7]))  # type: ignore[call-arg]

    def references(self, low: str = "", high: str | None = None) -> Iterator[tuple[str, str]]:
        """Job id and locator of each row that protects its job's files from cleanup, by job id."""
        for job_id, entry in self._spool.stream(low, high):
            if entry["refers"]:
                yield job_id, entry["locator"]

    def close(self) -> None:
        """Remove the spool."""
        self._spool.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, source: Source, rows: Iterable[SourceRow]) -> None:
        """Take the rows of a source."""
        zone = ZoneInfo(source.timezone)
        for row in rows:
            facts = [tuple(fact) for fact in facts_of_row(source.name, row, zone=zone)]
            entry = {"facts": facts, "locator": row.locator, "refers": source.references}
            self._spool.add(row.job_id, entry)


def read_sources(site: Site, *, progress: ProgressSink | None = None) -> SourcesRead:
    """Read every configured source. One that cannot be read is told in ``errors``; the rest goes on.

    What was read of it until then is kept: each row stands for itself.
    """
    read = SourcesRead()
    try:
        for source in site.settings.sources:
            _read(read, source, site.settings.database, progress)
    except BaseException:
        read.close()
        raise
    return read


def _read(read: SourcesRead, source: Source, database: str, progress: ProgressSink | None) -> None:
    reading = None
    try:
        reading = read_source(source, default_database=database)
        read.add(source, _watched(reading, source, progress))
    except (SourceUnusable, UsageError) as error:
        read.errors.append(error)
        read.unread.append(source.name)
        read.knows_all_references = read.knows_all_references and not source.references
    if reading is not None:
        read.counts[source.name] = SourceCount(reading.rows, reading.skipped)


def _watched(rows: Iterable[SourceRow], source: Source, progress: ProgressSink | None) -> Iterator[SourceRow]:
    for number, row in enumerate(rows, start=1):
        if progress is not None and number % _TOLD_EVERY == 0:
            progress(Progress("evidence", number, None, source.name))
        yield row
