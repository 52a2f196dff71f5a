"""Commands as messages name them: whole, so that a person can copy them into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from jobctl.model.names import to_shown

_NO_UTF8 = 0xDC80
"""The first of the characters that stand for bytes of a name which are no UTF-8."""

_FURTHER_WORDS = {
    "duplicates": "duplicates --quarantine",
    "import": "import FILE",
    "quarantine restore": "quarantine restore WHAT",
}


def shell_line(words: Iterable[str]) -> str:
    """A command line of these words."""
    return " ".join(map(shell_word, words))


def shell_word(text: str) -> str:
    """``text`` as one word of a command line.

    What is invisible in it is written out, in the form from which bash makes it again.
    """
    if to_shown(text) == text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(map(_written_out, escaped))}'"


def _written_out(char: str) -> str:
    code = ord(char)
    if to_shown(char) == char:
        return char
    if _NO_UTF8 <= code <= _NO_UTF8 + 0x7F:
        return f"\\x{code - _NO_UTF8 + 0x80:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def show_command(job_id: str) -> str:
    """The command that shows a job."""
    return f"jobctl show {shell_word(job_id)}"


def planning_command(command: str) -> str:
    """How a command that makes a plan is called so that it makes one: some need a further word for that."""
    return f"jobctl {_FURTHER_WORDS.get(command, command)}"
