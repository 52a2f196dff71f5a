"""The tally: what the history says, added up. Pure.

Every change of a status is one line of the history, and the tally is nothing but these lines
counted: by when, which kind of job, from what to what, and why. How many jobs have a status now is
what flowed into it less what flowed out. So a tally can always be made anew from the history, and
two tallies are added by adding their numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from jobctl.core.figures import Figure, Move, figures_of
from jobctl.core.histogram import bucket_of
from jobctl.model.status import Status
from jobctl.model.timestamps import parse_timestamp


class Grain(StrEnum):
    """How finely time is divided."""

    ALL = "all"
    MONTH = "month"
    DAY = "day"
    HOUR = "hour"

    @property
    def plural(self) -> str:
        """What sums of these periods are kept as that do not tell kinds and queues apart."""
        return f"{self.value}s"

    @property
    def length(self) -> int:
        """How much of a moment's text names the period it lies in."""
        return _LENGTHS[self]


_LABEL = 100
_LENGTHS = {
    Grain.ALL: 0,
    Grain.MONTH: len("2026-01"),
    Grain.DAY: len("2026-01-31"),
    Grain.HOUR: len("2026-01-31T23"),
}


class Change(NamedTuple):
    """One line of the history that changed a status. ``at`` as 27 characters, in UTC.

    ``origin`` is what kind of line it is (``created``, ``status``, ``recovered``, ``imported``, …);
    the empty text is no status: before a record was made, or after it was removed. ``wait_s``: how
    long a job that was taken had been due; ``run_s``: how long an attempt that ended took.
    """

    at: str
    job_kind: str
    queue: str
    owner: str | None
    origin: str
    from_status: str
    to_status: str
    cause: str = ""
    error_code: str = ""
    wait_s: float | None = None
    run_s: float | None = None

    @property
    def move(self) -> Move:
        """What decides on what it counts as."""
        return Move(self.origin, self.from_status, self.to_status, self.cause, self.error_code)


class Flow(NamedTuple):
    """What changes are counted by."""

    period: str
    job_kind: str
    queue: str
    origin: str
    from_status: str
    to_status: str
    cause: str
    error_code: str

    @property
    def move(self) -> Move:
        """What decides on what these changes count as."""
        return Move(*self[3:])


class Span(NamedTuple):
    """What durations are counted by. ``what`` is ``wait`` or ``run``; of a run, how it ended."""

    period: str
    job_kind: str
    queue: str
    what: str
    to_status: str
    bucket: int


class Share(NamedTuple):
    """What the jobs of owners are counted by."""

    period: str
    owner: str


@dataclass(slots=True)
class Durations:
    """How many durations there were, and their sum in seconds."""

    count: int = 0
    total_s: float = 0.0

    def add(self, count: int, total_s: float) -> None:
        self.count += count
        self.total_s += total_s


@dataclass(slots=True)
class Part:
    """An owner's part: its figures, how many attempts ended, and how long they took in all."""

    counts: Counter[Figure] = field(default_factory=Counter)
    runs: int = 0
    run_s: float = 0.0

    @classmethod
    def of_row(cls, values: Sequence[float]) -> Self:
        """From numbers in the order of ``as_row``."""
        *counts, runs, run_s = values
        found = {figure: int(count) for figure, count in zip(Figure, counts, strict=True) if count}
        return cls(Counter(found), int(runs), float(run_s))

    def as_row(self) -> tuple[float, ...]:
        """The count of each figure, then runs and seconds."""
        return (*(self.counts[figure] for figure in Figure), self.runs, self.run_s)

    def count(self, change: Change) -> None:
        """Count one change."""
        self.counts.update(figures_of(change.move))
        if change.run_s is not None:
            self.runs += 1
            self.run_s += change.run_s

    def add(self, other: Part) -> None:
        """Count what another part counted."""
        self.counts.update(other.counts)
        self.runs += other.runs
        self.run_s += other.run_s

    def without(self, other: Part) -> Part:
        """What is left once another part is taken away."""
        return Part(self.counts - other.counts, self.runs - other.runs, max(0.0, self.run_s - other.run_s))

    @property
    def changes(self) -> int:
        """All figures together: how much there was of this owner."""
        return self.counts.total()


