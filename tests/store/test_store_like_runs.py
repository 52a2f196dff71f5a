"""What runs usually take, which a brake compares with: what they did, of that class, of that command."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import insert

from jobctl.model.plan import Verb
from jobctl.store.engine import Store
from jobctl.store.runs import done_in_like_runs
from jobctl.store.schema import run, run_action
from store.records import AT

_numbers = count(1)


def ran(store: Store, *steps: dict[str, Any], **fields: Any) -> None:
    """Note a run with its steps, later than those before it."""
    number = next(_numbers)
    values = {"run_id": f"run-{number}", "command": "cleanup", "state": "finished", "actor": "x", "host": "h"}
    of_all = {
        "verb": Verb.QUARANTINE.value,
        "job_id": "",
        "reason": "",
        "category": "leftover",
        "outcome": "done",
    }
    with store.write() as connection:
        started_at = AT + timedelta(minutes=number)
        connection.execute(insert(run), {**values, "started_at": started_at, **fields})
        for seq, step in enumerate(steps):
            connection.execute(insert(run_action), {**of_all, "run_id": f"run-{number}", "seq": seq, **step})


def usual(store: Store, *, runs: int = 20) -> list[int]:
    with store.read() as connection:
        return sorted(done_in_like_runs(connection, "cleanup", "leftover", runs=runs))


@pytest.mark.parametrize(
    "other", [{"outcome": "pending"}, {"outcome": "conflict"}, {"category": "temporary"}], ids=repr
)
def test_only_what_was_done_counts_and_of_its_class_alone(store: Store, other: dict[str, str]) -> None:
    ran(store, {}, {}, other)
    ran(store, other)
    assert usual(store) == [2]


@pytest.mark.parametrize("other", [{"command": "expire"}, {"state": "abandoned"}], ids=repr)
def test_only_runs_of_its_command_that_came_to_their_end_count(store: Store, other: dict[str, str]) -> None:
    ran(store, {})
    ran(store, {}, {}, **other)
    assert usual(store) == [1]


def test_only_the_last_runs_count(store: Store) -> None:
    for size in (3, 1, 2):
        ran(store, *[{}] * size)
    assert usual(store, runs=2) == [1, 2]


def test_a_job_that_goes_with_its_files_is_no_more_than_its_files(store: Store) -> None:
    """Jobs and files are counted apart, here as where they are held."""
    job = {"verb": Verb.EXPIRE.value}
    ran(store, job, {}, job, {}, {})
    ran(store, job, job, {})
    assert usual(store) == [2, 3]
