"""PostgreSQL's own programs: pg_dump writes a backup, pg_restore reads one. Neither is told a password.

They learn the connection from their environment (libpq's documentation, 34.15), which, unlike a
command line, nobody else on the machine can see.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from glob import glob
from typing import IO, NamedTuple

from jobctl.errors import BackupFailed, BackupUnusable, ToolMissing
from jobctl.store.dialect import PostgreSQL
from jobctl.store.redact import redact_url
from jobctl.store.schema import SCHEMA

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_COPY = re.compile(rb'COPY jobctl\."?(?P<table>[a-z_]+)"? \((?P<columns>[a-z0-9_", ]+)\) FROM stdin;\n')
_BEGIN, _END = b" FROM stdin;\n", b"\\.\n"
_PATIENCE_MS = 60_000


class Tool(NamedTuple):
    """One of the programs, and which major version of PostgreSQL it belongs to."""

    path: str
    version: int


class Copied(NamedTuple):
    """The rows of one table in a dump, as COPY writes them, line by line."""

    table: str
    columns: list[str]
    lines: Iterator[bytes]


def find_tool(name: str, *, at_least: int, why: str, newest: bool = False) -> Tool:
    """A program of PostgreSQL that is not too old: the one in PATH, if it is not, or the ``newest``.

    Raises ``ToolMissing``.
    """
    places = [shutil.which(name), *(f"{place}/{name}" for pattern in _PLACES for place in glob(pattern))]
    found: list[Tool] = []
    for place in dict.fromkeys(place for place in places if place):
        tool = _tool(place)
        if tool is not None:
            found.append(tool)
            if tool.version >= at_least and not newest:
                return tool
    if newest and found:
        return max(found, key=lambda tool: tool.version)
    if not found:
        raise ToolMissing(
            f"{name} is not installed here, and {why}; nothing was changed", hint=_install(at_least)
        )
    best = max(found, key=lambda tool: tool.version)
    raise ToolMissing(
        f"{best.path} is of PostgreSQL {best.version}, and {why}; nothing was changed",
        hint=_install(at_least),
    )


def _install(at_least: int) -> str:
    version = f", version {at_least} or newer" if at_least else ""
    return f"install PostgreSQL's client programs{version}, or put them into PATH"


def dump(dialect: PostgreSQL, tool: Tool, path: str) -> None:
    """Write one moment of the store into a file that is there already. Raises ``BackupFailed``."""
    told = subprocess.run(
        [
            tool.path,
            "--format=custom",
            f"--schema={SCHEMA}",
            "--no-owner",
            "--no-privileges",
            "--no-password",
            "--encoding=UTF8",
            f"--lock-wait-timeout={_PATIENCE_MS}",
            f"--file={path}",
        ],
        env=environment_for(dialect),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if told.returncode != 0:
        raise BackupFailed(
            f"pg_dump ended with {told.returncode}: {_last_word(told.stderr)}; no backup was made",
            hint="check the server, the account's rights on the schema jobctl, and free space",
        )


def check_list(tool: Tool, path: str) -> None:
    """Have ``pg_restore --list`` read a dump's table of contents. Raises ``BackupUnusable``."""
    told = subprocess.run(
        [tool.path, "--list", "--", path], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if told.returncode != 0:
        raise _unreadable(path, told.stderr)


@contextmanager
def rows_of(tool: Tool, path: str, *, table: str | None = None) -> Iterator[Iterator[Copied]]:
    """Every table of a dump, or one, as it is read; each is to be read before the next.

    Only rows: no statement that stands in the file is ever carried out.
    Raises ``BackupUnusable`` for what is no dump, or is cut short, once that is seen.
    """
    only = [f"--schema={SCHEMA}", f"--table={table}"] if table else []
    with subprocess.Popen(
        [tool.path, "--data-only", *only, "--file=-", "--", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        assert process.stderr is not None  # noqa: S101 - it was asked for
        try:
            with closing(_tables(process.stdout)) as tables:
                yield tables
            process.stdout.read()
            said = process.stderr.read()
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            raise _unreadable(path, said)


def environment_for(dialect: PostgreSQL) -> dict[str, str]:
    """This process's environment, with the connection as libpq's programs read it there."""
    from psycopg import conninfo, pq  # noqa: PLC0415 - slow to import

    _, named = dialect.url.get_dialect()().create_connect_args(dialect.url)
    known = {name: value for name, value in named.items() if isinstance(value, str | int)}
    options = pq.Conninfo.parse(conninfo.make_conninfo("", **known).encode())
    given: Mapping[str, str] = {
        option.envvar.decode(): option.val.decode()
        for option in options
        if option.envvar is not None and option.val is not None
    }
    return {**os.environ, "PGCONNECT_TIMEOUT": "10", **given, "PGAPPNAME": "jobctl backup"}


def _tables(output: IO[bytes]) -> Generator[Copied, None, None]:
    for line in output:
        if not (line.startswith(b"COPY ") and line.endswith(_BEGIN)):
            continue
        lines, match = _lines(output), _COPY.fullmatch(line)
        if match:
            columns = [name.strip(' "') for name in match["columns"].decode().split(",")]
            yield Copied(match["table"].decode(), columns, lines)
        for _ in lines:
            """What nobody wanted to read, or is none of ours: it may look like the beginning of a table."""


def _lines(output: IO[bytes]) -> Iterator[bytes]:
    for line in output:
        if line == _END:
            return
        yield line


def _tool(path: str) -> Tool | None:
    try:
        said = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return None
    match = _VERSION.search(said)
    return Tool(path, int(match[1])) if match else None


def _unreadable(path: str, said: bytes) -> BackupUnusable:
    return BackupUnusable(
        f"{path} cannot be read as a backup: {_last_word(said)}; nothing was changed",
        hint="take another backup; if it was made by a newer pg_dump, install its pg_restore",
    )


def _last_word(said: bytes) -> str:
    """What a program complained of last, in one line and without secrets."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line] or lines
    return redact_url(errors[-1].partition("error: ")[2] or errors[-1]) if errors else "it said nothing"
