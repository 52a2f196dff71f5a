"""How a diagnosis looks: one line a check, and below that what is not well, why it matters and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobctl.model.amounts import counted
from jobctl.model.health import Examined, Health
from jobctl.model.names import to_shown
from jobctl.report.columns import Column
from jobctl.report.items import diagnosis_item

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMINED_COLUMNS: Sequence[Column[Examined]] = (
    Column(name="check", value=lambda one: one.check),
    Column(name="health", value=lambda one: one.diagnosis.health.value),
    Column(name="said", value=lambda one: one.diagnosis.said),
    Column(name="fix", value=lambda one: one.diagnosis.fix),
    Column(name="command", value=lambda one: one.diagnosis.command),
    Column(name="why", value=lambda one: one.why),
    Column(name="theme", value=lambda one: one.theme),
)
"""What a pipe gets of each check."""

CHECK_COLUMNS: Sequence[Column[Any]] = (
    Column(name="check", value=lambda check: check.name),
    Column(name="theme", value=lambda check: check.theme),
    Column(name="why", value=lambda check: check.why, may_wrap=True),
)
"""The columns of the list of checks."""


def examined_item(one: Examined) -> dict[str, Any]:
    """A check that was carried out, as JSON. ``seconds`` is how long it took."""
    return {
        "check": one.check,
        "theme": one.theme,
        "why": one.why,
        **diagnosis_item(one.diagnosis),
        "seconds": round(one.seconds, 3),
    }


def check_item(check: Any) -> dict[str, Any]:
    """A check, as JSON."""
    return {"check": check.name, "theme": check.theme, "why": check.why, "database": check.database}


def check_line(one: Examined, name_width: int) -> RenderableType:
    """The one line of a check, while the others go on."""
    from rich.table import Table  # noqa: PLC0415 - only where a person watches
    from rich.text import Text  # noqa: PLC0415

    from jobctl.report.trouble_rows import GAP, HEALTH_STYLES, HEALTH_WIDTH  # noqa: PLC0415

    grid = Table.grid(padding=GAP)
    grid.add_column(width=name_width, no_wrap=True, overflow="fold")
    grid.add_column(width=HEALTH_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    health = one.diagnosis.health
    found = Text(health.value, HEALTH_STYLES[health])
    grid.add_row(Text(to_shown(one.check)), found, Text(to_shown(one.diagnosis.said)))
    return grid


def troubles_screen(examined: Iterable[Examined], width: int) -> Iterator[RenderableType]:
    """What is to be done: each check that knows, the worst ones last, where they are seen."""
    from rich.text import Text  # noqa: PLC0415 - only where a person watches

    severity = list(Health)
    told = [one for one in examined if one.diagnosis.health is not Health.OK and _has_advice(one)]
    for one in sorted(told, key=lambda one: severity.index(one.diagnosis.health)):
        yield Text()
        yield from _advice(one, width)


def summary(counts: dict[str, int]) -> str:
    """All of it in one line."""
    ill = [
        f"{counts[health.value]:,} {health.value}" for health in reversed(Health) if _is_ill(health, counts)
    ]
    total = sum(counts.values())
    # "All is well" of nothing at all would be believed.
    found = ", ".join(ill) if ill else "all is well" if total else "none concerns this database"
    return f"{counted(total, 'check')}: {found}."


def _is_ill(health: Health, counts: dict[str, int]) -> bool:
    return health is not Health.OK and bool(counts.get(health.value))


def _has_advice(one: Examined) -> bool:
    return bool(one.diagnosis.fix or one.diagnosis.command) or one.diagnosis.health is not Health.UNKNOWN


def _advice(one: Examined, width: int) -> Iterator[RenderableType]:
    from jobctl.report.screen import line  # noqa: PLC0415 - rich is only for terminals
    from jobctl.report.trouble_rows import HEALTH_STYLES  # noqa: PLC0415

    health, said, fix, command = one.diagnosis
    yield line((health.value, HEALTH_STYLES[health]), f"  {one.check}: {said}")
    yield line((one.why, "dim"), indent=2)
    if fix:
        yield line(f"To do: {fix}.", indent=2)
    if command:
        yield from _to_run(command, width)


def _to_run(command: str, width: int) -> Iterator[RenderableType]:
    """Each command on lines of its own, to be copied whole."""
    from jobctl.report.screen import line  # noqa: PLC0415 - rich is only for terminals
    from jobctl.report.shell_lines import shell_lines  # noqa: PLC0415

    heading = "Run:   "
    for words in shell_lines(command, width - len(heading) - 2):
        yield line(heading, (words, "bold"), indent=2)
        heading = " " * len(heading)
