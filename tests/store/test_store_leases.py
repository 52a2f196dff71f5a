"""Claim, settle, beat and report: whoever holds a lease may write, and nobody else."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from itertools import cycle
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text

import jobctl
from jobctl import clock
from jobctl.errors import StoreUnreachable
from jobctl.model.attempts import AttemptId, ProgressReport, Settlement
from jobctl.model.enqueued import Left, New
from jobctl.model.job import Executor, Job
from jobctl.model.status import Cause, Status
from jobctl.store import jobs, workers
from jobctl.store.bell import CHANNEL
from jobctl.store.engine import Store, open_store
from jobctl.store.enqueue import enqueue, enqueue_many
from jobctl.store.leases import Holder, Leases, open_leases
from store.records import AT

KINDS = ("noop",)


def holder(name: str = "w1", *queues: str) -> Holder:
    return Holder(name, Executor("host", "boot", 1, 1), queues or ("default",))


def begin(store: Store, who: Holder) -> Leases:
    with store.write() as connection:
        workers.register(
            connection,
            who,
            tasks=["noop"],
            slots=1,
            isolation="thread",
            lease_s=10.0,
            at=store.now(connection),
        )
    return open_leases(store, who)


@pytest.fixture
def leases(store: Store) -> Iterator[Leases]:
    with closing(begin(store, holder())) as opened:
        yield opened


def put(store: Store, job_id: str, payload: Any = None, kind: str = "noop", **fields: Any) -> None:
    with store.write() as connection:
        enqueue(connection, New(Job(job_id=job_id, kind=kind, **fields), payload), actor="test", at=AT)


def done(job_id: str, attempt: int, to: Status = Status.COMPLETED, **fields: Any) -> Settlement:
    cause = Cause.EXECUTOR if to is not Status.QUEUED else Cause.RETRY
    return Settlement(job_id, attempt, to, cause, **fields)


def read(store: Store, job_id: str) -> Job:
    with store.read() as connection:
        return jobs.get_job(connection, job_id)


def test_jobs_are_taken_by_priority_and_then_in_the_order_they_were_due(store: Store, leases: Leases) -> None:
    for number, job_id in enumerate(["third", "second", "first"]):
        put(store, job_id, run_at=AT - timedelta(seconds=number))
    put(store, "urgent", priority=5)
    put(store, "idle", priority=-1)
    taken = [claim.job_id for _ in range(2) for claim in leases.take_turn([], 3, KINDS).claims]
    assert taken == ["urgent", "first", "second", "third", "idle"]


def test_a_job_without_a_time_is_due_at_once_and_a_later_one_is_not(store: Store, leases: Leases) -> None:
    put(store, "later", run_at=AT + timedelta(days=36_000), priority=9)
    put(store, "untimed", run_at=None)
    assert [claim.job_id for claim in leases.take_turn([], 10, KINDS).claims] == ["untimed"]


def test_only_the_queues_of_the_worker_are_served_the_first_one_first(store: Store) -> None:
    put(store, "a", queue="low", priority=9)
    put(store, "b", queue="high")
    put(store, "c", queue="other")
    with closing(begin(store, holder("w2", "high", "low"))) as opened:
        assert [claim.job_id for claim in opened.take_turn([], 10, KINDS).claims] == ["b", "a"]


def test_only_jobs_of_the_kinds_asked_for_are_taken(store: Store, leases: Leases) -> None:
    put(store, "strange", kind="strange", priority=9)
    put(store, "known")
    assert leases.take_turn([], 10).claims == []
    assert [claim.job_id for claim in leases.take_turn([], 10, KINDS).claims] == ["known"]
    assert read(store, "strange").status is Status.QUEUED


def test_while_a_server_is_at_work_the_worker_uses_the_time(store: Store, leases: Leases) -> None:
    put(store, "a-ends")
    put(store, "b-begins")
    leases.take_turn([], 1, KINDS)
    answered: list[bool] = []

    def meanwhile() -> None:
        answered.append(bool(select.select([leases.wake_fd()], [], [], 30)[0]))

    turn = leases.take_turn([done("a-ends", 1)], 1, KINDS, meanwhile)
    assert (turn.settled, [claim.job_id for claim in turn.claims]) == (
        {AttemptId("a-ends", 1)},
        ["b-begins"],
    )
    assert answered == ([] if store.dialect.name == "sqlite" else [True])


@pytest.mark.parametrize("at_once", [1, 2, 10])
def test_jobs_of_several_kinds_are_taken_as_if_they_were_of_one(
    store: Store, leases: Leases, at_once: int
) -> None:
    for number, job_id in enumerate("abcdef"):
        kind = ["film", "noop", "strange"][number % 3]
        put(store, job_id, kind=kind, run_at=AT + timedelta(seconds=number))
    put(store, "urgent", kind="film", priority=5)
    put(store, "untimed", run_at=None)
    put(store, "later", kind="film", run_at=AT + timedelta(days=36_000))
    put(store, "idle", kind="noop", priority=-1, run_at=AT - timedelta(days=1))
    taken: list[str] = []
    while claims := leases.take_turn([], at_once, ["noop", "film", "never"]).claims:
        taken += [claim.job_id for claim in claims]
    assert taken == ["urgent", "untimed", "a", "b", "d", "e", "idle"]


@pytest.mark.parametrize("payload", [None, 8, 0.5, "text", '"', [1], {"a": None}, True, "nul \0 half \ud800"])
def test_a_payload_comes_back_as_json(store: Store, leases: Leases, payload: Any) -> None:
    put(store, "j1", payload)
    (claim,) = leases.take_turn([], 1, KINDS).claims
    found = None if claim.payload is None else json.loads(claim.payload)
    expected = "nul \\x00 half \\ud800" if isinstance(payload, str) and "\0" in payload else payload
    assert found == expected


def test_a_claim_makes_attempt_lease_and_history(store: Store, leases: Leases) -> None:
    put(store, "j1")
    (claim,) = leases.take_turn([], 1, KINDS).claims
    job = read(store, "j1")
    assert (claim.id, job.status, job.attempt) == (("j1", 1), Status.PROCESSING, 1)
    assert job.executor == Executor("host", "boot", 1, 1)
    assert [lease.id for lease in leases.held()] == [("j1", 1)]
    with store.read() as connection:
        last = jobs.history(connection, "j1")[-1]
    assert (last.from_status, last.to_status, last.attempt, last.actor) == (
        "queued",
        "processing",
        1,
        "worker w1",
    )


def test_settling_completes_with_result_and_frees_the_lease(store: Store, leases: Leases) -> None:
    put(store, "j1")
    leases.take_turn([], 1, KINDS)
    turn = leases.take_turn([done("j1", 1, result='{"ok": true}')], 1, KINDS)
    assert turn.settled == {("j1", 1)}
    job = read(store, "j1")
    assert (job.status, job.progress, job.completed_at is not None) == (Status.COMPLETED, 100.0, True)
    assert leases.held() == []


def test_a_retry_waits_and_keeps_what_went_wrong(store: Store, leases: Leases) -> None:
    put(store, "j1")
    leases.take_turn([], 1, KINDS)
    again = done(
        "j1", 1, Status.QUEUED, error="no", error_code="error", delay_s=3600.0, detail={"traceback": "T"}
    )
    leases.take_turn([again], 0)
    job = read(store, "j1")
    assert (job.status, job.error, job.executor) == (Status.QUEUED, "no", None)
    assert leases.take_turn([], 1, KINDS).claims == []
    with store.read() as connection:
        detail = jobs.history(connection, "j1")[-1].detail
    assert detail == {
        "cause": "retry",
        "error": "no",
        "error_code": "error",
        "retry_after_s": 3600.0,
        "traceback": "T",
    }


def test_what_comes_from_an_old_attempt_changes_nothing(store: Store, leases: Leases) -> None:
    put(store, "j1")
    leases.take_turn([], 1, KINDS)
    leases.take_turn([done("j1", 1, Status.QUEUED, delay_s=0.0, is_spared=True)], 0)
    (second,) = leases.take_turn([], 1, KINDS).claims
    assert (second.attempt, second.spared, second.tries, second.max_attempts) == (2, 1, 1, 1)
    before = read(store, "j1")
    assert leases.take_turn([done("j1", 1, result='"stale"')], 0).settled == frozenset()
    assert leases.report([ProgressReport("j1", 1, 99.0, "stale")]) == {AttemptId("j1", 1)}
    assert read(store, "j1") == before
    assert [lease.attempt for lease in leases.held()] == [2]


def test_settling_twice_is_settling_once(store: Store, leases: Leases) -> None:
    put(store, "j1")
    leases.take_turn([], 1, KINDS)
    leases.take_turn([done("j1", 1)], 0)
    before = read(store, "j1")
    assert leases.take_turn([done("j1", 1, Status.FAILED, error="late")], 0).settled == frozenset()
    assert read(store, "j1") == before


def ask_to_cancel(store: Store, job_id: str) -> None:
    with store.write() as connection:
        assert workers.ask_to_stop(connection, job_id, 1, at=store.now(connection))


@pytest.mark.parametrize(
    "meant",
    [
        done("j", 1, result='"made"'),
        done("j", 1, Status.FAILED, error="no disk", error_code="OSError"),
        done("j", 1, Status.QUEUED, error="no disk", delay_s=60.0),
        Settlement("j", 1, Status.QUEUED, Cause.HAND_BACK, detail={"reason": "a deploy"}, is_spared=True),
    ],
    ids=["returned", "failed", "failed, to be tried again", "handed back"],
)
def test_a_cancel_that_its_worker_has_not_heard_of_is_not_lost(
    store: Store, leases: Leases, meant: Settlement
) -> None:
    put(store, "j", max_attempts=3)
    put(store, "other", max_attempts=3)
    leases.take_turn([], 2, KINDS)
    ask_to_cancel(store, "j")
    turn = leases.take_turn([meant, meant._replace(job_id="other")], 0)
    assert turn.settled == {("j", 1), ("other", 1)}
    assert turn.cancelled == {("j", 1)}
    job = read(store, "j")
    assert (job.status, job.error_code, job.max_attempts) == (Status.CANCELLED, None, 3)
    assert (job.error or "").startswith("cancelled while")
    with store.read() as connection:
        told = jobs.history(connection, "j")[-1]
        assert jobs.body_of(connection, "j").result is None
    assert (told.to_status, (told.detail or {})["cause"]) == ("cancelled", "operator")
    assert (told.detail or {}).get("reason") == (meant.error or (meant.detail or {}).get("reason"))
    assert read(store, "other").status is meant.to
    assert leases.held() == []


def test_a_cancel_comes_too_late_for_a_video_that_is_published(store: Store, leases: Leases) -> None:
    put(store, "j")
    leases.take_turn([], 1, KINDS)
    ask_to_cancel(store, "j")
    assert not leases.take_turn([done("j", 1, is_delivered=True)], 0).cancelled
    assert read(store, "j").status is Status.COMPLETED


def test_an_attempt_that_ends_while_somebody_is_just_cancelling_it_waits_for_him(postgresql_url: str) -> None:
    with closing(open_store(postgresql_url)) as store, closing(begin(store, holder())) as leases:
        put(store, "j")
        leases.take_turn([], 1, KINDS)
        with ThreadPoolExecutor(1) as pool:
            with store.write() as connection:
                assert workers.ask_to_stop(connection, "j", 1, at=store.now(connection))
                turn = pool.submit(leases.take_turn, [done("j", 1)], 0)
                until_somebody_waits(postgresql_url)
            assert turn.result().cancelled == {("j", 1)}
        assert read(store, "j").status is Status.CANCELLED


def until_somebody_waits(url: str) -> None:
    """Wait until a statement waits for a lock in this database."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with closing(open_store(url)) as store:
        deadline = clock.monotonic() + 60.0
        while True:
            with store.read() as connection:
                if connection.execute(text(waiting)).scalar_one():
                    return
            assert clock.monotonic() < deadline
            clock.sleep(0.01)


