"""What is not well, the worst first: what was found, and below it what to run, ready to be copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jobctl.model.health import Health
from jobctl.model.names import to_shown
from jobctl.model.standing import Trouble
from jobctl.report.columns import cut
from jobctl.report.shell_lines import commands_of, fits, shell_lines

HEALTH_STYLES = {
    Health.OK: "green",
    Health.WARN: "yellow",
    Health.FAIL: "bold red",
    Health.UNKNOWN: "magenta",
}
GAP = (0, 2, 0, 0)
_BROKEN_LINES = 1.1
HEALTH_WIDTH = max(len(each) for each in Health)
_LONGEST_SUBJECT = 13
_INDENT = 2


class Room(NamedTuple):
    """The columns of a screen: ``beside`` what is not well there stand ``words`` columns of text."""

    width: int
    subject: int

    @property
    def words(self) -> int:
        """The columns right of what the trouble is about."""
        return max(20, self.width - HEALTH_WIDTH - self.subject - 2 * GAP[1])


def room_for(troubles: Iterable[Trouble], width: int) -> Room:
    """How a screen of this width is shared out."""
    longest = max((cell_len(_subject(each)) for each in troubles), default=0)
    return Room(width, longest)


def lines_of(words: Text, width: int) -> int:
    """How many lines a text takes, at most: words that go on in the next line leave some of it empty."""
    return max(1, -(-int(cell_len(words.plain) * _BROKEN_LINES) // max(1, width)))


def fitting(troubles: Sequence[Trouble], width: int, lines: int) -> Sequence[Trouble]:
    """The worst troubles, as many as there is room for; one at least."""
    room, taken = room_for(troubles, width), 0
    for number, each in enumerate(troubles):
        taken += lines_of(_said(each, room), room.words) + _lines_to_do(each, room)
        is_last = number == len(troubles) - 1
        if number and taken + (not is_last) > lines:
            return troubles[:number]
    return troubles


def trouble_rows(shown: Sequence[Trouble], width: int, *, is_whole: bool = False) -> Iterator[RenderableType]:
    """Each trouble with what to do about it. ``is_whole``: all that was found, however long that is."""
    room = room_for(shown, width)
    for each in shown:
        health = each.diagnosis.health
        advice, commands = _to_do(each, room)
        grid = Table.grid(padding=GAP)
        grid.add_column(width=HEALTH_WIDTH, no_wrap=True)
        grid.add_column(width=room.subject, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(
            Text(health.value, HEALTH_STYLES[health]),
            Text(_subject(each)),
            _said(each, room, is_whole=is_whole),
        )
        for words in advice:
            grid.add_row("", "", words)
        yield grid
        # No cell of a table: that is filled up with blanks, and one behind a "\\" breaks what is copied.
        yield from commands


def commands_below(command: str, width: int, indent: int = 0) -> list[Text]:
    """A command, or several, each on lines of its own, ``width`` columns from ``indent`` on."""
    return [
        Text.assemble(" " * indent, (to_shown(line), "bold"), overflow="fold")
        for each in commands_of(command)
        for line in shell_lines(each, width)
    ]


def _subject(each: Trouble) -> str:
    return cut(each.subject, _LONGEST_SUBJECT)


def _said(each: Trouble, room: Room, *, is_whole: bool = False) -> Text:
    said = each.diagnosis.said
    return Text(to_shown(said) if is_whole else cut(said, max(40, 2 * room.words)))


def _to_do(each: Trouble, room: Room) -> tuple[list[Text], list[Text]]:
    """What looks closer or mends it: advice that stands in the column of words, and commands below it.

    Neither is ever cut: half of it is worse than none. A command too long for that column has all the width.
    """
    _, _, fix, command = each.diagnosis
    if not command:
        return [Text(to_shown(fix), "dim")] if fix else [], []
    if all(fits(to_shown(one), room.words) for one in commands_of(command)):
        return [], commands_below(command, room.words, room.width - room.words)
    return [], commands_below(command, room.width - _INDENT, _INDENT)


def _lines_to_do(each: Trouble, room: Room) -> int:
    advice, commands = _to_do(each, room)
    return sum(lines_of(words, room.words) for words in advice) + sum(
        max(1, -(-cell_len(words.plain) // room.width)) for words in commands
    )
