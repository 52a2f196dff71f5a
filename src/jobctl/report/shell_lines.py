"""Commands on a terminal: whole, so that they can be copied into a shell from wherever they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len

# Blanks within quotes are part of a word, and so is whatever a backslash stands before.
_WORD = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s\\'"]|[\\'"])+""")
_GOES_ON = " \\"


def commands_of(command: str) -> list[str]:
    """The commands that follow each other in the one that a diagnosis names."""
    return command.split(" && ") if command else []


def fits(command: str, width: int) -> bool:
    """Whether a command stands on one line."""
    return cell_len(command) <= width


def shell_lines(command: str, width: int) -> Iterator[str]:
    """A command as lines no wider than that, which a shell takes for the one command that they are.

    Broken only between words; a word that is longer than all a line holds stays in one piece.
    """
    if fits(command, width):
        yield command
        return
    words: list[str] = []
    for word in _WORD.findall(command):
        if words and not fits(" ".join([*words, word]), width - len(_GOES_ON)):
            yield " ".join(words) + _GOES_ON
            words = []
        words.append(word)
    yield " ".join(words)
