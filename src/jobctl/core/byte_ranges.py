"""Byte ranges of a file as HTTP asks for them (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

MOST_RANGES = 16
"""More in one request are refused: nobody seeks in a video like that."""
_SPEC = re.compile(r"(?P<first>[0-9]{0,40})-(?P<last>[0-9]{0,40})")


class Span(NamedTuple):
    """The bytes from ``start`` to before ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Unsatisfiable(Exception):
    """None of the ranges lies within the file, or they are far too many."""


def spans_of(header: str, size: int) -> list[Span] | None:
    """The ranges a ``Range`` header asks for of a file of ``size`` bytes, in its order.

    Ranges that overlap become one. ``None`` for what is no list of byte ranges: the header is to
    be ignored then. Raises ``Unsatisfiable``.
    """
    unit, equals, listed = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    texts = [text for text in (part.strip() for part in listed.split(",")) if text]
    asked = [_asked(text, size) for text in texts]
    if not asked or any(each is _MALFORMED for each in asked):
        return None
    spans = [each for each in asked if each is not None]
    if not spans or len(texts) > MOST_RANGES:
        raise Unsatisfiable
    return _apart(spans)


_MALFORMED = Span(-1, -1)


def _asked(text: str, size: int) -> Span | None:
    """One range; ``None`` where the file has no such bytes."""
    match = _SPEC.fullmatch(text)
    if match is None or text == "-":
        return _MALFORMED
    first, last = match["first"], match["last"]
    if not first:
        length = min(int(last), size)
        return Span(size - length, size) if length else None
    if last and int(last) < int(first):
        return _MALFORMED
    end = min(int(last) + 1, size) if last else size
    return Span(int(first), end) if int(first) < size else None


def _apart(spans: list[Span]) -> list[Span]:
    """The same bytes in ranges that do not overlap; those that did not stay in their order."""
    ordered = sorted(spans)
    if all(before.end <= after.start for before, after in pairwise(ordered)):
        return spans
    merged = ordered[:1]
    for span in ordered[1:]:
        last = merged[-1]
        if span.start < last.end:
            merged[-1] = Span(last.start, max(last.end, span.end))
        else:
            merged.append(span)
    return merged
