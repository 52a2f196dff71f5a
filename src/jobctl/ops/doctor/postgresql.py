"""Checks of a store in PostgreSQL."""

from __future__ import annotations

from jobctl.core.health.databases import (
    TableRows,
    judge_autovacuum,
    judge_bloat,
    judge_indexes,
    judge_settings,
    judge_slots,
    judge_statistics,
    judge_transactions,
)
from jobctl.model.health import Diagnosis
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.store import vitals_postgresql as facts

THEME = "store"
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@health_check(
    "integrity",
    THEME,
    "An invalid index is used by no query, and holds no row to be unique.",
    database="postgresql",
)
def integrity(patient: Patient) -> Diagnosis:
    """The indexes of the store."""
    store = patient.site.store
    with store.read() as connection:
        invalid = facts.invalid_indexes(connection)
    return judge_indexes(
        {
            name: facts.command_of(store, f"REINDEX INDEX CONCURRENTLY {facts.quoted(name)}")
            for name in invalid
        }
    )


@health_check(
    "wal",
    THEME,
    "A replication slot that nobody reads keeps all log since, until the server's disk is full and it stops.",
    database="postgresql",
)
def wal(patient: Patient) -> Diagnosis:
    """The slots of the server."""
    store = patient.site.store
    with store.read() as connection:
        slots, most = facts.idle_slots(connection), facts.usual_log_bytes(connection)
    mends = {slot.name: facts.command_of(store, facts.dropping(slot)) for slot in slots}
    return judge_slots(slots, most, mends)


@health_check(
    "durability",
    THEME,
    "What a caller was told is stored has to survive a power loss.",
    database="postgresql",
)
def durability(patient: Patient) -> Diagnosis:
    """The settings of the server, as they are for us."""
    store = patient.site.store
    with store.read() as connection:
        settings = facts.settings(connection, *_DURABLE)
    return judge_settings(settings, {each.name: facts.turn_on(store, each) for each in settings})


@health_check(
    "transactions",
    THEME,
    "While a transaction is open, no row that died since can be cleared away: tables grow and get slow.",
    database="postgresql",
)
def transactions(patient: Patient) -> Diagnosis:
    """The open ones."""
    store = patient.site.store
    with store.read() as connection:
        open_ones = facts.transactions(connection)
    mends = {
        each.pid: facts.command_of(store, f"SELECT pg_terminate_backend({each.pid})") for each in open_ones
    }
    return judge_transactions(open_ones, mends)


@health_check(
    "autovacuum",
    THEME,
    "Every heartbeat leaves a dead row behind; only vacuum clears them away.",
    database="postgresql",
)
def autovacuum(patient: Patient) -> Diagnosis:
    """Whether the server runs it."""
    store = patient.site.store
    with store.read() as connection:
        (setting,) = facts.settings(connection, "autovacuum")
    return judge_autovacuum(setting, {setting.name: facts.turn_on(store, setting)})


@health_check(
    "bloat",
    THEME,
    "Dead rows make every claim read more, until workers wait for the database.",
    database="postgresql",
)
def bloat(patient: Patient) -> Diagnosis:
    """The dead rows of the store's tables."""
    tables = _tables(patient)
    return judge_bloat(tables, _mends(patient, tables, "VACUUM (ANALYZE)"))


@health_check(
    "statistics",
    THEME,
    "Without statistics the planner guesses, and a query of milliseconds takes minutes.",
    database="postgresql",
)
def statistics(patient: Patient) -> Diagnosis:
    """What the planner knows of the store's tables."""
    tables = _tables(patient)
    return judge_statistics(tables, _mends(patient, tables, "ANALYZE"))


def _mends(patient: Patient, tables: list[TableRows], statement: str) -> dict[str, str]:
    """The command that carries out a statement on each of the tables."""
    store = patient.site.store
    return {each.table: facts.command_of(store, f"{statement} {facts.quoted(each.table)}") for each in tables}


def _tables(patient: Patient) -> list[TableRows]:
    with patient.site.store.read() as connection:
        return facts.table_rows(connection)


CHECKS: tuple[HealthCheck, ...] = (
    integrity,
    wal,
    durability,
    transactions,
    autovacuum,
    bloat,
    statistics,
)
