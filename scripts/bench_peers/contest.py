"""Let one peer do one thing, and print what it took as a line of JSON.

``contest.py PEER prepare|singles|bulk|drain|serve|pick-up|begin URL [WORD …]``, in the peers' environment.
"""

from __future__ import annotations

import importlib
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import marks

LONGEST_PICK_UP_S = 60.0


def main(name: str, action: str, url: str, *words: str) -> None:
    """Do it."""
    peer = importlib.import_module(f"with_{name}").Peer(url)
    actions: dict[str, Callable[..., None]] = {
        "prepare": prepare,
        "singles": singles,
        "bulk": bulk,
        "drain": drain,
        "serve": serve,
        "pick-up": pick_up,
        "begin": begin,
    }
    actions[action](peer, *words)


def prepare(peer: Any) -> None:
    peer.prepare()
    marks.tell({})


def singles(peer: Any, count: str) -> None:
    """One job, one transaction."""
    with peer.client():
        peer.enqueue("noop")
        took = _seconds(lambda: [peer.enqueue("noop") for _ in range(int(count))])
    marks.tell({"seconds": took})


def bulk(peer: Any, count: str) -> None:
    """Many jobs, as the peer offers it."""
    with peer.client():
        marks.tell({"seconds": _seconds(lambda: peer.enqueue_many(int(count)))})


def drain(peer: Any, count: str, longest_s: str) -> None:
    """Run what is queued by one worker, from the first job's beginning to the last one's noted end."""
    told = marks.drain.tell_at_end(int(count), float(longest_s), peer.are_ended)
    peer.work()
    told.join()


def serve(peer: Any) -> None:
    """Be a worker until killed."""
    marks.tell({})
    peer.work()


def pick_up(peer: Any, count: str, pipe: str) -> None:
    """From the call that enqueues to the first line of the handler, with a worker that has nothing to do."""
    fd = os.open(pipe, os.O_RDWR)
    waits = []
    with peer.client():
        for _ in range(int(count) + 1):
            began = time.monotonic()
            peer.enqueue("moment", pipe)
            if not select.select([fd], [], [], LONGEST_PICK_UP_S)[0]:
                sys.exit("the worker took no job")
            waits.append((float(os.read(fd, 100)) - began) * 1000)
            time.sleep(0.05)
    # The first one also tells that the worker is there.
    marks.tell({"waits_ms": waits[1:]})


def begin(peer: Any, directory: str) -> None:
    """Enqueue a job that goes on until it is killed."""
    with peer.client():
        peer.enqueue("begin", directory)
    marks.tell({})


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
