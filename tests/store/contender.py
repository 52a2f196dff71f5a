"""A process that writes and writes, as services and workers do; prints how long its longest write took."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import jobctl
from jobctl import clock
from jobctl.model.attempts import Claim, ProgressReport, Settlement
from jobctl.model.job import Executor
from jobctl.model.status import Cause, Status
from jobctl.store import workers
from jobctl.store.engine import Store, open_store
from jobctl.store.leases import Holder, Leases, open_leases


def main(url: str, name: str, writes: int) -> None:
    """Enqueue, claim, report and settle in turn; one line once it is ready, then go on when told."""
    store, holder = open_store(url), Holder(name, Executor(name, "boot", 1, 1), ("default",))
    _register(store, holder)
    with jobctl.Queue(url) as queue, closing(open_leases(store, holder)) as leases:
        print("ready", flush=True)
        sys.stdin.readline()
        waits = [_seconds(write) for _, write in zip(range(writes), _writes(queue, leases), strict=False)]
    print(json.dumps({"writes": len(waits), "longest_s": max(waits), "total_s": sum(waits)}), flush=True)


def _writes(queue: jobctl.Queue, leases: Leases) -> Iterator[Callable[[], object]]:
    while True:
        taken: list[Claim] = []
        yield lambda: queue.enqueue("noop", 1)
        yield lambda taken=taken: taken.extend(_claimed(leases))  # type: ignore[misc]
        (claim,) = taken
        yield lambda claim=claim: leases.report([ProgressReport(*claim.id, 50.0, None)])  # type: ignore[misc]
        done = Settlement(*claim.id, Status.COMPLETED, Cause.EXECUTOR)
        yield lambda done=done: leases.take_turn([done], 0)  # type: ignore[misc]


def _claimed(leases: Leases) -> list[Claim]:
    """One job. Where others claim too, a turn may find each that it sees taken and not yet see the newest."""
    while not (claims := leases.take_turn([], 1, ["noop"]).claims):
        pass
    return list(claims)


def _seconds(write: Callable[[], object]) -> float:
    began = clock.monotonic()
    write()
    return clock.monotonic() - began


def _register(store: Store, holder: Holder) -> None:
    with store.write() as connection:
        workers.register(
            connection, holder, tasks=[], slots=1, isolation="thread", lease_s=600.0, at=clock.now()
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
