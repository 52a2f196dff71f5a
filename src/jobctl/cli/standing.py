"""How a store stands, for the commands that show it: placed on this call's store, on a screen, watched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import typer

from jobctl.cli.context import Call
from jobctl.cli.output import Format
from jobctl.errors import UsageError
from jobctl.model.standing import Standing
from jobctl.report.standing_items import standing_blocks

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobctl.ops.site import Site

EVERY_S = 5.0
_LONGEST_S = 3_600.0
_LINES_OF_WATCH = 2


def refuse_json(call: Call, what: str) -> None:
    """Raise ``UsageError`` where something that goes on is to answer with one JSON object."""
    if call.output.format is not Format.TEXT:
        raise UsageError(
            f"{what} is for people, and JSON is one answer",
            hint="ask again and again: jobctl status --json; or let Prometheus ask: jobctl metrics serve",
        )


def seconds_argument(help_text: str) -> Any:
    """How often to look again, in seconds."""
    return typer.Argument(metavar="[SECONDS]", min=1, max=_LONGEST_S, callback=_a_number, help=help_text)


def _a_number(seconds: float | None) -> float | None:
    """Refuse nan, which no range that is checked excludes."""
    if seconds is not None and math.isnan(seconds):
        raise typer.BadParameter("nan is no number of seconds")
    return seconds


def placed(call: Call, found: Standing) -> Standing:
    """The commands it names work on the store and the configuration of this call."""
    place = call.output.placed_diagnosis
    found.troubles = [each._replace(diagnosis=place(each.diagnosis)) for each in found.troubles]
    return found


def screen(call: Call, found: Standing, *, besides: int = 0) -> list[RenderableType]:
    """One screen, but for some lines ``besides`` it."""
    from jobctl.report.standing_screen import standing_screen  # noqa: PLC0415 - rich is only for terminals

    output = call.output
    return list(
        standing_screen(
            found,
            width=output.width,
            height=output.height - besides,
            place=output.placed,
            is_whole=output.is_verbose,
        )
    )


def watch_standing(call: Call, site: Site, *, every_s: float) -> Standing | None:
    """Look again and again until Ctrl-C; what was seen last."""
    from jobctl.cli.watching import watch  # noqa: PLC0415 - only where it is asked for
    from jobctl.ops.standing import look  # noqa: PLC0415 - SQLAlchemy is slow to import

    return watch(
        call.output,
        lambda: placed(call, look(site)),
        lambda seen: screen(call, seen, besides=_LINES_OF_WATCH),
        standing_blocks,
        every_s=every_s,
    )
