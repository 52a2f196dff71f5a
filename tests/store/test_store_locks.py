"""Locks: one holder, told to the others; taken over from the dead and the silent; fenced."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import select, update

from jobctl.errors import Locked, LockLost
from jobctl.evidence.executor import current_executor, liveness
from jobctl.model.job import Executor
from jobctl.store import locks
from jobctl.store.engine import Store, open_store
from jobctl.store.locks import Fence
from jobctl.store.schema import lock
from store.processes import ended, heard, order, start
from store.records import AT
from store.worker import HOST

NAME = "root:r1"
ELSEWHERE = Executor("host-b", "boot", 4711, 123456, "pid:[7]")


def take(
    store: Store,
    *,
    holder: Executor = ELSEWHERE,
    stale_after_s: float = 120.0,
    holder_is_dead: Callable[[Executor], bool] = lambda executor: False,
    name: str = NAME,
    holder_id: str = "run-1",
) -> Fence:
    return locks.acquire(
        store,
        name,
        holder=holder,
        holder_id=holder_id,
        command="recover",
        stale_after_s=stale_after_s,
        holder_is_dead=holder_is_dead,
    )


def renew(store: Store, fence: Fence) -> None:
    with store.write() as connection:
        locks.renew(connection, fence, at=store.now(connection))


def release(store: Store, fence: Fence) -> None:
    with store.write() as connection:
        locks.release(connection, fence)


def test_the_second_is_told_who_holds_it(store: Store) -> None:
    take(store)
    with pytest.raises(Locked) as refused:
        take(store, holder_id="run-2")
    assert type(refused.value) is Locked
    assert "'jobctl recover' (pid 4711 on host host-b)" in refused.value.message
    assert NAME in refused.value.message
    assert "nothing was changed" in refused.value.message
    assert "--wait" in refused.value.hint
    assert "taken over in 120 s" in refused.value.hint


def test_locks_of_other_names_are_free(store: Store) -> None:
    take(store)
    take(store, name="root:r2")


def test_a_released_lock_is_free_and_its_fence_rises(store: Store) -> None:
    first = take(store)
    release(store, first)
    second = take(store, holder_id="run-2")
    assert second.number == first.number + 1
    with store.read() as connection:
        assert connection.execute(select(lock.c.holder)).scalar_one() == "run-2"


def test_a_released_lock_names_nobody(store: Store) -> None:
    release(store, take(store))
    with store.read() as connection:
        row = connection.execute(select(lock)).one()
    assert {name: value for name, value in row._mapping.items() if value is not None} == {
        "name": NAME,
        "fence": 1,
    }


def test_the_lock_of_the_dead_is_taken_over_at_once(store: Store) -> None:
    asked: list[Executor] = []

    def is_dead(executor: Executor) -> bool:
        asked.append(executor)
        return True

    first = take(store)
    assert take(store, holder_id="run-2", holder_is_dead=is_dead).number == first.number + 1
    # All that tells one process from another is asked about, its container too.
    assert asked == [ELSEWHERE]


def test_a_silent_holder_is_replaced_and_changes_nothing_more(store: Store) -> None:
    first = take(store)
    second = take(store, holder_id="run-2", stale_after_s=0.0)
    with pytest.raises(LockLost, match="nothing more was changed"):
        renew(store, first)
    release(store, first)
    renew(store, second)
    with pytest.raises(Locked):
        take(store, holder_id="run-3")


def test_a_sign_of_life_keeps_it(store: Store) -> None:
    fence = take(store)
    with store.write() as connection:
        connection.execute(update(lock).values(heartbeat=AT))
    renew(store, fence)
    with pytest.raises(Locked):
        take(store, holder_id="run-2", stale_after_s=60.0)


def test_silence_is_measured_by_the_stores_clock(store: Store) -> None:
    take(store)
    with store.write() as connection:
        connection.execute(update(lock).values(heartbeat=AT))
    assert take(store, holder_id="run-2").number == 2


def test_a_clock_that_was_set_back_proves_nothing(store: Store) -> None:
    take(store)
    with store.write() as connection:
        connection.execute(update(lock).values(heartbeat=AT.replace(year=9000)))
    with pytest.raises(Locked, match="since"):
        take(store, holder_id="run-2", stale_after_s=1.0)


def test_a_chunk_of_a_lost_lock_is_rolled_back(store: Store) -> None:
    first = take(store)
    take(store, holder_id="run-2", stale_after_s=0.0)
    with pytest.raises(LockLost), store.write() as connection:
        connection.execute(update(lock).values(command="undo"))
        locks.renew(connection, first, at=store.now(connection))
    with store.read() as connection:
        assert connection.execute(select(lock.c.command)).scalar_one() == "recover"


def test_of_many_processes_one_gets_it(store_url: str) -> None:
    workers = [start("hold", store_url, NAME) for _ in range(4)]
    said = [heard(worker) for worker in workers]
    for worker in workers:
        ended(worker)
    assert sorted(said) == ["held 1", "locked", "locked", "locked"]


def test_who_comes_while_another_one_is_just_taking_it_sees_that_it_is_taken(postgresql_url: str) -> None:
    """On a server two can look at a free lock at once: one of them has to wait."""
    store = open_store(postgresql_url)
    release(store, take(store))
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with (
        psycopg.connect(postgresql_url) as other,
        psycopg.connect(postgresql_url, autocommit=True) as looking,
        ThreadPoolExecutor() as pool,
    ):
        other.execute("SELECT 1 FROM jobctl.lock FOR UPDATE")
        second = pool.submit(take, store, holder_id="run-2")
        while looking.execute(waits).fetchone() == (0,):
            assert not second.done()
        fields = ", ".join(f"{name} = %s" for name in Executor._fields)
        other.execute(
            "UPDATE jobctl.lock SET holder = 'run-1', command = 'scan', fence = fence + 1, heartbeat = now(),"
            f" acquired_at = now(), {fields}".encode(),
            ELSEWHERE,
        )
        other.commit()
        with pytest.raises(Locked, match="'jobctl scan'"):
            second.result()
    store.close()


def test_a_killed_process_holds_it_no_longer(store: Store, store_url: str) -> None:
    holder = start("hold", store_url, NAME)
    assert heard(holder) == "held 1"
    with pytest.raises(Locked):
        take(store, holder_is_dead=is_dead_here)
    holder.kill()
    holder.communicate()
    assert take(store, holder_is_dead=is_dead_here).number == 2


def test_a_process_that_was_stopped_and_wakes_learns_that_it_lost(store: Store, store_url: str) -> None:
    holder = start("hold", store_url, NAME)
    assert heard(holder) == "held 1"
    assert order(holder, "renew") == "renew done"
    holder.send_signal(signal.SIGSTOP)
    # Stopped is not dead, only silent.
    with pytest.raises(Locked):
        take(store, holder_is_dead=is_dead_here)
    fence = take(store, holder_is_dead=is_dead_here, stale_after_s=0.0)
    holder.send_signal(signal.SIGCONT)
    assert order(holder, "renew") == "lost"
    assert order(holder, "release") == "release done"
    ended(holder)
    renew(store, fence)


def test_a_living_process_of_this_host_is_never_taken_for_dead() -> None:
    assert not is_dead_here(current_executor(HOST))
    assert not is_dead_here(
        current_executor(HOST)._replace(instance="pid:[another]", pid=2**22 + os.getpid())
    )


def is_dead_here(executor: Executor) -> bool:
    return liveness(executor, host=HOST) == "dead"
