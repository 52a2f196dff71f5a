"""What is remembered of runs beside their journal."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class LastRun(NamedTuple):
    """How a command ended last. ``run_id``: the plan it applied, if any."""

    command: str
    host: str
    started_at: datetime
    finished_at: datetime
    exit_code: int
    error: str | None
    run_id: str | None
    counts: dict[str, int] | None
    succeeded_at: datetime | None
