"""Which attempts a process of many threads had begun: told through memory that outlives it.

A message for each attempt that begins would cost more than a small job does; a number written to
shared memory costs next to nothing, and is still there when the process was killed.
"""

from __future__ import annotations

import mmap
import os
import struct

_CELL = struct.Struct("=qq")


class Marks:
    """For each thread, the number of the attempt it began last, and of the one it ended last.

    Attempts are numbered from 1 in the order in which they are begun.
    """

    def __init__(self, fd: int, threads: int) -> None:
        self.fd = fd
        self._cells = range(0, threads * _CELL.size, _CELL.size)
        self._memory = mmap.mmap(fd, len(self._cells) * _CELL.size)

    def begin(self, thread: int, number: int) -> None:
        """Note in a thread of the process itself that it begins an attempt."""
        struct.pack_into("=q", self._memory, self._cells[thread], number)

    def end(self, thread: int, number: int) -> None:
        """Note that it has handed on how that ended."""
        struct.pack_into("=q", self._memory, self._cells[thread] + 8, number)

    def last_begun(self) -> int:
        """The highest number that was begun; all below it were, too."""
        return max(begun for begun, _ in self._read())

    def running(self) -> frozenset[int]:
        """The numbers that were begun and not ended."""
        return frozenset(begun for begun, ended in self._read() if begun != ended)

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)

    def _read(self) -> list[tuple[int, int]]:
        return [_CELL.unpack_from(self._memory, cell) for cell in self._cells]


def make_marks(threads: int) -> Marks:
    """Memory for so many threads; its descriptor is for the process that is to run them."""
    fd = os.memfd_create("jobctl-marks", os.MFD_CLOEXEC)
    os.ftruncate(fd, threads * _CELL.size)
    return Marks(fd, threads)
