"""Checks of a store in an SQLite file."""

from __future__ import annotations

import os
from datetime import timedelta

from jobctl.core.health.databases import (
    WAL_WARN_BYTES,
    judge_damage,
    judge_file_system,
    judge_free_pages,
    judge_hosts,
    judge_left_copies,
    judge_sqlite_durability,
    judge_wal,
)
from jobctl.model.health import Diagnosis
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.doctor.processes import having_open
from jobctl.ops.left_copies import left_copies
from jobctl.ops.stepdown import store_places
from jobctl.outputs.file_systems import file_system_of
from jobctl.store import vitals
from jobctl.store import vitals_sqlite as facts

THEME = "store"
_LATELY = timedelta(days=7)
_WHOLE_FILE_S = 600.0


@health_check(
    "integrity",
    THEME,
    "A damaged page loses records, and what is read of it is not true.",
    database="sqlite",
    limit_s=_WHOLE_FILE_S,
)
def integrity(patient: Patient) -> Diagnosis:
    """Every page of the file."""
    return judge_damage(facts.damages(patient.site.store))


@health_check(
    "wal",
    THEME,
    "A write-ahead log that a reader keeps from being written back grows without bound, and slows reading.",
    database="sqlite",
)
def wal(patient: Patient) -> Diagnosis:
    """The log beside the file."""
    store = patient.site.store
    log = facts.write_ahead_log(store)
    users = having_open(facts.path_of(store)) if log.size >= WAL_WARN_BYTES else []
    return judge_wal(log, users, facts.command_of(store, "query", facts.TRUNCATE))


@health_check(
    "durability", THEME, "What a caller was told is stored has to survive a power loss.", database="sqlite"
)
def durability(patient: Patient) -> Diagnosis:
    """The modes of the file and of a connection to it."""
    store = patient.site.store
    return judge_sqlite_durability(facts.journal_mode(store), facts.synchronous(store))


@health_check(
    "free-pages", THEME, "A file that is mostly empty takes room and makes copies slow.", database="sqlite"
)
def free_pages(patient: Patient) -> Diagnosis:
    """How much of the file is empty."""
    store = patient.site.store
    pages = facts.pages(store)
    return judge_free_pages(pages.pages, pages.free, pages.size, facts.command_of(store, "vacuum"))


@health_check(
    "left-copies",
    THEME,
    "A restore that is killed may leave a copy of the store beside it, each time another one as large.",
    database="sqlite",
)
def left_copies_(patient: Patient) -> Diagnosis:
    """What lies beside the file."""
    return judge_left_copies(dict(left_copies(patient.site)))


@health_check(
    "file-system",
    THEME,
    "SQLite's locks and shared memory do not hold on a network file system: two writers destroy the file.",
    database="sqlite",
    needs_store=False,
)
def file_system(patient: Patient) -> Diagnosis:
    """Where the file lies, or is to lie."""
    (path,) = store_places(patient.settings)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return judge_file_system(path, file_system_of(path))


@health_check(
    "hosts",
    THEME,
    "An SQLite file that several hosts write to is destroyed sooner or later.",
    database="sqlite",
)
def hosts(patient: Patient) -> Diagnosis:
    """Who used it in the last week."""
    site = patient.site
    with site.store.read() as connection:
        now, seen = site.store.now(connection), vitals.hosts_seen(connection)
    lately = {host: (now - at).total_seconds() for host, at in seen.items() if now - at < _LATELY}
    return judge_hosts(lately, site.host)


CHECKS: tuple[HealthCheck, ...] = (integrity, wal, durability, free_pages, left_copies_, file_system, hosts)
