"""When a worker looks for work: called, where something may have brought some, and now and again."""

from __future__ import annotations

import random

from jobctl.runner.line import Line
from jobctl.runner.timers import Calls, Every

LOOK_EVERY_S = 1.0
_ORDERS_EVERY_S = 0.2


class Lookout:
    """Whether there may be jobs to take, or orders for what runs. ``now``: a monotonic clock, in seconds."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._calls = Calls()
        self._look = Every(LOOK_EVERY_S)
        self._orders = Every(_ORDERS_EVERY_S)
        self._was_called = False
        self._may_have_orders = False
        self.may_find = True
        """Whether to look for jobs."""
        self.found_nothing = False
        """Whether none was due when it last looked, and nothing is known that brought one since."""

    def next_at(self, *, is_busy: bool) -> float:
        """When to look; 0 for now. ``is_busy``: something runs that there may be orders for."""
        # A call that came with the answer to something else wakes no selector any more.
        if self._line.is_open and self.hears_call():
            return 0.0
        orders_at = self._orders.at if is_busy and self._may_have_orders else float("inf")
        return min(self._look.at, self._calls.next_at, orders_at)

    def hears_call(self) -> bool:
        """Whether somebody changed something in the store, or that cannot be known."""
        self._was_called = bool(self._line.visit(lambda leases: leases.was_woken())) or self._was_called
        return self._was_called or not self._line.is_open

    def look_around(self, now: float, *, others: int) -> None:
        """Take in what was heard. ``others``: how many workers hear every call, too."""
        if self._line.is_open and self.hears_call():
            self._was_called, self._may_have_orders = False, True
            self._calls.note(now, others=others, luck=random.random())  # noqa: S311 - no secret
        # Both are asked: each that is due is done with.
        if any([self._look.is_due(now), self._calls.is_due(now)]):
            self.may_find = True

    def expect(self) -> None:
        """Something may have brought jobs."""
        self.may_find, self.found_nothing = True, False

    def note_taken(self, taken: int, *, wanted: int) -> None:
        """It looked for so many jobs, and took so many: where that is fewer, there are no more."""
        self.may_find, self.found_nothing = taken == wanted, not taken

    def is_time_for_orders(self, now: float) -> bool:
        """Whether to see what is to stop."""
        if not self._may_have_orders or not self._orders.is_due(now):
            return False
        self._may_have_orders = False
        return True
