"""A database that is away, or locked, for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from jobctl.store.engine import Connection


@contextmanager
def away(url: str) -> Iterator[None]:
    """Take a store away: move its file, or let nobody connect to its database."""
    if url.startswith("postgresql"):
        with _server(url) as (connection, name):
            connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(ending, (name,))
    else:
        hidden = Path(url).with_suffix(".hidden")
        hidden.mkdir()
        names = [name for name in os.listdir(Path(url).parent) if name.startswith(Path(url).name)]
        for name in names:
            os.rename(Path(url).parent / name, hidden / name)
    try:
        yield
    finally:
        bring_back(url)


def bring_back(url: str) -> None:
    """End an outage, perhaps one that a killed process had begun."""
    if url.startswith("postgresql"):
        with _server(url) as (connection, name):
            connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        return
    hidden = Path(url).with_suffix(".hidden")
    for name in os.listdir(hidden):
        os.rename(hidden / name, Path(url).parent / name)
    hidden.rmdir()


def hold(connection: Connection, store_url: str) -> None:
    """Keep others from writing any job, until the transaction ends."""
    table = "jobctl.job" if store_url.startswith("postgresql") else "job"
    connection.exec_driver_sql(f"UPDATE {table} SET progress = 1")


@contextmanager
def _server(url: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A connection to the server of a store, and the name of the store's database."""
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}/postgres?{parts.query}"
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection, parts.path.lstrip("/")
