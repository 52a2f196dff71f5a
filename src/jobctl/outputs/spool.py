"""A spool: files in walk order in, partitions in key order out, flat in memory.

Sorted runs are spilled to an unlinked temporary file in small blocks; partitions are cut
at quantiles of a sample of the keys, so that each holds about as many files as the next.
Plain tuples throughout: they are what ``marshal`` and sorting are fast at.
"""

from __future__ import annotations

import marshal
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter
from types import TracebackType
from typing import IO, Any, Self

# One block of every run is in memory at a time: 150 runs of ten million files are 20 MB.
_BLOCK = 256
_MARSHAL_VERSION = 3  # the quickest to read back of those that keep shared text shared
_SAMPLE_EVERY = 500
_key = itemgetter(0)

Row = tuple[Any, ...]
Run = list[tuple[int, int]]
"""Where a sorted run lies in the file: offset and length of each block."""


class Spool:
    """Takes tuples that begin with their key; gives them back sorted, partition by partition."""

    def __init__(self, *, run_size: int = 65_536, directory: str | None = None) -> None:
        self._run_size = run_size
        self._directory = directory
        self._rows: list[Row] = []
        self._file: IO[bytes] | None = None
        self._runs: list[Run] = []
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
        fall into a partition. A partition holds about one run, or all rows of one key.
        """
        if self._file is None:
            self._rows.sort()
            yield "", None, self._rows
            return
        self._spill()
        readers = [_Reader(self._file, run) for run in self._runs]
        low = ""
        for high in [*self._bounds(), None]:
            rows: list[Row] = []
            for reader in readers:
                reader.move_below(high, rows)
            # The runs lie in it one behind the other, each sorted: what this sort is quickest at.
            rows.sort()
            yield low, high, rows
            low = high or low

    def in_order(self) -> Iterator[Row]:
        """Give every row, sorted."""
        for _, _, rows in self.partitions():
            yield from rows

    def _spill(self) -> None:
        """Write the rows in memory as one sorted run. ``marshal`` knows no subclasses of tuple."""
        rows = sorted(map(tuple, self._rows))
        self._rows = []
        if not rows:
            return
        self._sample.extend(map(_key, rows[::_SAMPLE_EVERY]))
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - closed with the spool
        run: Run = []
        for start in range(0, len(rows), _BLOCK):
            block = marshal.dumps(rows[start : start + _BLOCK], _MARSHAL_VERSION)
            run.append((self._file.tell(), len(block)))
            self._file.write(block)
        self._runs.append(run)

    def _bounds(self) -> list[str]:
        """Keys that cut the rows into parts of about one run."""
        sample = sorted(self._sample)
        step = max(1, self._run_size // _SAMPLE_EVERY)
        return sorted({bound for bound in sample[step::step] if bound})


class _Reader:
    """Reads one run from front to back, one block at a time."""

    def __init__(self, file: IO[bytes], run: Run) -> None:
        self._file = file
        self._blocks = iter(run)
        self._rows: list[Row] = []

    def move_below(self, high: str | None, into: list[Row]) -> None:
        """Move every row with a key below ``high`` (``None``: every row) to the end of ``into``."""
        while self._rows or self._load():
            if high is not None and self._rows[-1][0] >= high:
                end = bisect_left(self._rows, high, key=_key)
                into += self._rows[:end]
                del self._rows[:end]
                return
            into += self._rows
            self._rows = []

    def _load(self) -> bool:
        offset, length = next(self._blocks, (0, 0))
        if length:
            self._file.seek(offset)
            self._rows = marshal.loads(self._file.read(length))  # noqa: S302 - written by this process, never named
        return bool(length)
