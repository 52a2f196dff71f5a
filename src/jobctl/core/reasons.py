"""Why jobs failed: as one text, and in words that many of them have in common. Pure."""

from __future__ import annotations

import re

UNTELLING_CODES = frozenset({"", "error"})
"""What says no more than that a job failed."""

_READ, _LONGEST = 400, 120
_MOST_DIGITS = 3
_GONE = "…"
_WORD = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
# A number by itself, perhaps with a unit: 502, 1.5, 12s.
_NUMBER = re.compile(r"\d[\d.,:_]*[A-Za-z%]{0,3}")
# One within a name: renderer-7, slide_12; not h264.
_COUNTED = re.compile(r"(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])")
_REPEATED = re.compile(rf"{_GONE}(?: {_GONE})+")


def failure_said(code: str | None, error: str | None) -> str:
    """An error and its code as one text; an exception's name is told once, as is ``interrupted at 75 %``."""
    says_it = code and error and (names(error, code) or error.startswith(f"{code} "))
    return str(error) if says_it else ": ".join(filter(None, (code, error)))


def names(error: str, code: str) -> bool:
    """Whether an error begins with its code, as that of an exception does."""
    return error == code or error.startswith(f"{code}:")


def gist_of(error: str) -> str:
    """The first line of an error without what differs from job to job: numbers, ids and paths.

    ``slide 7 of /srv/a.mp4 timed out`` becomes ``slide … of /… timed out``.
    """
    first = error[:_READ].strip().partition("\n")[0]
    gist = _REPEATED.sub(_GONE, " ".join(map(_common, first.split())))
    return gist if len(gist) <= _LONGEST else f"{gist[: _LONGEST - 1]}{_GONE}"


def _common(word: str) -> str:
    found = _WORD.fullmatch(word)
    if found is None or not found[2]:
        return word
    before, core, after = found.groups()
    is_path, is_id = "/" in before + core, sum(map(str.isdigit, core)) > _MOST_DIGITS
    is_own = is_path or is_id or _NUMBER.fullmatch(core)
    return f"{before}{_GONE if is_own else _COUNTED.sub(_GONE, core)}{after}"
