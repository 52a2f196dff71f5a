"""Two who write at the same moment: what one has looked at, the other does not change before it is written.

The other one comes right in between, and gives up where it would have to wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, select

from jobctl.errors import StoreUnreachable
from jobctl.model.plan import Action, Outcome, Verb
from jobctl.model.status import Cause, Status
from jobctl.store import jobs, run_steps, runs
from jobctl.store.engine import Store
from jobctl.store.schema import job_body, run_action
from store.records import AT, claim, create, later

RUN = "20260131-120000-aaaa"
_UPDATES_JOB = r"UPDATE (jobctl\.)?job\b"


@contextmanager
def interrupted(connection: Connection, before: str, other: Callable[[], object]) -> Iterator[list[str]]:
    """Have another one write right before a statement that begins so; whether it could."""
    told: list[str] = []

    def come_between(_connection: Any, _cursor: Any, sql: str, *_more: Any) -> None:
        if told or re.match(before, sql) is None:
            return
        told.append("wrote")
        try:
            other()
        except StoreUnreachable:
            told[:] = ["waits"]

    event.listen(connection, "before_cursor_execute", come_between)
    try:
        yield told
    finally:
        event.remove(connection, "before_cursor_execute", come_between)


def plan_step(store: Store, step: Action) -> None:
    with store.write() as connection:
        runs.begin_run(
            connection,
            run_id=RUN,
            command="recover",
            plan_id="p",
            undo_of=None,
            header={"roots": {}},
            actor="ada",
            host="here",
            at=AT,
        )
        runs.load_actions(connection, store.dialect, RUN, [step])


def outcome(store: Store) -> tuple[str, str | None]:
    with store.read() as connection:
        row = connection.execute(select(run_action.c.outcome, run_action.c.note)).one()
        return row.outcome, row.note


def document(store: Store, like: str, **changes: Any) -> dict[str, Any]:
    with store.read() as connection:
        return {**runs.job_documents(connection, [like])[like], **changes}


def test_nobody_takes_a_job_between_the_check_of_a_step_and_its_change(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
    before = document(store, "a")
    step = Action(
        seq=1,
        verb=Verb.EXPIRE,
        job_id="a",
        reason="queued too long",
        from_status="queued",
        to_status="expired",
        expect_version=1,
        job_before=before,
        job_after={**before, "status": "expired"},
    )
    plan_step(store, step)

    def take() -> None:
        with store.write(patience_s=0.05) as other:
            claim(other, "a")

    with store.write() as connection, interrupted(connection, _UPDATES_JOB, take) as told:
        run_steps.apply_chunk(connection, RUN, 0, 10, actor="ada", at=later(1))
    assert told == ["waits"]
    assert outcome(store) == (Outcome.DONE, None)
    with store.read() as connection:
        assert [line.to_status for line in jobs.history(connection, "a")] == ["queued", "expired"]


def test_a_record_that_somebody_makes_just_then_is_no_error_and_stays(store: Store) -> None:
    with store.write() as connection:
        create(connection, "like")
    rebuilt = document(store, "like", job_id="a", status="completed", owner="nobody")
    step = Action(
        seq=1,
        verb=Verb.CREATE,
        job_id="a",
        reason="its video is whole",
        to_status="completed",
        job_after=rebuilt,
    )
    plan_step(store, step)

    def make() -> None:
        with store.write(patience_s=0.05) as other:
            create(other, "a", owner="ada")

    with store.write() as connection, interrupted(connection, "INSERT", make) as told:
        run_steps.apply_chunk(connection, RUN, 0, 10, actor="ada", at=later(1))
    with store.read() as connection:
        owner = jobs.get_job(connection, "a").owner
    if told == ["waits"]:  # one writer at a time
        assert (outcome(store), owner) == ((Outcome.DONE, None), "nobody")
    else:
        assert outcome(store) == (Outcome.CONFLICT, "another record of this job was made since")
        assert owner == "ada"


def test_of_two_new_incarnations_of_an_expired_job_one_is_made(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
        jobs.change_status(
            connection,
            "a",
            Status.EXPIRED,
            expect=Status.QUEUED,
            cause=Cause.RETENTION,
            actor="ada",
            at=AT,
        )

    def make() -> None:
        with store.write(patience_s=0.05) as other:
            create(other, "a", owner="second")

    with store.write() as connection, interrupted(connection, "DELETE", make) as told:
        create(connection, "a", owner="first")
    assert told == ["waits"]
    with store.read() as connection:
        assert jobs.get_job(connection, "a").owner == "first"
        assert connection.execute(select(job_body)).all() == []
