"""Whether a history is one that the promises of the runner allow. Reads only the history and the ledger.

The ledger is written by the handlers themselves, a line and an fsync for each side effect, and
knows nothing of the store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from jobctl.model.status import ENDED, TRANSITIONS, Cause, Status

PUBLISHED = "published"
"""What a step leads to that changes no status: a file of the attempt was accepted as the job's."""


class Step(NamedTuple):
    """One line of a job's history: a change of its status, or a publication."""

    job_id: str
    attempt: int | None
    before: str | None
    after: str
    cause: str | None


class Entry(NamedTuple):
    """One line of the ledger: an attempt began (``begin``), or did what it was to do (``done``)."""

    what: str
    job_id: str
    attempt: int


def violations(jobs: Iterable[str], history: Iterable[Step], ledger: Iterable[Entry]) -> list[str]:
    """Every promise that was broken, in words."""
    steps, entries = defaultdict[str, list[Step]](list), defaultdict[str, list[Entry]](list)
    for step in history:
        steps[step.job_id].append(step)
    for entry in ledger:
        entries[entry.job_id].append(entry)
    wanted = set(jobs)
    found = [f"{job_id}: nobody enqueued it" for job_id in (steps.keys() | entries.keys()) - wanted]
    for job_id in sorted(wanted):
        found += [f"{job_id}: {said}" for said in _of_job(steps[job_id], entries[job_id])]
    return found


def _of_job(steps: Sequence[Step], entries: Sequence[Entry]) -> Iterator[str]:
    changes = [step for step in steps if step.after != PUBLISHED]
    if not changes:
        yield "it is lost"
        return
    yield from _order(changes)
    yield from _numbers(changes)
    yield from _end(changes)
    yield from _publications(steps)
    yield from _effects(steps, entries)


def _order(steps: Sequence[Step]) -> Iterator[str]:
    """Each step begins where the one before ended, and is one the table allows."""
    if (steps[0].before, steps[0].after) != (None, Status.QUEUED):
        yield f"its history begins with {steps[0].after}"
    for before, step in pairwise(steps):
        if step.before != before.after:
            yield f"{step.after} came from {step.before}, when it was {before.after}"
        allowed = TRANSITIONS.get((Status(step.before or "queued"), Status(step.after)), frozenset())
        if step.cause not in {cause.value for cause in allowed}:
            yield f"{step.before} to {step.after} by {step.cause} is not allowed"


def _numbers(steps: Sequence[Step]) -> Iterator[str]:
    """Attempts are numbered one after the other, and only the current one ends."""
    current = 0
    for step in steps:
        if step.after == Status.PROCESSING:
            if step.attempt != current + 1:
                yield f"attempt {step.attempt} followed attempt {current}"
            current = step.attempt or 0
        elif step.before == Status.PROCESSING and step.attempt != current:
            yield f"attempt {step.attempt} ended it, when attempt {current} held it"


def _end(steps: Sequence[Step]) -> Iterator[str]:
    """It ended once, and nothing came after."""
    ends = [step for step in steps if step.after in ENDED]
    if len(ends) != 1:
        yield f"it ended {len(ends)} times"
    elif steps[-1].after not in ENDED:
        yield f"it ended, and is {steps[-1].after}"


def _publications(steps: Sequence[Step]) -> Iterator[str]:
    """A file was accepted only from the attempt that held the job just then."""
    holds: int | None = None
    for step in steps:
        if step.after == PUBLISHED:
            if step.attempt is None or step.attempt != holds:
                yield f"a file of attempt {step.attempt} was accepted, when {holds or 'none'} held it"
        else:
            holds = step.attempt if step.after == Status.PROCESSING else None


def _effects(steps: Sequence[Step], entries: Sequence[Entry]) -> Iterator[str]:
    """Nothing ran that was not claimed, nothing ran twice, and what completed was done.

    An attempt whose process ended after its video was accepted has done what it was to do, though it
    could not write so any more.
    """
    claimed = {step.attempt for step in steps if step.after == Status.PROCESSING}
    for (what, attempt), count in Counter((entry.what, entry.attempt) for entry in entries).items():
        if attempt not in claimed:
            yield f"attempt {attempt} ran and was never claimed"
        if count > 1:
            yield f"attempt {attempt} wrote {what!r} {count} times"
    done = {entry.attempt for entry in entries if entry.what == "done"}
    done |= {step.attempt for step in steps if step.after == PUBLISHED and step.attempt is not None}
    for step in steps:
        if step.after == Status.COMPLETED and step.cause == Cause.EXECUTOR and step.attempt not in done:
            yield f"attempt {step.attempt} completed it and never did it"
