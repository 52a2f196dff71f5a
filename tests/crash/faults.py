"""Which effects of a run are replaced by which faults.

``JOBCTL_TEST_EVERY_FAULT=1`` replaces every effect by every fault; without it each test takes a sample
that reaches through the whole run and has every fault in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

ASKS_FOR_ALL = bool(os.environ.get("JOBCTL_TEST_EVERY_FAULT"))

_ERRORS = tuple(product(("before", "after"), ("EIO", "ENOSPC")))
# Killed before an effect is killed after the one before it.
_KILLED = ("after", "SIGKILL")
_EVERY, _EVERY_OF_A_SERVER = 4, 8


class Fault(NamedTuple):
    """What happens ``when``, before or after the effect of this ``number``."""

    number: int
    when: str
    how: str


def faults_of(effects: int, *, is_server: bool, kills_only: bool = False) -> Iterator[Fault]:
    """The faults for a run of so many effects, in their order.

    All errors take one way through the program, so that an effect has one of them. What a fault
    leaves on disk is the same whatever the store is: on a server there are fewer.
    """
    every = 1 if ASKS_FOR_ALL else _EVERY_OF_A_SERVER if is_server else _EVERY
    for turn, number in enumerate(range(1, effects + 1)):
        if number == effects or turn % every == 0:
            yield Fault(number, *_KILLED)
        if not kills_only and (ASKS_FOR_ALL or (not is_server and turn % every == 1)):
            for when, how in _ERRORS if ASKS_FOR_ALL else [_ERRORS[turn // every % len(_ERRORS)]]:
                yield Fault(number, when, how)


def every_kill(effects: int) -> Iterator[Fault]:
    """Killed after each effect: for what goes wrong on purpose, and is found out on the way."""
    for number in range(1, effects + 1):
        yield Fault(number, *_KILLED)