@dataclass(slots=True)
class Tally:
    """Changes of one grain, counted. Owners are counted by the day, not by the hour."""

    grain: Grain
    flows: Counter[Flow] = field(default_factory=Counter)
    spans: dict[Span, Durations] = field(default_factory=dict)
    shares: dict[Share, Part] = field(default_factory=dict)

    def add(self, change: Change) -> None:
        """Count one change."""
        period = period_of(change.at, self.grain)
        self.flows[Flow(period, change.job_kind, change.queue, *change.move)] += 1
        if change.wait_s is not None:
            self._add_span(period, change, "wait", change.wait_s)
        if change.run_s is not None:
            self._add_span(period, change, "run", change.run_s)
        if change.owner is not None and self.grain is not Grain.HOUR:
            self.shares.setdefault(Share(period, change.owner), Part()).count(change)

    def _add_span(self, period: str, change: Change, what: str, seconds: float) -> None:
        span = Span(period, change.job_kind, change.queue, what, change.to_status, bucket_of(seconds))
        self.spans.setdefault(span, Durations()).add(1, seconds)

    def without_names(self) -> Tally:
        """The same, kinds and queues not told apart: what is asked for by time is a short answer then."""
        tally = Tally(self.grain)
        for flow, count in self.flows.items():
            tally.flows[flow._replace(job_kind="", queue="")] += count
        for span, each in self.spans.items():
            kept = tally.spans.setdefault(span._replace(job_kind="", queue=""), Durations())
            kept.add(each.count, each.total_s)
        return tally

    def by_status(self) -> dict[Status, int]:
        """How many jobs have each status, where the tally holds the whole history."""
        counts = dict.fromkeys(Status, 0)
        for flow, count in self.flows.items():
            if flow.to_status:
                counts[Status(flow.to_status)] += count
            if flow.from_status:
                counts[Status(flow.from_status)] -= count
        return counts

    def queued(self) -> Counter[str]:
        """How many jobs are queued in each queue, where the tally holds the whole history."""
        counts = Counter[str]()
        for flow, count in self.flows.items():
            counts[flow.queue] += count * (flow.to_status == Status.QUEUED)
            counts[flow.queue] -= count * (flow.from_status == Status.QUEUED)
        return counts


class Line(NamedTuple):
    """A line of the history as it is read, with what the durations follow from.

    ``before``: when the job's status changed last before; ``retry_after_s``: the pause that was
    decided on then; ``run_at``: when the job was to run at the earliest, as its record says now.
    """

    at: str
    job_kind: str
    queue: str
    owner: str | None
    origin: str
    from_status: str
    to_status: str
    cause: str
    error_code: str
    before: str | None
    retry_after_s: float | None
    run_at: str | None


def change_of(line: Line) -> Change:
    """What a line counts as."""
    wait_s = _wait_s(line) if line.to_status == Status.PROCESSING else None
    run_s = _between(line.before, line.at) if line.from_status == Status.PROCESSING else None
    owner = None if line.owner is None else label_of(line.owner)
    labels = (label_of(line.job_kind), label_of(line.queue), owner)
    told = (label_of(line.origin), line.from_status, line.to_status, label_of(line.cause))
    return Change(line.at, *labels, *told, label_of(line.error_code), wait_s, run_s)


def label_of(text: str) -> str:
    """``text`` as far as it is counted by: a name is short, and what is longer is none."""
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _wait_s(line: Line) -> float | None:
    """How long the job had been due: since it was queued, and since the moment it was queued for."""
    queued_s = _between(line.before, line.at)
    if queued_s is None:
        return None
    waited_s = queued_s - (line.retry_after_s or 0.0)
    # A later attempt has put another moment there.
    if line.run_at is not None and line.before is not None and line.before < line.run_at <= line.at:
        waited_s = min(waited_s, _between(line.run_at, line.at) or 0.0)
    return max(0.0, waited_s)


def _between(earlier: str | None, later: str) -> float | None:
    if earlier is None:
        return None
    return max(0.0, (parse_timestamp(later) - parse_timestamp(earlier)).total_seconds())


def period_of(at: str, grain: Grain) -> str:
    """The period a moment lies in, as the beginning of its text; empty for all of time."""
    return at[: grain.length]


def tally_of(changes: Iterable[Change]) -> dict[Grain, Tally]:
    """Changes counted in every grain."""
    tallies = {grain: Tally(grain) for grain in Grain}
    for change in changes:
        for tally in tallies.values():
            tally.add(change)
    return tallies
