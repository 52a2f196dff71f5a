"""Who takes jobs now, and what is known of a task that is only named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from jobctl import clock
from jobctl.core.health.workers import Serving, Waiting, lack_of
from jobctl.evidence.executor import liveness
from jobctl.model.job import Executor
from jobctl.model.standing import QueueDepth
from jobctl.ops.site import Site
from jobctl.store import workers
from jobctl.store.declared import declared
from jobctl.store.engine import Connection
from jobctl.work import TaskSpec

_LEASES_OF_SILENCE = 6
_LEAST_SILENCE_S = 60.0
_HOLDS_S = 10.0
_MOST_REMEMBERED = 1_000


def serving_now(site: Site, connection: Connection) -> list[Serving]:
    """The workers that live, and what they take."""
    now = site.store.now(connection)
    return [
        Serving(row.queues, row.tasks, row.worker_id, row.specs, row.troubles)
        for row in workers.list_workers(connection, every=False)
        if not is_lost(site, row.executor, row.seen_at, row.lease_s, now)
    ]


def is_lost(site: Site, executor: Executor, seen_at: datetime, lease_s: float, now: datetime) -> bool:
    """Whether a worker is dead, or has been silent for far longer than it may."""
    if liveness(executor, host=site.host) == "dead":
        return True
    return (now - seen_at).total_seconds() > max(_LEAST_SILENCE_S, _LEASES_OF_SILENCE * lease_s)


def waiting_in(queue: QueueDepth, now: datetime) -> Iterator[Waiting]:
    """What waits in a queue, by task."""
    for kind, jobs in sorted(queue.kinds.items()):
        oldest_s = (now - queue.since.get(kind, now)).total_seconds()
        yield Waiting(queue.queue, kind, jobs, oldest_s, queue.is_at_least)


class NamedTask(NamedTuple):
    """How a task is run that is only named.

    ``lack``: why nobody would take jobs of it; empty where somebody does. ``is_told``: whether a
    worker, or the configuration, has ever said how it is run.
    """

    spec: TaskSpec
    lack: str
    is_told: bool


def named_task(site: Site, name: str, *, queue: str | None = None) -> NamedTask:
    """What is known of a task that is only named."""
    work = site.settings.work
    with site.store.read() as connection:
        told = declared(connection, name)
        spec = work.spec_by_name(name, told)
        lack = lack_of(queue or spec.queue, name, serving_now(site, connection))
    return NamedTask(spec, lack, bool(told) or name in work.overrides)


class NamedTasks:
    """What is known of tasks that are only named, for a process that enqueues many: it asks now and then."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, TaskSpec]] = {}

    def spec(self, site: Site, name: str) -> TaskSpec:
        """How a task is run, as the store knew it at most ten seconds ago."""
        now = clock.monotonic()
        until, spec = self._known.get(name, (0.0, None))
        if spec is None or now >= until:
            with site.store.read() as connection:
                spec = site.settings.work.spec_by_name(name, declared(connection, name))
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[name] = now + _HOLDS_S, spec
        return spec
