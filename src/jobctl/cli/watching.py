"""Look again and again: on a screen of its own on a terminal, elsewhere one block after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from jobctl import clock
from jobctl.cli.output import Output, flush_answer
from jobctl.durations import age_said
from jobctl.errors import JobctlError
from jobctl.model.names import to_shown
from jobctl.model.timestamps import format_timestamp
from jobctl.report.columns import Column
from jobctl.store.redact import redact_url

if TYPE_CHECKING:
    from rich.console import RenderableType

SeenT = TypeVar("SeenT")
Blocks = Iterable[tuple[Sequence[Column[Any]], Iterable[Any]]]


def watch(
    output: Output,
    look: Callable[[], SeenT],
    screen: Callable[[SeenT], list[RenderableType]],
    blocks: Callable[[SeenT], Blocks],
    *,
    every_s: float,
) -> SeenT | None:
    """Look until Ctrl-C; what was seen last. A store that goes away is told, and looked for again."""
    if output.is_terminal:
        return _on_terminal(output, look, screen, every_s)
    return _elsewhere(output, look, blocks, every_s)


def _on_terminal(
    output: Output, look: Callable[[], SeenT], screen: Callable[[SeenT], list[RenderableType]], every_s: float
) -> SeenT | None:
    from rich.console import Group  # noqa: PLC0415 - rich is only for terminals
    from rich.text import Text  # noqa: PLC0415

    seen: SeenT | None = None
    seen_at = clock.monotonic()
    with suppress(KeyboardInterrupt), output.live() as show:
        # Not every terminal says that it goes: what 'docker exec' began stays behind without a word.
        while output.is_terminal:
            told: list[RenderableType] = []
            try:
                seen, seen_at = look(), clock.monotonic()
            except JobctlError as error:
                told = [Text(redact_url(to_shown(f"{error.message} ({error.hint})")), "bold red")]
                if seen is not None:
                    told.append(Text(f"As it was {age_said(clock.monotonic() - seen_at)} ago:", "dim"))
            told += screen(seen) if seen is not None else []
            foot = f"\n{clock.now().astimezone():%H:%M:%S}, every {every_s:g} s; Ctrl-C ends."
            show(Group(*told, Text(foot, "dim")))
            clock.sleep(every_s)
    return seen


def _elsewhere(
    output: Output, look: Callable[[], SeenT], blocks: Callable[[SeenT], Blocks], every_s: float
) -> SeenT | None:
    seen: SeenT | None = None
    with suppress(KeyboardInterrupt):
        while True:
            try:
                seen = look()
            except JobctlError as error:
                output.alert(f"{error.message} ({error.hint})")
            else:
                output.text(f"# {format_timestamp(clock.now())}\n")
                output.blocks(*blocks(seen))
                output.text("\n")
                flush_answer()
            clock.sleep(every_s)
    return seen
