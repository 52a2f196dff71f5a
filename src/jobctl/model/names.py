r"""File names as text that every database, terminal and JSON reader can hold.

Inside jobctl a path is what ``os.fsdecode`` gives: text in which each byte that is not
UTF-8 stands as a lone surrogate (PEP 383). Databases and JSON refuse lone surrogates, so
the *stored form* writes such a byte as ``\xNN`` and a backslash as ``\\``. It is
reversible, and equal to the name itself for every ordinary name.
"""

from __future__ import annotations

import re

_NEEDS_ESCAPE = re.compile("[\\\\\udc80-\udcff]")
_ESCAPED = re.compile(r"\\(?:\\|x([89a-f][0-9a-f]))")
# C0, DEL, C1, zero-width and bidirectional controls, line and paragraph separators.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def to_stored(path: str) -> str:
    """The stored form of a path as ``os.fsdecode`` gives it."""
    if "\\" not in path and path.isascii():
        return path
    return _NEEDS_ESCAPE.sub(_escape, path)


def from_stored(text: str) -> str:
    """The path whose stored form is ``text``. Raises ``ValueError`` on a stray backslash."""
    if "\\" not in text:
        return text
    if "\\" in _ESCAPED.sub("", text):
        raise ValueError(f"not a stored path: {text!r}")
    return _ESCAPED.sub(_unescape, text)


def is_utf8(path: str) -> bool:
    """Whether the name's bytes are UTF-8, so that JSON can carry it as it is."""
    return path.isascii() or not any("\udc80" <= char <= "\udcff" for char in path)


def to_shown(text: str) -> str:
    r"""``text`` for a terminal: control, invisible and bidirectional characters as ``\x1b``, ``\u202e``."""
    return _UNPRINTABLE.sub(_show, text)


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return "\\\\" if char == "\\" else f"\\x{ord(char) - 0xDC00:02x}"


def _unescape(match: re.Match[str]) -> str:
    digits = match.group(1)
    if digits is None:
        return "\\"
    byte = int(digits, 16)
    return chr(0xDC00 + byte)


def _show(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
