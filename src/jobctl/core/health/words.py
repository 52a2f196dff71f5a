"""How diagnoses speak of ages, and of names in commands."""

from __future__ import annotations

import shlex
from datetime import timedelta

from jobctl.durations import spoken_duration
from jobctl.model.names import to_shown

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_NO_UTF8 = 0xDC80
"""The first of the characters that stand for bytes of a name which are no UTF-8."""


def span(seconds: float) -> str:
    """Write ``2 h 5 min``, ``40 s``, ``3 d``: seconds below a minute, minutes below a day, else hours."""
    whole = max(0, int(seconds))
    for beyond, step in ((_DAY_S, _HOUR_S), (_MINUTE_S, _MINUTE_S)):
        if whole >= beyond:
            whole -= whole % step
    return spoken_duration(timedelta(seconds=whole))


def shell_word(text: str) -> str:
    """``text`` as one word of a command line that is printed to be copied into a shell.

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
