"""Behind a pgbouncer in transaction mode: each transaction may meet another session, and nothing minds.

Notifications do not pass such a proxy, session locks and prepared statements do not hold there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

import jobctl
from cli.calling import answer
from jobctl import __version__, clock
from jobctl.model.status import Status
from jobctl.store.engine import create_store
from postgres import Server, at_database, serving, system_binaries, wheel_binaries
from runner.working import Crewed, crewed

_PGBOUNCER = shutil.which(
    "pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
)
_SETTINGS = """
[databases]
* = host={server} user=jobctl
[pgbouncer]
unix_socket_dir = {directory}
listen_port = 6432
listen_addr =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
"""


@pytest.fixture(scope="module")
def pooled_url() -> Iterator[str]:
    """The URL of an empty store on a server of these tests' own, by way of a pgbouncer of three sessions."""
    if _PGBOUNCER is None:
        pytest.skip("this machine has no pgbouncer")
    binaries = system_binaries() or wheel_binaries()
    assert binaries is not None
    with serving(binaries) as server:
        create_store(server.url, now=datetime.now(UTC), version=__version__)[0].close()
        yield from _behind_pgbouncer(server)


def _behind_pgbouncer(server: Server) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jobctl-pool-", dir=server.starter.directory) as directory:
        settings = Path(directory, "pgbouncer.ini")
        settings.write_text(_SETTINGS.format(server=server.starter.directory, directory=directory))
        for place in (Path(directory), settings):
            shutil.chown(place, *_owner(server))
        with open(Path(server.starter.directory, "pgbouncer.log"), "wb") as log:
            process = server.starter.popen([str(_PGBOUNCER), str(settings)], log)
            url = f"postgresql://jobctl@/postgres?host={directory}&port=6432"
            try:
                _await(url)
                yield url
            finally:
                process.kill()
                process.wait()


def _owner(server: Server) -> tuple[int, int]:
    found = Path(server.starter.directory).stat()
    return found.st_uid, found.st_gid


def _await(url: str) -> None:
    deadline = clock.monotonic() + 60
    while True:
        try:
            psycopg.connect(url, connect_timeout=5, prepare_threshold=None).close()
        except psycopg.OperationalError:
            if clock.monotonic() > deadline:
                raise
            clock.sleep(0.05)
        else:
            return


@pytest.fixture
def crew(pooled_url: str) -> Iterator[Crewed]:
    with crewed(pooled_url) as made:
        yield made


def test_jobs_are_enqueued_run_and_told_of(crew: Crewed) -> None:
    with jobctl.Queue(crew.url) as queue:
        alone = [queue.enqueue("greet", number) for number in range(10)]
        queue.enqueue_many(jobctl.Request("greet", number) for number in range(200))
    for _ in range(2):
        crew.start(slots=4)
    crew.until(lambda: answer("status", database=crew.url)["counts"].get("completed", 0) >= 210)
    assert crew.statuses(alone[0].job_id) == ["queued", "processing", "completed"]
    crew.until(lambda: len(answer("workers", database=crew.url)["data"]["items"]) == 2)


def test_a_job_is_taken_soon_without_being_called(crew: Crewed) -> None:
    crew.start()
    with jobctl.Queue(crew.url) as queue:
        crew.until(lambda: "serves" in crew.said())
        job_id = queue.enqueue("greet", 1).job_id
    assert crew.until_ended(job_id).status is Status.COMPLETED


def test_what_a_killed_worker_ran_is_rescued(crew: Crewed, tmp_path: Path) -> None:
    first = crew.start()
    with jobctl.Queue(crew.url) as queue:
        job_id = queue.enqueue("wait", str(tmp_path)).job_id
    crew.until(lambda: crew.job(job_id).status is Status.PROCESSING)
    first.kill()
    crew.start()
    crew.until(lambda: crew.job(job_id).attempt == 2)
    assert answer("cancel", job_id, database=crew.url)["exit_code"] == 0
    assert crew.until_ended(job_id).status is Status.CANCELLED


def test_recover_and_expire_run_behind_it(crew: Crewed, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    assert answer("init", "--root", str(outputs), database=crew.url)["exit_code"] == 0
    for command in (["recover", "--yes"], ["expire", "--yes"], ["cleanup", "--yes"], ["verify"], ["doctor"]):
        told = answer(*command, database=crew.url)
        assert told["errors"] == [], command


def test_the_store_keeps_no_session_of_its_own(pooled_url: str, crew: Crewed) -> None:
    for _ in range(4):
        crew.start()
    crew.until(lambda: crew.said().count("serves") == 4)
    # Three sessions serve four workers, with two connections each.
    direct = at_database(pooled_url.replace("&port=6432", ""), "postgres")
    host = Path(direct.partition("host=")[2]).parent
    with psycopg.connect(f"postgresql://jobctl@/postgres?host={host}") as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
    assert found is not None
    assert found[0] <= 3
