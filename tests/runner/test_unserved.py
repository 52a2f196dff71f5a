"""A worker's log tells of jobs that no worker takes, once."""

from __future__ import annotations

import jobctl
from jobctl.model.job import Executor
from jobctl.ops.site import open_site
from jobctl.runner.unserved import Unserved
from jobctl.settings import load_settings
from jobctl.store import workers
from jobctl.store.leases import Holder


def test_each_task_that_nobody_knows_is_told_once_and_again_when_it_comes_back(
    store_url: str, queue: jobctl.Queue
) -> None:
    said: list[str] = []
    with open_site(load_settings(database=store_url, environ={})) as site:
        with site.store.write() as connection:
            holder, at = Holder("w1", Executor("elsewhere", "b", 1, 1), ("q",)), site.store.now(connection)
            workers.register(
                connection, holder, tasks=["known"], slots=1, isolation="thread", lease_s=10.0, at=at
            )
        for task, priority in (("known", 0), ("strange", 0), ("strange", 3)):
            queue.enqueue(task, queue="q", priority=priority, job_id=f"{task}-{priority}")
        queue.enqueue("strange", queue="elsewhere")
        unserved = Unserved(site, ("q",), said.append)
        unserved.look()
        unserved.look()
        assert len(said) == 1
        assert said[0].startswith("2 jobs (strange) have been due for ")
        assert said[0].endswith(
            "and no worker knows the task strange; start one: jobctl worker --tasks MODULE --queue q"
        )
        for job_id in ("strange-0", "strange-3"):
            queue.cancel(job_id)
        unserved.look()
        queue.enqueue("strange", queue="q")
        unserved.look()
    assert len(said) == 2
