"""Brakes: how much one run may take away before a person has to say so. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

from jobctl.model.plan import MOVES, Action, Held

Pool = tuple[str, str]
"""What a brake judges together: category and root id, each empty for none."""

_FLOOR = 20
_SHARE = 0.10
_MOST = 1_000
_SURGE = 3
_LIKE_RUNS = 5


class Tally(NamedTuple):
    """How much of one pool a plan would take away. Bytes of files."""

    jobs: int = 0
    files: int = 0
    bytes: int = 0

    def plus(self, action: Action) -> Tally:
        """With one step more."""
        if action.verb not in MOVES:
            return self._replace(jobs=self.jobs + 1)
        size = action.expect_file.size if action.expect_file else 0
        return self._replace(files=self.files + 1, bytes=self.bytes + size)

    def joined(self, other: Tally) -> Tally:
        """With what is taken from another pool."""
        return Tally(self.jobs + other.jobs, self.files + other.files, self.bytes + other.bytes)

    @property
    def items(self) -> int:
        """How many that are, a job and its file being one."""
        return max(self.jobs, self.files)


class Stock(NamedTuple):
    """What there is below one root: live jobs and files."""

    jobs: int
    files: int


class Limits(NamedTuple):
    """What a caller sets: bytes of one pool, and how many items of a category this one run may take."""

    max_bytes: int | None = None
    allowed: Mapping[str, int] = MappingProxyType({})


def pool_of(action: Action) -> Pool:
    """What a step is judged with. A job is counted where its record says that its files are."""
    category = action.category or ""
    if action.verb in MOVES:
        return category, action.root_id or ""
    return category, (action.job_before or {}).get("root_id") or ""


def by_category(tallies: Mapping[Pool, Tally]) -> dict[str, Tally]:
    """What a plan takes of each category, from all pools together."""
    taken: dict[str, Tally] = {}
    for (category, _), tally in tallies.items():
        taken[category] = taken.get(category, Tally()).joined(tally)
    return taken


def why_held(
    pool: Pool, tally: Tally, stock: Stock, past: Sequence[int], limits: Limits, *, in_all: Tally
) -> Held | None:
    """The brake on what a plan takes from one pool, or ``None``.

    ``past`` counts the items that earlier runs of the command took of the category; ``in_all``: what this
    one takes of it from all pools, which is what a caller allows.
    """
    category, root_id = pool
    if limits.allowed.get(category, 0) >= in_all.items:
        return None
    reason = _too_many_bytes(tally, limits.max_bytes) or _too_many(tally, stock, past)
    if reason is None:
        return None
    return Held(category, root_id, tally.jobs, tally.files, tally.bytes, reason, in_all.items)


def _too_many_bytes(tally: Tally, max_bytes: int | None) -> str | None:
    if max_bytes is None or tally.bytes <= max_bytes:
        return None
    return f"{tally.bytes:,} bytes in one run, more than {max_bytes:,}"


def _too_many(tally: Tally, stock: Stock, past: Sequence[int]) -> str | None:
    if tally.items <= _FLOOR:
        return None
    for count, of, what in ((tally.jobs, stock.jobs, "jobs"), (tally.files, stock.files, "files")):
        if count > _FLOOR and count > of * _SHARE:
            return f"{count:,} of {of:,} {what}, more than one in ten"
    if tally.items > _MOST:
        return f"{tally.items:,} items in one run, more than {_MOST:,}"
    if len(past) >= _LIKE_RUNS and tally.items > _SURGE * median(past):
        return (
            f"{tally.items:,} items, more than {_SURGE} times the {median(past):,.0f} "
            f"of the last {len(past)} runs"
        )
    return None
