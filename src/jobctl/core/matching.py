"""Which remote render belongs to which job. Pure.

One to one, or nothing: a render that fits two jobs, or a job that two renders fit, is told
and left to an operator. A stronger proof decides before a weaker one is looked at, and what
it left in doubt no weaker one decides.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from jobctl.core.layout import JOB_ID, UUID
from jobctl.model.renders import Proof, Render

START_WITHIN = timedelta(seconds=120)
"""How long after a job began its render is made, at most, to be told by the time alone."""
_CLOCK_SKEW = timedelta(seconds=5)
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_BY_STRENGTH = (Proof.LOG, Proof.NAME, Proof.TIME)
_UUID = re.compile(UUID)
_TOKEN = re.compile(JOB_ID)
# A shorter word may stand in a name by chance.
_SHORTEST_TOKEN = 8


class JobClue(NamedTuple):
    """What is known of one job that may have had a render. ``remote_ids``: those a log names for it."""

    job_id: str
    remote_ids: frozenset[str] = frozenset()
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def began_at(self) -> datetime | None:
        """When work on it began, as far as that is known."""
        return self.started_at or self.created_at


class Match(NamedTuple):
    """A render, its job, and what ties them."""

    remote_id: str
    job_id: str
    proof: Proof


class Doubt(NamedTuple):
    """Renders and jobs that fit each other and not one to one, all by the same proof."""

    remote_ids: tuple[str, ...]
    job_ids: tuple[str, ...]
    proof: Proof

    @property
    def sentence(self) -> str:
        """What fits what, for an operator."""
        if len(self.job_ids) == 1:
            fits = f"{len(self.remote_ids)} renders fit job {self.job_ids[0]}"
            return f"{fits}: {_listed(self.remote_ids)} ({self.proof.meaning})"
        fits = f"render {self.remote_ids[0]} fits {len(self.job_ids)} jobs"
        return f"{fits}: {_listed(self.job_ids)} ({self.proof.meaning})"


class Matching(NamedTuple):
    """What belongs together, and what cannot be told, both in a fixed order."""

    matches: list[Match]
    doubts: list[Doubt]


@dataclass(slots=True)
class _Pairs:
    """What fits by one proof, seen from both sides."""

    jobs: dict[str, set[str]] = field(default_factory=dict)
    renders: dict[str, set[str]] = field(default_factory=dict)

    def add(self, remote_id: str, job_id: str) -> None:
        self.jobs.setdefault(remote_id, set()).add(job_id)
        self.renders.setdefault(job_id, set()).add(remote_id)


class _Renders:
    """The renders, to be looked up by id, by what their names hold, and by time."""

    def __init__(self, renders: Iterable[Render], within: timedelta) -> None:
        by_id = {render.remote_id: render for render in renders}
        self.ids = frozenset(by_id)
        self.within = within
        self.named: dict[str, set[str]] = {}
        for render in by_id.values():
            for word in _words_of(render):
                self.named.setdefault(word, set()).add(render.remote_id)
        dated = sorted((render.created_at, key) for key, render in by_id.items() if render.created_at)
        self.moments = [moment for moment, _ in dated]
        self.dated_ids = [key for _, key in dated]

    def fitting(self, clue: JobClue) -> Iterator[tuple[Proof, str]]:
        """Every render that fits a job, with the proof; one the log names counts, listed or not."""
        if not self.ids.isdisjoint(clue.remote_ids):
            for remote_id in clue.remote_ids:
                yield Proof.LOG, remote_id
        for remote_id in self.named.get(clue.job_id, ()):
            yield Proof.NAME, remote_id
        for remote_id in self._made_at_its_begin(clue):
            yield Proof.TIME, remote_id

    def _made_at_its_begin(self, clue: JobClue) -> list[str]:
        began = clue.began_at
        if began is None or not _FIRST_YEAR <= began.year < _LAST_YEAR:
            return []
        latest = began + self.within
        if clue.ended_at is not None and clue.ended_at < latest - _CLOCK_SKEW:
            latest = clue.ended_at + _CLOCK_SKEW
        first = bisect_left(self.moments, began - _CLOCK_SKEW)
        return self.dated_ids[first : bisect_right(self.moments, latest)]


def match_renders(
    renders: Iterable[Render],
    clues: Iterable[JobClue],
    *,
    decided: Iterable[Match] = (),
    within: timedelta = START_WITHIN,
) -> Matching:
    """Say which render belongs to which job. ``clues`` names each job once; it is read only once.

    The order of neither matters. Jobs that need no render take part as well: a render that
    may be theirs is nobody else's for certain. What was ``decided`` before stays.
    """
    known = _Renders(renders, within)
    pairs = {proof: _Pairs() for proof in _BY_STRENGTH}
    for clue in clues:
        for proof, remote_id in known.fitting(clue):
            pairs[proof].add(remote_id, clue.job_id)
    result = Matching(sorted(decided), [])
    settled = {match.remote_id for match in result.matches}
    served = {match.job_id for match in result.matches}
    for proof in _BY_STRENGTH:
        left = _without(pairs[proof], settled, served)
        result.matches.extend(match for match in _matches(left, proof) if match.remote_id in known.ids)
        result.doubts.extend(_doubts(left, proof))
        settled |= left.jobs.keys()
        served |= left.renders.keys()
    return result


def _without(pairs: _Pairs, settled: set[str], served: set[str]) -> _Pairs:
    """The pairs of which neither side was decided, or left in doubt, by a stronger proof."""
    left = _Pairs()
    for remote_id in pairs.jobs.keys() - settled:
        for job_id in pairs.jobs[remote_id] - served:
            left.add(remote_id, job_id)
    return left


def _matches(pairs: _Pairs, proof: Proof) -> Iterator[Match]:
    for remote_id, jobs in sorted(pairs.jobs.items()):
        job_id = min(jobs)
        if len(jobs) == 1 and len(pairs.renders[job_id]) == 1:
            yield Match(remote_id, job_id, proof)


def _doubts(pairs: _Pairs, proof: Proof) -> Iterator[Doubt]:
    for remote_id, jobs in _crowded(pairs.jobs):
        yield Doubt((remote_id,), jobs, proof)
    for job_id, renders in _crowded(pairs.renders):
        yield Doubt(renders, (job_id,), proof)


def _crowded(side: Mapping[str, set[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, others in sorted(side.items()):
        if len(others) > 1:
            yield key, tuple(sorted(others))


def _words_of(render: Render) -> set[str]:
    """Everything in the name and the tags of a render that may be a job's id."""
    words: set[str] = set()
    for text in (render.name or "", *render.tags):
        words.update(_UUID.findall(text.lower()))
        words.update(word for word in _TOKEN.findall(text) if len(word) >= _SHORTEST_TOKEN)
    return words


def _listed(ids: tuple[str, ...], most: int = 5) -> str:
    rest = len(ids) - most
    return ", ".join(ids[:most]) + (f" and {rest} more" if rest > 0 else "")
