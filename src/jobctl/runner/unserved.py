"""Jobs in this worker's queues that no worker takes: its log says so, since they wait for ever."""

from __future__ import annotations

from collections.abc import Callable

from jobctl import clock
from jobctl.core.health.workers import unserved
from jobctl.ops.serving import serving_now, waiting_in
from jobctl.ops.site import Site
from jobctl.store.declared import task_names
from jobctl.store.standing import queue_depth

LOOK_EVERY_S = 60.0
_SAY_AGAIN_S = 3600.0


class Unserved:
    """Says of each task once that nobody knows it, and again after an hour."""

    def __init__(self, site: Site, queues: tuple[str, ...], say: Callable[[str], None]) -> None:
        self._site = site
        self._queues = queues
        self._say = say
        self._told: dict[tuple[str, str], float] = {}

    def look(self) -> None:
        """Look at the queues, and tell what is new. Raises ``StoreUnreachable``."""
        with self._site.store.read() as connection:
            moment = self._site.store.now(connection)
            tasks = task_names(connection)
            depths = [queue_depth(connection, queue, moment, tasks=tasks) for queue in self._queues]
            serving = serving_now(self._site, connection)
        now, told = clock.monotonic(), self._told
        self._told = {}
        for each in (each for depth in depths for each in waiting_in(depth, moment)):
            for found in unserved([each], serving):
                key = (each.queue, each.kind)
                last = told.get(key)
                if last is None or now - last >= _SAY_AGAIN_S:
                    self._say(f"{found.said}; {found.fix}: {found.command}")
                    last = now
                self._told[key] = last