def test_progress_is_kept_and_shows_life(store: Store, leases: Leases) -> None:
    put(store, "j1")
    leases.take_turn([], 1, KINDS)
    assert leases.report([ProgressReport("j1", 1, 140.0, "composing")]) == frozenset()
    leases.report([ProgressReport("j1", 1, 20.0, None)])
    job = read(store, "j1")
    assert (job.progress, job.shown_progress) == (20.0, 100.0)


def test_one_beat_renews_everything_until_the_worker_is_given_up(store: Store, leases: Leases) -> None:
    assert leases.beat({"completed": 3}, "running")
    (peer,) = leases.peers()
    assert (peer.worker_id, peer.beat) == ("w1", 1)
    with store.write() as connection:
        assert not workers.end_worker(connection, "w1", "lost", at=AT, beat=0)
        assert workers.end_worker(connection, "w1", "lost", at=AT, beat=1)
    assert not leases.beat({}, "running")
    assert leases.peers() == []


def test_an_idle_worker_is_woken_by_an_enqueue_of_its_queue(store: Store, leases: Leases) -> None:
    leases.was_woken()
    put(store, "j1")
    deadline = clock.monotonic() + 60.0
    while not leases.was_woken():
        assert clock.monotonic() < deadline, "it was not woken"
        clock.sleep(0.01)


