"""Tasks that fork without end. The kernel holds root to no number of processes, so they are nobody's."""

from __future__ import annotations

import encodings.ascii  # noqa: F401 - nobody may not read where root keeps its Python
import os
import signal

import jobctl

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


@jobctl.task("bomb", processes=8)
def bomb(attempt: jobctl.Attempt) -> None:
    attempts, forked = os.getpid(), 0
    while True:
        try:
            forked += os.fork() != 0
        except BlockingIOError as error:
            if os.getpid() == attempts:
                raise BlockingIOError(error.errno, f"{error.strerror} after {forked}") from None
            signal.pause()


@jobctl.task("fine-as-nobody")
def fine_as_nobody(attempt: jobctl.Attempt) -> int:
    return os.getuid()
