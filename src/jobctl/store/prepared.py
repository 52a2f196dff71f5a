"""Prepared statements: parsed and planned once, where a session of PostgreSQL is one connection's alone.

What is prepared belongs to a session, and a proxy that pools by transaction shares sessions out: to
prepare there fails, sooner or later. Such a proxy answers a new connection in the server's place and
names a process of its own invention to it, which no session's is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection

from jobctl.store.statements import told_as_sqlalchemy_tells

_IS_OWN = "its session is its own"


def has_own_session(driver: psycopg.Connection[Any]) -> bool:
    """Whether nobody else meets the session of a connection; it prepares what it is told to from then on."""
    found = driver.execute("SELECT pg_backend_pid()").fetchone()
    is_own = found is not None and found[0] == driver.info.backend_pid
    # Never of its own accord: a plan for any values is only worth it where it is known to be a good one.
    driver.prepare_threshold = sys.maxsize if is_own else None
    return is_own


def run_prepared(connection: Connection, sql: str, parameters: Sequence[Any]) -> psycopg.Cursor[Any]:
    """One statement of PostgreSQL's own SQL that is run again and again, its cursor."""
    driver: Any = connection.connection.driver_connection
    with told_as_sqlalchemy_tells(connection, sql):
        if _IS_OWN not in connection.info:
            connection.info[_IS_OWN] = has_own_session(driver)
        return driver.execute(sql, parameters, prepare=connection.info[_IS_OWN])  # type: ignore[no-any-return]