def call(opened: Leases, url: str, queue: str) -> None:
    """Call the workers of a queue; the call has come to this one, which has not read it yet."""
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_notify(%s, %s)", (CHANNEL, queue))
    assert select.select([opened.wake_fd()], [], [], 60)[0]


def test_a_worker_hears_the_calls_of_its_queues_and_those_of_all(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    with closing(begin(store, holder("w1", "films", "stills"))) as opened:
        assert opened.was_woken(), "who was called before it listened is not known"
        for queue, is_meant in (("stills", True), ("elsewhere", False), ("films", True), ("", True)):
            call(opened, postgresql_url, queue)
            assert opened.was_woken() is is_meant, queue
    store.close()


def test_a_call_that_comes_with_the_answer_to_something_else_is_heard(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    with closing(begin(store, holder())) as opened:
        opened.was_woken()
        call(opened, postgresql_url, "default")
        assert opened.beat({}, "running")
        assert opened.was_woken()
    store.close()


def test_many_that_are_there_are_left_out_by_few_transactions(store: Store) -> None:
    def stream() -> Iterator[New]:
        return (New(Job(job_id=f"j{number}", kind="noop")) for number in range(500))

    assert sum(enqueue_many(store, stream(), actor="test")) == 500
    begun, left = list[object](), list[Left]()
    event.listen(store.engine, "begin", begun.append)
    assert sum(enqueue_many(store, stream(), actor="test", note=left.append)) == 0
    assert len(begun) <= 5
    assert [each.job_id for each in left] == [f"j{number}" for number in range(500)]


@pytest.mark.parametrize("kinds", [["noop"], ["noop", "film", "scan"]])
def test_each_job_is_taken_once_however_many_ask(store: Store, kinds: list[str]) -> None:
    def stream() -> Iterator[New]:
        of = cycle(kinds)
        return (New(Job(job_id=f"j{number:03}", kind=next(of))) for number in range(300))

    assert sum(enqueue_many(store, stream(), actor="test")) == 300
    assert sum(enqueue_many(store, stream(), actor="test")) == 0
    taken: list[str] = []

    def work(name: str) -> None:
        with closing(begin(store, holder(name))) as opened:
            while claims := opened.take_turn([], 7, kinds).claims:
                taken.extend(claim.job_id for claim in claims)

    threads = [Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted({f"j{number:03}" for number in range(300)})


def test_a_claim_waits_for_no_other_that_is_just_being_made(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    put(store, "j1")
    put(store, "j2")
    with psycopg.connect(postgresql_url) as other:
        # Whoever waits is told so, and not for ever.
        other.execute(f"ALTER DATABASE \"{other.info.dbname}\" SET lock_timeout = '2s'")
        other.commit()
        other.execute("SELECT 1 FROM jobctl.job WHERE job_id = 'j1' FOR UPDATE")
        with closing(begin(store, holder())) as opened:
            assert [claim.job_id for claim in opened.take_turn([], 1, KINDS).claims] == ["j2"]
    store.close()


def test_an_idempotency_key_gives_the_job_that_has_it(store: Store) -> None:
    for job_id in ("one", "two"):
        with store.write() as connection:
            new = New(Job(job_id=job_id, kind="noop", idempotency_key="k"))
            made = enqueue(connection, new, actor="test", at=AT)
        assert (made.job.job_id, made.existed) == ("one", job_id == "two")


def test_of_those_that_enqueue_with_one_key_at_once_one_is_first(store_url: str) -> None:
    def ask(name: str) -> list[str]:
        with jobctl.Queue(store_url) as queue:
            barrier.wait()
            return [queue.enqueue("noop", name, key=f"k{number}").job_id for number in range(20)]

    barrier = Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, "abcdef"))
    assert [len({*given}) for given in zip(*answers, strict=True)] == [1] * 20


def test_what_no_database_takes_is_told_apart_from_a_database_that_is_away(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    put(store, "j1")
    with closing(begin(store, holder())) as opened:
        opened.take_turn([], 1, KINDS)
        with pytest.raises(psycopg.DataError):
            opened.take_turn([done("j1", 1, result='"\\u0000"')], 0)
        assert opened.take_turn([done("j1", 1)], 0).settled == {("j1", 1)}
    store.close()


def test_tables_that_are_away_are_a_database_that_is_away(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    put(store, "j1")
    with psycopg.connect(postgresql_url, autocommit=True) as admin, closing(begin(store, holder())) as opened:
        admin.execute("ALTER SCHEMA jobctl RENAME TO aside")
        for visit in (opened.held, lambda: opened.take_turn([], 1, KINDS)):
            with pytest.raises(StoreUnreachable):
                visit()
        admin.execute("ALTER SCHEMA aside RENAME TO jobctl")
        assert [claim.job_id for claim in opened.take_turn([], 1, KINDS).claims] == ["j1"]
    store.close()
