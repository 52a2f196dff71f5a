"""A spool: files in walk order in, partitions in key order out, flat in memory.

Sorted runs are spilled to an unlinked temporary file; partitions are cut at quantiles of
a sample of the keys, so that each holds about as many files as the next. Plain tuples
throughout: they are what ``marshal`` and sorting are fast at.
"""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Iterator
from heapq import merge
from types import TracebackType
from typing import IO, Any, Self

_BLOCK = 2_000
_SAMPLE_EVERY = 500

Row = tuple[Any, ...]


class Spool:
    """Takes tuples that begin with their key; gives them back sorted, partition by partition."""

    def __init__(self, *, run_size: int = 65_536) -> None:
        self._run_size = run_size
        self._rows: list[Row] = []
        self._file: IO[bytes] | None = None
        self._runs: list[list[tuple[int, int]]] = []
        self._end = 0
        self._sample: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: Row) -> None:
        """Take one row."""
        self._rows.append(row)
        if len(self._rows) >= self._run_size:
            self._spill()

    def partitions(self) -> Iterator[tuple[str, str | None, list[Row]]]:
        """Give ``(low, high, rows)`` with ``low`` ≤ key < ``high``, covering all keys in ascending order.

        The first ``low`` is empty, the last ``high`` is ``None``: also keys that no row has
        fall into a partition.
        """
        self._rows.sort()
        if self._file is None:
            yield "", None, self._rows
            return
        self._spill()
        merged = merge(*(self._read(blocks) for blocks in self._runs))
        low, held = "", next(merged, None)
        for high in [*self._bounds(), None]:
            rows: list[Row] = []
            while held is not None and (high is None or held[0] < high):
                rows.append(held)
                held = next(merged, None)
            yield low, high, rows
            low = high or low

    def _spill(self) -> None:
        if not self._rows:
            return
        self._rows.sort()
        self._sample.extend(row[0] for row in self._rows[::_SAMPLE_EVERY])
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the spool
        blocks = []
        for start in range(0, len(self._rows), _BLOCK):
            block = marshal.dumps(self._rows[start : start + _BLOCK])
            blocks.append((self._end, len(block)))
            self._file.write(block)
            self._end += len(block)
        self._runs.append(blocks)
        self._rows = []

    def _read(self, blocks: list[tuple[int, int]]) -> Iterator[Row]:
        assert self._file is not None  # noqa: S101 - runs are only made with a file
        for offset, length in blocks:
            self._file.seek(offset)
            rows: list[Row] = marshal.loads(self._file.read(length))  # noqa: S302 - this process wrote it
            yield from rows

    def _bounds(self) -> list[str]:
        """Keys that cut the rows into parts of about one run."""
        sample = sorted(self._sample)
        step = max(1, self._run_size // _SAMPLE_EVERY)
        bounds = sorted(set(sample[step::step]))
        return [bound for bound in bounds if bound]
