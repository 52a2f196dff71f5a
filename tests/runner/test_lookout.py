"""When a worker looks for work: every call is heard, with whatever answer it came."""

from __future__ import annotations

import selectors
from collections.abc import Iterator

import pytest

import jobctl
from jobctl import clock
from jobctl.model.job import Executor
from jobctl.runner.line import Line
from jobctl.runner.lookout import Lookout
from jobctl.store.engine import Store
from jobctl.store.leases import Holder


@pytest.fixture
def line(store: Store) -> Iterator[Line]:
    """The line of a worker that nobody knows."""
    holder = Holder("w", Executor("h", "b", 1, 1), ("default",))
    with selectors.DefaultSelector() as selector:
        made = Line(
            store,
            selector,
            lease_s=10.0,
            register=lambda: holder,
            greet=lambda _: True,
            say=lambda said: None,
        )
        made.open()
        yield made
        made.close()


def test_a_call_that_comes_with_the_answer_to_something_else_is_heard_at_once(
    line: Line, store_url: str
) -> None:
    lookout = Lookout(line)
    now = clock.monotonic()
    lookout.look_around(now, others=0)
    assert lookout.next_at(is_busy=False) > now
    with jobctl.Queue(store_url) as queue:
        queue.enqueue("greet")

    late = now + 30
    while lookout.next_at(is_busy=False) > now:
        assert clock.monotonic() < late
        line.visit(lambda leases: leases.held())
