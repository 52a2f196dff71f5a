"""What tests of screens share: a moment, a job, names that mean harm, what a terminal makes of blocks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, RenderableType

GOLDEN = Path(__file__).parent.with_name("golden")
WIDTHS = (80, 160)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
JOB = "4ec967c0-30a9-5b7d-90a3-eb2a5eeb13eb"
VIDEO = f"presentation_{JOB}.mp4"
HOSTILE = "a\x1b[31m red\x1b[0m/[bold]b\nc\u202e\udcff.mp4"


class Screen(NamedTuple):
    """A name, and what makes its blocks for a width."""

    name: str
    blocks: Callable[[int], Iterable[RenderableType]]


def ago(**span: float) -> datetime:
    """So long before now."""
    return NOW - timedelta(**span)


def render(blocks: Iterable[RenderableType], width: int) -> str:
    """What a terminal of this width shows, without colours."""
    shown = io.StringIO()
    console = Console(file=shown, width=width, highlight=False, markup=False, emoji=False, color_system=None)
    for block in blocks:
        console.print(block)
    return "".join(f"{row.rstrip()}\n" for row in shown.getvalue().splitlines())
