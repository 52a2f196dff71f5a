"""What waits in queues, for those who collect metrics: exact where it is little, bounded where it is much."""

from __future__ import annotations

import pytest

from jobctl.core.tally import Grain, Tally
from jobctl.model.attempts import QueueState
from jobctl.model.status import Status
from jobctl.store import queues, standing, tallies
from jobctl.store.engine import Connection, Store
from jobctl.store.queues import queue_states
from store.records import AT, claim, complete, create, later


def fill(connection: Connection) -> None:
    """A queue of seven jobs, two of them for later, beside one of two; and one that is done."""
    for number in range(5):
        create(connection, f"j{number}", run_at=later(number), kind=f"kind-{number % 2}")
    for number in range(2):
        create(connection, f"later-{number}", run_at=later(3_600))
        create(connection, f"timeless-{number}", queue="thumbs", at=later(-60 * number))
    create(connection, "done", queue="thumbs")
    claim(connection, "done")
    complete(connection, "done")


EXACT = [QueueState("default", 7, 5, 100.0), QueueState("thumbs", 2, 2, 160.0)]


def states(connection: Connection, store: Store) -> list[QueueState]:
    tally = tallies.read(connection, store.dialect, Grain.ALL)
    found = queue_states(connection, later(100), tally)
    assert sum(state.queued for state in found) == tally.by_status()[Status.QUEUED]
    return found


def count_no_more(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    for module in (standing, queues):
        monkeypatch.setattr(module, "MOST_COUNTED", most)


@pytest.mark.parametrize("most", [20_000, 9, 8, 3])
def test_however_little_is_counted_one_by_one_the_numbers_are_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Beyond, the history says how many there are, and what is due is what is not for later."""
    count_no_more(monkeypatch, most)
    with store.write() as connection:
        fill(connection)
        assert states(connection, store) == EXACT


def test_where_as_much_is_for_later_what_is_due_is_told_as_far_as_it_was_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_no_more(monkeypatch, 2)
    with store.write() as connection:
        fill(connection)
        default, _ = states(connection, store)
    assert default[:2] == ("default", 7)
    assert 2 <= default.due <= 5


def test_nothing_is_read_job_by_job_of_a_queue_that_has_too_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_no_more(monkeypatch, 3)
    with store.write() as connection:
        for number in range(50):
            create(connection, f"j{number:02}", run_at=AT)
        # What a history without them would say is less than what was counted.
        assert queue_states(connection, later(1), Tally(Grain.ALL)) == [QueueState("default", 3, 3, 1.0)]
