"""Fixtures: a store on each database, roots, and the rule that a skip needs a listed reason."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

import statements
from databases import Databases
from jobctl import __version__
from jobctl.store.engine import Store, create_store, open_store
from order import dealt
from postgres import at_database, running, system_binaries, wheel_binaries
from readers import Readers

settings.register_profile("jobctl", deadline=None, print_blob=True)
settings.load_profile("jobctl")
statements.share()
# A run in the background has it ignored, and so would all programs that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

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
    """A PostgreSQL server: the URL of its ``postgres`` database."""
    given = os.environ.get("JOBCTL_TEST_PG_URL")
    if given:
        yield given
        return
    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        pytest.fail("no PostgreSQL: install the test requirements, or set JOBCTL_TEST_PG_URL")
    with running(binaries) as url:
        yield url


@pytest.fixture(scope="session")
def store_databases(postgresql_server: str) -> Iterator[Databases]:
    """Databases of that server, each with an empty store."""
    made = Databases(postgresql_server)
    yield made
    made.close()


@pytest.fixture
def postgresql_url(store_databases: Databases) -> Iterator[str]:
    """The URL of a database of this test's own, with an empty store."""
    url = store_databases.take()
    yield url
    store_databases.give_back(url)


@pytest.fixture
def bare_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"jobctl_bare_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield at_database(postgresql_server, name)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's client programs, of the server's own version, in PATH."""
    binaries = system_binaries() or wheel_binaries()
    if binaries is not None:
        monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session")
def _readers() -> Iterator[Readers]:
    made = Readers()
    yield made
    made.close()


@pytest.fixture
def _one_reader(_readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads media is there already."""
    _readers.share(monkeypatch)


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a store, where none is yet; each test runs on both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "store" / "jobs.db")
    url: str = request.getfixturevalue("bare_postgresql_url")
    return url


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an empty store, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "jobs.db"
    create_store(str(path), now=datetime.now(UTC), version=__version__)[0].close()
    return path


@pytest.fixture
def sqlite_url(empty_file: Path, tmp_path: Path) -> str:
    """The path of a file of this test's own, with an empty store."""
    path = tmp_path / "store" / "jobs.db"
    path.parent.mkdir(mode=0o700)
    return str(shutil.copy(empty_file, path))


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store; each test runs on both databases."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty, opened store."""
    opened = open_store(store_url)
    yield opened
    opened.close()


def pytest_collection_finish() -> None:
    """Spare the collector, here and in processes that are forked, all that the tests themselves are."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have each worker of xdist begin with what takes longest."""
    given = getattr(config, "workerinput", None)
    if given is not None:
        items[:] = [items[place] for place in dealt([item.nodeid for item in items], given["workercount"])]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failure at once: the run may go on for minutes, or be cut."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ and sys.__stdout__ is not None:
        print(f"\n{report.when} of {report.nodeid} failed", file=sys.__stdout__, flush=True)


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
