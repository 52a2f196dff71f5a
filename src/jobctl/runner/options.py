"""How a worker works, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works. Times in seconds."""

    queues: tuple[str, ...] = ("default",)
    slots: int = 1
    isolation: str = "process"
    modules: tuple[str, ...] = ()
    is_burst: bool = False
    lease_s: float = 10.0
    grace_s: float = 30.0


class Voice(NamedTuple):
    """Where a worker tells what it does: what an operator must see, and the details."""

    say: Say
    detail: Say
