"""Tell whether anyone is still writing a file.

A read lease (fcntl(2), F_SETLEASE) is granted only while nobody has the file open for
writing: proof, on one host's own file systems. Where leases do not work, or other hosts
may write, only a file left alone for a while counts as closed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from typing import Literal

Writers = Literal["open", "closed", "unknown"]

_OPEN = frozenset({errno.EAGAIN, errno.EBUSY})
_FUTURE_NS = 60 * 10**9


def writer_state(fd: int) -> Writers:
    """``open``: somebody has the file open for writing; ``closed``: nobody on this host; else ``unknown``.

    ``fd`` must be open for reading only: a descriptor of our own that can write counts as a writer.
    """
    try:
        # A lease that is broken in the instant we hold it sends this signal, which is ignored by
        # default; the usual SIGIO would end the process. It is set on this descriptor alone.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return "open" if error.errno in _OPEN else "unknown"
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return "closed"


def why_unsettled(
    found: os.stat_result, *, writers: Writers, is_shared: bool, now_ns: int | None, quiet_s: float
) -> str | None:
    """The reason why a file may still be written to, or ``None`` for a settled one.

    ``now_ns`` is the clock of the file's own file system. Times are compared to nothing else.
    """
    if writers == "open":
        return "it is open for writing"
    if writers == "closed" and not is_shared:
        return None
    if now_ns is None:
        return "whether it is still written to cannot be told here: the root's clock cannot be read"
    touched_ns = max(found.st_mtime_ns, found.st_ctime_ns)
    if touched_ns > now_ns + _FUTURE_NS:
        return "it is dated in the future; whether it is still written to cannot be told"
    age_s = max(0, now_ns - touched_ns) / 1e9
    if age_s < quiet_s:
        return f"it was written {age_s:.0f} s ago, and quiet for less than {quiet_s:.0f} s"
    return None
