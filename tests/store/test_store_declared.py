"""What workers tell of their tasks holds for jobs that only name one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import jobctl
from cli.calling import answer
from jobctl.model.job import Executor
from jobctl.store import workers
from jobctl.store.declared import declared, tell_tasks
from jobctl.store.engine import Store
from jobctl.store.leases import Holder
from jobctl.work import TaskSpec
from store.records import AT


def tell(store: Store, worker: str, *, began_s: float, **fields: object) -> None:
    spec = TaskSpec(name="render", command=("render", "--secret"), **fields)  # type: ignore[arg-type]
    with store.write() as connection:
        since = AT + timedelta(seconds=began_s)
        tell_tasks(connection, worker, {"render": spec.told}, troubles=[], since=since)


def test_the_worker_that_began_last_is_right_whoever_speaks_last(store: Store) -> None:
    tell(store, "old", began_s=0, retries=1)
    tell(store, "new", began_s=60, retries=5, queue="video", timeout_s=90.0)
    tell(store, "old", began_s=0, retries=1)
    with store.read() as connection:
        found = declared(connection, "render")
        assert declared(connection, "other") == {}
    assert (found["retries"], found["queue"], found["timeout_s"]) == (5, "video", 90.0)
    assert "command" not in found
    tell(store, "new", began_s=120, retries=3)
    with store.read() as connection:
        assert declared(connection, "render")["retries"] == 3


def test_a_worker_keeps_what_it_told(store: Store) -> None:
    with store.write() as connection:
        holder = Holder("w1", Executor("h", "b", 1, 1), ("default",))
        workers.register(connection, holder, tasks=[], slots=1, isolation="thread", lease_s=10.0, at=AT)
        specs = {"render": TaskSpec(name="render", retries=4).told}
        tell_tasks(connection, "w1", specs, troubles=["films does not import: \0 \ud800"], since=AT)
        (row,) = workers.list_workers(connection, every=True)
    assert (row.tasks, row.specs["render"]["retries"]) == (["render"], 4)
    assert row.troubles == ["films does not import: \\x00 \\ud800"]


def test_a_job_that_names_a_task_gets_what_workers_told_of_it(store: Store, store_url: str) -> None:
    tell(store, "w1", began_s=0, retries=5, queue="video")
    with jobctl.Queue(store_url) as queue:
        made = [queue.enqueue("render"), queue.enqueue("render", queue="other", max_attempts=2)]
        unknown = queue.enqueue("unheard-of")
    found = [(job.queue, job.max_attempts) for job in (*made, unknown)]
    assert found == [("video", 6), ("other", 2), ("default", 3)]


def test_options_go_before_the_file_and_the_file_before_workers(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    tell(store, "w1", began_s=0, retries=5, queue="video")
    file = tmp_path / "jobctl.toml"
    file.write_text("[tasks.render]\nretries = 1\n")

    def enqueued(*options: str) -> tuple[str, int]:
        told = answer("enqueue", "render", *options, database=store_url)
        shown = answer("show", told["data"]["job_id"], database=store_url)["data"]
        wait = f"no worker serves the queue {shown['queue']}, so that the job waits; start one: jobctl worker"
        assert wait in told["warnings"][0]
        assert wait.replace(", so that the job waits", "") in shown["lack"]
        return shown["queue"], shown["max_attempts"]

    assert enqueued() == ("video", 6)
    assert not any(
        "yet: it gets" in said for said in answer("enqueue", "render", database=store_url)["warnings"]
    )
    assert enqueued("--config", str(file)) == ("video", 2)
    assert enqueued("--config", str(file), "--retries", "0", "--queue", "q") == ("q", 1)
