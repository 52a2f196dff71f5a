"""``jobctl top``: what runs, waits and failed, while you look."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.standing import EVERY_S, refuse_json, seconds_argument, watch_standing
from jobctl.errors import ExitCode

if TYPE_CHECKING:
    from jobctl.ops.site import Site

_EVERY_S = 2.0
_CALM = {"TEXTUAL_FPS": "10", "TEXTUAL_ANIMATIONS": "none"}
"""Read by Textual when it is imported. A slow line is not filled with what nobody can read."""
_CANNOT_DRAW = frozenset({"", "dumb", "unknown"})


def top(
    context: typer.Context,
    *,
    seconds: Annotated[float | None, seconds_argument("How often to look; 2 if not told.")] = None,
) -> ExitCode:
    """Watch queues, jobs, workers and failures live; retry and cancel jobs, asked first.

    Where there is no terminal to draw on, it is 'jobctl status --watch'.
    """
    call = call_of(context)
    refuse_json(call, "top")
    with call.open_site() as site:
        if not _can_draw(call):
            watch_standing(call, site, every_s=seconds or EVERY_S)
            return ExitCode.CLEAN
        return _run(site, seconds or _EVERY_S)


def _can_draw(call: Call) -> bool:
    has_terminal = call.output.is_terminal and sys.stdin.isatty()
    return has_terminal and os.environ.get("TERM", "") not in _CANNOT_DRAW


def _run(site: Site, every_s: float) -> ExitCode:
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    from jobctl.ops.live import LiveSource  # noqa: PLC0415 - SQLAlchemy is slow to import
    from jobctl.report.top.app import Top  # noqa: PLC0415 - Textual is slow to import

    view = Top(LiveSource(site), every_s=every_s, stale_after_s=site.settings.stale_after_s)
    view.run()
    if view.fault is not None:
        raise view.fault
    return ExitCode.TERMINATED if view.return_code else ExitCode.CLEAN
