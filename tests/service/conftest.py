"""One database for all of these tests: making one takes longer than most of them do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

import jobctl
from jobctl import __version__
from jobctl.store.engine import create_store, open_store
from jobctl.store.schema import metadata
from postgres import at_database
from service.jobs_of_a_service import PresentationJob

_KEPT = {"store", "alembic_version"}


@pytest.fixture(scope="session")
def _service_urls(
    postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    path = str(tmp_path_factory.mktemp("service") / "jobs.db")
    store, _ = create_store(path, now=datetime.now(UTC), version=__version__)
    store.close()
    name = f"jobctl_service_{os.getpid()}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = at_database(postgresql_server, name)
    store, _ = create_store(url, now=datetime.now(UTC), version=__version__)
    store.close()
    yield {"sqlite": path, "postgresql": url}
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, _service_urls: dict[str, str]) -> str:
    """The URL of a store without any job; each test runs on both databases."""
    url = _service_urls[request.param]
    empty(url)
    return url


def empty(url: str) -> None:
    """Take all jobs out of a store."""
    store = open_store(url)
    with store.write() as connection:
        for table in metadata.sorted_tables:
            if table.name not in _KEPT:
                connection.execute(table.delete())
    store.close()


@pytest.fixture
def jobs(store_url: str) -> Iterator[jobctl.JobDict[PresentationJob]]:
    with jobctl.JobDict(PresentationJob, store_url) as opened:
        yield opened


@pytest.fixture
def elsewhere(store_url: str) -> Iterator[jobctl.JobDict[PresentationJob]]:
    """The same jobs, as another server has them."""
    with jobctl.JobDict(PresentationJob, store_url) as opened:
        yield opened
