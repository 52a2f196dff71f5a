"""A worker's line to the store: one held connection, opened anew with growing pauses when it breaks."""

from __future__ import annotations

import random
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from jobctl import clock
from jobctl.errors import JobctlError, StoreUnreachable
from jobctl.runner.timers import Backoff
from jobctl.store.engine import Store
from jobctl.store.leases import Holder, Leases, open_leases

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
# Whoever finds the store again gives the others a lease to find it, too.
_TRIES_IN_A_LEASE = 4

_T = TypeVar("_T")


class Line:
    """The connection of one worker.

    ``register`` enters the worker into the store under a new name; ``greet`` is called with each
    new connection, and says whether the store still knows the worker by its name.
    """

    def __init__(
        self,
        store: Store,
        selector: selectors.BaseSelector,
        *,
        lease_s: float,
        register: Callable[[], Holder],
        greet: Callable[[Leases], bool],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._selector = selector
        self._register = register
        self._greet = greet
        self._say = say
        self._holder: Holder | None = None
        self._leases: Leases | None = None
        self._wake_fd: int | None = None
        self._backoff = Backoff(_FIRST_PAUSE_S, min(_LONGEST_PAUSE_S, lease_s / _TRIES_IN_A_LEASE))

    @property
    def is_open(self) -> bool:
        """Whether the store answered when it was last asked."""
        return self._leases is not None

    @property
    def look_every_s(self) -> float | None:
        """How often whoever waits for something has to look; ``None`` where the store calls."""
        return None if self._leases is None else self._leases.look_every_s

    def is_heard(self, found: list[tuple[selectors.SelectorKey, int]]) -> bool:
        """Whether it was the store that woke the selector."""
        return any(key.fd == self._wake_fd for key, _ in found)

    def open(self) -> Leases:
        """Connect, under a new name if need be. Raises ``StoreUnreachable``."""
        while self._leases is None:
            self._holder = self._holder or self._register()
            self._connect(self._holder)
        return self._leases

    def close(self) -> None:
        """Let go of the connection."""
        if self._wake_fd is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(self._wake_fd)
        if self._leases is not None:
            self._leases.close()
        self._leases = self._wake_fd = None

    def begin_anew(self) -> None:
        """Let go of the name as well: the others gave this worker up."""
        self._holder = None
        self.close()

    def visit(self, what: Callable[[Leases], _T]) -> _T | None:
        """Do something with the store; ``None`` where it does not answer, and is tried again later."""
        now = clock.monotonic()
        if self._leases is None and not self._backoff.is_due(now):
            return None
        try:
            done = what(self._leases or self.open())
        except StoreUnreachable as error:
            if not self._backoff.pause:
                self._say(f"{error.message}; attempts go on, trying again")
            self.close()
            self._backoff.fail(now, luck=random.random())  # noqa: S311 - no secret
            return None
        if self._backoff.pause:
            self._say("the job store answers again")
        self._backoff.succeed()
        return done

    def _connect(self, holder: Holder) -> None:
        leases = open_leases(self._store, holder)
        try:
            is_known = self._greet(leases)
        except JobctlError:
            leases.close()
            raise
        if not is_known:
            leases.close()
            self._holder = None
            return
        self._leases = leases
        self._wake_fd = leases.wake_fd()
        if self._wake_fd is not None:
            self._selector.register(self._wake_fd, selectors.EVENT_READ)
