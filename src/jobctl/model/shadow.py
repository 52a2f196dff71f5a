"""Dual writing: what a service that writes a dict and a store has told of itself in its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from jobctl.model.job import Executor


class Differing(NamedTuple):
    """A job of which dict and store say different things, and why that was not settled."""

    job_id: str
    why: str


@dataclass(slots=True)
class Compared:
    """What a full comparison of dict and store came to. ``only_in_store``: jobs the dict does not have."""

    same: int = 0
    replayed: int = 0
    differing: list[Differing] = field(default_factory=list)
    only_in_store: int = 0

    @property
    def jobs(self) -> int:
        """How many jobs of the dict were looked at."""
        return self.same + self.replayed + len(self.differing)


@dataclass(slots=True)
class ShadowState:
    """One process that writes both, as its journal tells. ``dirty``: ids the store has still to learn of."""

    path: str
    executor: Executor
    begun: datetime
    reads: str
    store: str
    dirty: set[str] = field(default_factory=set)
    refused: int = 0
    compared: Compared | None = None
    compared_at: datetime | None = None
    is_closed: bool = False
    is_lost: bool = False
    """Whether the process is gone, and what was dirty then with it."""
