"""A visit to the store: an end that no database takes costs no other, and is told as it was written."""

from __future__ import annotations

from contextlib import closing
from typing import cast

from jobctl.core.settling import Returned
from jobctl.model.attempts import AttemptId
from jobctl.model.enqueued import New
from jobctl.model.job import Executor, Job
from jobctl.model.status import Status
from jobctl.runner.counters import Counters
from jobctl.runner.crew import Crew
from jobctl.runner.held import Held
from jobctl.runner.options import Voice
from jobctl.runner.turns import take_turn
from jobctl.store import jobs
from jobctl.store.engine import Store
from jobctl.store.enqueue import enqueue_many
from jobctl.store.leases import Holder, open_leases
from jobctl.work import TaskSpec
from runner.test_running import Steps

NO_TEXT = '"\udc80"'
"""Half a character: no database stores it."""


def test_what_the_database_took_is_counted_and_not_what_was_meant(store: Store) -> None:
    said: list[str] = []
    counters = Counters()
    held = Held(2, counters, Voice(said.append, said.append))
    sum(enqueue_many(store, (New(Job(job_id=name, kind="film")) for name in "ab"), actor="test"))
    with closing(open_leases(store, Holder("w1", Executor("here", "boot", 1, 1), ("default",)))) as leases:
        _, turn = take_turn(leases, [], 2, ["film"])
        held.begin(turn.claims, {"film": TaskSpec(name="film")}, cast("Crew", Steps()), 0.0)
        held.finish(AttemptId("a", 1), Returned(NO_TEXT), 1.0)
        held.finish(AttemptId("b", 1), Returned("2"), 1.0)
        held.note_written(*take_turn(leases, held.unwritten, 0, ["film"]))
    with store.read() as connection:
        found = {name: jobs.get_job(connection, name) for name in "ab"}
    assert (found["a"].status, found["a"].error_code) == (Status.FAILED, "bad-result")
    assert found["b"].status is Status.COMPLETED
    assert (counters.failed, counters.completed, held.unwritten) == (1, 1, [])
    (told,) = said
    assert told.startswith("job a: attempt 1 failed: how it ended could not be stored: ")
