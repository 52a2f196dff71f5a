"""Billing: completed jobs and minutes of video by owner. Pure.

A job counts when it was first completed, and once, however often it was recovered or taken back
since. A new job under an old id, after the old one expired, is another one. What a recovery found
twice, the same bytes under a second id, is told and not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from jobctl.model.plan import Verb
from jobctl.model.status import Status

_TAKES_BACK_COMPLETION = frozenset({Verb.FORGET.value, Verb.REVERT.value})


class Milestone(NamedTuple):
    """A line of the history that begins, completes or takes back a job, with what its record says now.

    Those of one job follow each other, in their order. ``seconds`` and ``sha256`` are of its video,
    where that was verified; ``completed_at`` is the record's own.
    """

    job_id: str
    at: str
    kind: str
    from_status: str
    to_status: str
    verb: str
    owner: str | None
    completed_at: str | None
    seconds: float | None
    sha256: str | None


class Billed(NamedTuple):
    """One completed job. ``seconds`` of its video, where they are known."""

    job_id: str
    owner: str | None
    at: str
    seconds: float | None
    sha256: str | None
    is_recovered: bool


@dataclass(slots=True)
class Bill:
    """What one owner had completed.

    ``unknown``: jobs whose minutes nobody measured: they are in ``jobs``, and not in ``seconds``.
    ``recovered``: jobs whose record was rebuilt. ``copies``: not in ``jobs``.
    """

    owner: str | None
    jobs: int = 0
    seconds: float = 0.0
    unknown: int = 0
    recovered: int = 0
    copies: int = 0

    @property
    def minutes(self) -> float:
        """Minutes of video that were measured."""
        return self.seconds / 60


def billed(milestones: Iterable[Milestone]) -> Iterator[Billed]:
    """Every completed job, once for each time that it was made."""
    for _, lines in groupby(milestones, key=attrgetter("job_id")):
        yield from _of_job(list(lines))


def bills_of(jobs: Iterable[Billed], since: str, until: str) -> list[Bill]:
    """The bills of a period, by owner; those of nobody known come last."""
    bills: dict[str | None, Bill] = {}
    found = list(jobs)
    copies = _copies(found)
    for job in found:
        if not since <= job.at < until:
            continue
        bill = bills.setdefault(job.owner, Bill(job.owner))
        if (job.job_id, job.at) in copies:
            bill.copies += 1
        else:
            _add(bill, job)
    return sorted(bills.values(), key=lambda bill: (bill.owner is None, bill.owner or ""))


def _of_job(lines: list[Milestone]) -> Iterator[Billed]:
    current: Milestone | None = None
    done: list[Milestone] = []
    for line in lines:
        if _begins(line):
            done += [current] if current else []
            current = None
        if line.to_status == Status.COMPLETED:
            current = current or line
        elif line.kind == "undone" and line.verb in _TAKES_BACK_COMPLETION:
            current = None
    for line in done:
        # Of an earlier job under this id nothing is left but its history.
        yield Billed(line.job_id, line.owner, line.at, None, None, is_recovered=line.kind == "recovered")
    if current is not None:
        yield _last(current)


def _begins(line: Milestone) -> bool:
    return line.kind == "created" and line.from_status == Status.EXPIRED


def _last(line: Milestone) -> Billed:
    """A recovery comes after the fact: the record it made tells when the job was completed."""
    is_told_later = line.kind in {"recovered", "imported"} or bool(line.verb)
    at = (line.completed_at or line.at) if is_told_later else line.at
    return Billed(
        line.job_id, line.owner, at, line.seconds, line.sha256, is_recovered=line.kind == "recovered"
    )


def _copies(jobs: list[Billed]) -> set[tuple[str, str]]:
    """The recovered jobs whose bytes another job has: one that was asked for, or the first of them."""
    first: dict[str, Billed] = {}
    copies = set()
    for job in sorted(jobs, key=lambda job: (job.is_recovered, job.at, job.job_id)):
        if job.sha256 is None:
            continue
        if job.sha256 not in first:
            first[job.sha256] = job
        elif job.is_recovered:
            copies.add((job.job_id, job.at))
    return copies


def _add(bill: Bill, job: Billed) -> None:
    bill.jobs += 1
    bill.recovered += job.is_recovered
    if job.seconds is None:
        bill.unknown += 1
    else:
        bill.seconds += job.seconds
