"""Fixtures: a store on each database, roots, and the rule that a skip needs a listed reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from jobctl import __version__
from jobctl.store.engine import Store, create_store, open_store
from postgres import at_database, running, system_binaries, wheel_binaries

settings.register_profile("jobctl", deadline=None, print_blob=True)
settings.load_profile("jobctl")

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
_numbers = count(1)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine's reaches a test."""
    for name in [name for name in os.environ if name.startswith("JOBCTL_") and name != "JOBCTL_TEST_PG_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg-data"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server with a template database that holds an empty store."""
    given = os.environ.get("JOBCTL_TEST_PG_URL")
    if given:
        yield from _with_template(given)
        return
    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        pytest.fail("no PostgreSQL: install the test requirements, or set JOBCTL_TEST_PG_URL")
    with running(binaries) as url:
        yield from _with_template(url)


def _with_template(url: str) -> Iterator[str]:
    name = f"jobctl_template_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    store, _ = create_store(at_database(url, name), now=datetime.now(UTC), version=__version__)
    store.close()
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of a database of this test's own, with an empty store."""
    name = f"jobctl_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE jobctl_template_{os.getpid()}")
    yield at_database(postgresql_server, name)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def bare_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"jobctl_bare_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield at_database(postgresql_server, name)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a store, where none is yet; each test runs on both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "store" / "jobs.db")
    url: str = request.getfixturevalue("bare_postgresql_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store; each test runs on both databases."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    path = str(tmp_path / "store" / "jobs.db")
    store, _ = create_store(path, now=datetime.now(UTC), version=__version__)
    store.close()
    return path


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty, opened store."""
    opened = open_store(store_url)
    yield opened
    opened.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the skips that no listed reason allows."""
    for report in _unlisted_skips(terminalreporter):
        terminalreporter.write_line(f"UNLISTED SKIP {report.nodeid}: {_reason(report)}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run where a skip is not listed with its reason."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(session.config, "workerinput") and _unlisted_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unlisted_skips(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    allowed = [line.strip() for line in ALLOWED_SKIPS.read_text().splitlines() if line and line[0] != "#"]
    skipped = reporter.stats.get("skipped", [])
    return [report for report in skipped if not any(reason in _reason(report) for reason in allowed)]


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
