"""Care of the store itself: is it sound, and is it in good shape."""

from __future__ import annotations

from sqlalchemy.exc import DatabaseError

from jobctl.store.dialect import SQLite
from jobctl.store.engine import Connection, Store

_SHOWN = 10

# What no statement of jobctl leaves behind, so that each row found is a fault worth telling.
_CONTRADICTIONS = {
    "a file is linked to a job without a record": (
        "SELECT a.job_id FROM {artifact} a LEFT JOIN {job} j ON j.job_id = a.job_id WHERE j.job_id IS NULL"
    ),
    "a job has a record and an open tombstone": (
        "SELECT j.job_id FROM {job} j JOIN {tombstone} t ON t.job_id = j.job_id WHERE t.closed_at IS NULL"
    ),
    "a job names a root that is not registered": (
        "SELECT j.job_id FROM {job} j LEFT JOIN {root} r ON r.root_id = j.root_id"
        " WHERE j.root_id IS NOT NULL AND r.root_id IS NULL"
    ),
    "a job has a record and no history": (
        "SELECT j.job_id FROM {job} j WHERE NOT EXISTS (SELECT 1 FROM {event} e WHERE e.job_id = j.job_id)"
    ),
}
_TABLES = ("job", "artifact", "tombstone", "root", "event")


def check_integrity(store: Store) -> list[str]:
    """What is wrong with the store, one sentence each; empty for a sound one. Ten of a kind are told.

    On SQLite the whole file is read. What PostgreSQL keeps on disk is its own to check.
    """
    with store.read() as connection:
        # What a damaged file says of its content is worth nothing.
        return _damages(store, connection) or _contradictions(store, connection)


def _damages(store: Store, connection: Connection) -> list[str]:
    if not isinstance(store.dialect, SQLite):
        return []
    try:
        said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    except DatabaseError as error:
        said = [str(error.orig)]
    return [f"the file is damaged: {line}" for line in said if line != "ok"]


def _contradictions(store: Store, connection: Connection) -> list[str]:
    names = {table: store.dialect.table(table) for table in _TABLES}
    troubles: list[str] = []
    for meaning, sql in _CONTRADICTIONS.items():
        found = connection.exec_driver_sql(f"{sql.format(**names)} ORDER BY 1 LIMIT {_SHOWN}").scalars()
        troubles += [f"{meaning}: {job_id}" for job_id in found]
    return troubles


def optimise(path: str) -> None:
    """Give the free space of an SQLite store back and renew what its planner knows of the tables."""
    import sqlite_utils  # noqa: PLC0415 - slow to import

    database = sqlite_utils.Database(path)
    try:
        database.vacuum()
        database.analyze()
    finally:
        database.close()
