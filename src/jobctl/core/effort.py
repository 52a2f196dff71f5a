"""How much work a regular expression can cause. Pure.

A matcher that backtracks tries, in the worst case, every way in which a pattern's
repetitions and alternatives can share out the text. Counting those ways ahead, from the
pattern alone, is what keeps a pattern from a configuration file harmless.
"""

from __future__ import annotations

import re

MOST_WAYS = 20_000_000
"""Three repetitions over a file name; trying them all takes a fraction of a second."""
_LONGEST_TEXT = 255
_REPEAT = re.compile(r"[*+?]|\{(?=[\d,])(\d*)(,?)(\d*)\}")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_OPENING = re.compile(r"\((?:\?(?::|=|!|P<[A-Za-z_]\w*>))?(?!\?)")


def why_costly(pattern: str) -> str | None:
    """Say why a pattern may take very long on a file name, or ``None``.

    The pattern must compile. Constructs whose work cannot be told from their text (back
    references, conditions, look-behind, flags) are refused as well.
    """
    try:
        ways = _Reader(pattern).alternatives()
    except ValueError as error:
        return str(error)
    if ways > MOST_WAYS:
        return f"it can be tried in more than {MOST_WAYS // 1_000_000} million ways"
    return None


class _Reader:
    """Reads a pattern from left to right; each method returns the ways of what it read."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def alternatives(self) -> int:
        ways = self._sequence()
        while self._peek() == "|":
            self._at += 1
            ways += self._sequence()
        return min(ways, MOST_WAYS + 1)

    def _sequence(self) -> int:
        ways = 1
        while self._peek() not in {"", "|", ")"}:
            ways = min(ways * self._repeated(self._atom()), MOST_WAYS + 1)
        return ways

    def _atom(self) -> int:
        char = self._peek()
        if char == "(":
            return self._group()
        if char == "[":
            return self._skip(_CLASS)
        if char == "\\":
            if self._pattern[self._at + 1] in "123456789":
                raise ValueError("it refers back to a group")
            self._at += 1
        self._at += 1
        return 1

    def _group(self) -> int:
        if _OPENING.match(self._pattern, self._at) is None:
            raise ValueError("only (…), (?:…), (?P<job_id>…), (?=…) and (?!…) are understood")
        self._skip(_OPENING)
        ways = self.alternatives()
        self._at += 1
        return ways

    def _repeated(self, ways: int) -> int:
        """The ways of an atom with what repeats it: every count, and the atom's ways in each round."""
        found = _REPEAT.match(self._pattern, self._at)
        if found is None:
            return ways
        self._at = found.end()
        if self._peek() in {"?", "+"}:
            self._at += 1
        fewest, most = _bounds(found)
        if ways == 1:
            return most - fewest + 1
        return (most - fewest + 1) * int(min(ways**most, MOST_WAYS + 1))

    def _skip(self, what: re.Pattern[str]) -> int:
        found = what.match(self._pattern, self._at)
        self._at = found.end() if found else self._at + 1
        return 1

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]


def _bounds(repeat: re.Match[str]) -> tuple[int, int]:
    """How often at least and at most; no text is longer than a file name."""
    if repeat[0] in {"*", "+"}:
        return int(repeat[0] == "+"), _LONGEST_TEXT
    if repeat[0] == "?":
        return 0, 1
    fewest, comma, most = repeat.groups()
    low = min(int(fewest or 0), _LONGEST_TEXT)
    high = low if not comma else int(most or _LONGEST_TEXT)
    return low, max(low, min(high, _LONGEST_TEXT))
