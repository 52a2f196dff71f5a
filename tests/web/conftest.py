"""The API in this process, on each database. A module shares one store; each test has jobs of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from databases import Databases
from jobctl.ops.site import Site
from jobctl.web.application import app_of
from ops.world import World, a_job_id
from web.serving import api_of

_jobs = count(1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A site with one root; each test runs on both databases."""
    place: Path = tmp_path_factory.mktemp("web")
    with ExitStack() as stack:
        if request.param == "postgresql":
            databases: Databases = request.getfixturevalue("store_databases")
            url = databases.take()
            stack.callback(databases.give_back, url)
        else:
            url = str(shutil.copy(request.getfixturevalue("empty_file"), place / "jobs.db"))
        made = World(url, place / "outputs")
        stack.callback(made.close)
        made.init()
        yield made


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[Site]:
    """Its opened store."""
    with world.site() as opened:
        yield opened


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    """A client of the API."""
    with TestClient(app_of(api_of(world))) as made:
        yield made


@pytest.fixture
def number() -> int:
    """The number of a job that only this test has."""
    return next(_jobs)


@pytest.fixture
def job_id(number: int) -> str:
    """The id of the job of that number."""
    return a_job_id(number)
