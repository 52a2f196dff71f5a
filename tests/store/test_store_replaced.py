"""A store that was taken away and made anew in its place: who keeps connections to the old one is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from starlette.testclient import TestClient

import jobctl
from jobctl import __version__, clock
from jobctl.errors import StoreReplaced
from jobctl.settings import Settings
from jobctl.store.engine import create_store, open_store
from jobctl.web.api import Api
from jobctl.web.application import app_of
from jobctl.web.limits import Limits

OTHERS = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclasses.dataclass
class Job:
    job_id: str
    status: str = "queued"
    progress: float = 0.0


def replace(url: str) -> None:
    """Put another store in the place of this one, while others are connected to it."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SCHEMA jobctl RENAME TO aside")
            connection.execute(OTHERS)
    else:
        place = Path(url)
        for each in place.parent.glob(f"{place.name}*"):
            each.rename(each.with_name(f"aside{each.name.removeprefix(place.name)}"))
    create_store(url, now=clock.now(), version=__version__)[0].close()


def test_a_dict_of_jobs_is_told_and_writes_nothing_there(store_url: str) -> None:
    with jobctl.JobDict(Job, store_url) as jobs:
        jobs["a"] = job = Job("a")
        replace(store_url)
        asked: list[Callable[[], object]] = [
            lambda: jobs.get("a"),
            lambda: len(jobs),
            lambda: setattr(job, "progress", 1.0),
            lambda: setattr(job, "status", "processing"),
            lambda: jobs.__setitem__("b", Job("b")),
        ]
        for ask in asked:
            with pytest.raises(StoreReplaced, match="holds another job store now"):
                ask()
    with jobctl.JobDict(Job, store_url) as jobs:
        assert list(jobs) == []


def test_a_queue_is_told_and_enqueues_nothing_there(store_url: str) -> None:
    with jobctl.Queue(store_url) as queue:
        queue.enqueue("render", {})
        replace(store_url)
        for _ in range(2):
            with pytest.raises(StoreReplaced, match="start again to use this one"):
                queue.enqueue("render", {})
    store = open_store(store_url)
    with store.read() as connection:
        table = store.dialect.table("job")
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
    store.close()


def test_clients_are_told_to_come_back_and_not_that_their_jobs_are_unknown(store_url: str) -> None:
    api = Api(Settings(database=store_url, host_id="here"), task="render", tokens=None, limits=Limits())
    with TestClient(app_of(api)) as client:
        job_id = client.post("/presentations", json={}).json()["jobId"]
        assert client.get(f"/presentations/{job_id}").status_code == 202
        replace(store_url)
        for _ in range(2):
            answer = client.get(f"/presentations/{job_id}")
            assert (answer.status_code, answer.json()["code"]) == (503, "store-replaced")


def test_a_kept_connection_is_asked_again_whose_store_it_leads_to(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives, and leads to another store, where one was put in the place of its own meanwhile."""
    with closing(open_store(postgresql_url, pooled=True)) as store:
        with store.read():
            pass
        with psycopg.connect(postgresql_url) as other:
            other.execute("UPDATE jobctl.store SET store_id = '0123456789abcdef'")
        later = clock.monotonic() + 5
        monkeypatch.setattr(clock, "monotonic", lambda: later)
        with pytest.raises(StoreReplaced), store.read():
            pass
