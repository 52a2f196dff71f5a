"""Tasks that use what a handler is given."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jobctl


@jobctl.task("logs")
def logs(attempt: jobctl.Attempt) -> None:
    attempt.log.warning("drawing slide %d", 3)


@jobctl.task("awaits")
async def awaits(attempt: jobctl.Attempt) -> None:
    place = Path(attempt.payload)
    (place / "began").touch()
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        (place / "cancelled").touch()
        raise
