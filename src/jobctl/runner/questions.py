"""What attempts ask their worker, until each has its answer."""

from __future__ import annotations

from collections.abc import Mapping

from jobctl.model.attempts import AttemptId
from jobctl.model.files import Role
from jobctl.ops.site import Site
from jobctl.runner.crew import Told
from jobctl.runner.line import Line
from jobctl.runner.publishing import Desk
from jobctl.runner.running import Running
from jobctl.store.leases import Holder

_AGAIN_S = 0.3


class Questions:
    """Those that could not be answered yet: the store is away, or somebody holds the root.

    ``now`` is a monotonic clock, in seconds.
    """

    def __init__(self, site: Site, line: Line) -> None:
        self._site = site
        self._line = line
        self._open: list[Told] = []
        self._at = 0.0

    def begin(self, holder: Holder) -> None:
        """Answer in this name from now on."""
        self._desk = Desk(self._site, holder.actor)

    @property
    def next_at(self) -> float:
        """When to try to answer."""
        return self._at if self._open else float("inf")

    def add(self, told: Told) -> None:
        """Have a question answered soon."""
        self._open.append(told)
        self._at = 0.0

    def answer(self, running: Mapping[AttemptId, Running], now: float) -> None:
        """Answer what attempts that run have asked, as far as that is possible now."""
        if now < self.next_at:
            return
        asked, self._open = self._open, []
        self._at = now + _AGAIN_S
        for told in asked:
            if told.of in running and not self._is_answered(told, running[told.of]):
                self._open.append(told)

    def _is_answered(self, told: Told, by: Running) -> bool:
        tried = self._line.visit(lambda _: (self._desk.answer(told),))
        if tried is None or (answer := tried[0]) is None:
            return False
        if told.what == "published" and told.words[1] == Role.VIDEO and answer.kind == "ok":
            by.has_published = True
        by.crew.answer(told.of, told.number or 0, *answer)
        return True
