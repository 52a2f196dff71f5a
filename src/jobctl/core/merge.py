"""Merge join of sorted streams: everything known about one key, key after key, flat in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Rows = list[Any]


def align(streams: Sequence[Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, list[Rows]]]:
    """Yield each key with its rows from every stream, in ascending order of keys.

    Each stream gives tuples that begin with their key and come in ascending order of it;
    the lists of rows stand in the order of the streams.
    """
    heads = [next(stream, None) for stream in streams]
    live = [number for number, head in enumerate(heads) if head is not None]
    while live:
        key = min([heads[number][0] for number in live])  # type: ignore[index]
        rows: list[Rows] = [[] for _ in streams]
        exhausted = False
        for number in live:
            head = heads[number]
            stream = streams[number]
            while head is not None and head[0] == key:
                rows[number].append(head)
                head = next(stream, None)
            heads[number] = head
            exhausted = exhausted or head is None
        if exhausted:
            live = [number for number in live if heads[number] is not None]
        yield key, rows
