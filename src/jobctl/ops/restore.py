"""Restore: a backup takes the store's place, all of it or nothing; the store that is there is kept.

What is to be put back is read to its end, and checked, before anything is touched. Afterwards no
file is called missing or superfluous until a complete recover was applied: the records are older
than the files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from typing import NamedTuple, Protocol

from jobctl import clock
from jobctl.core.backups import why_not
from jobctl.errors import BackupUnusable, JobctlError, StoreInUse
from jobctl.evidence.executor import current_executor
from jobctl.model.backup import BackupKind, Contents, PutBack, RestorePlan
from jobctl.model.storable import storable_text
from jobctl.ops.doctor.work import held_locks
from jobctl.ops.roots import write_marker
from jobctl.ops.runid import new_run_id
from jobctl.ops.serving import is_lost
from jobctl.ops.site import ProgressSink, Site, open_site, operator
from jobctl.outputs.root import known_marker, read_generation
from jobctl.settings import Settings
from jobctl.store import backup_contents, restored, roots, workers
from jobctl.store.dialect import PostgreSQL, SQLite, dialect_of
from jobctl.store.engine import VERSIONS, Connection
from jobctl.store.restored import Doer
from jobctl.store.roots import RootRow

_BEGINNINGS = {b"SQLite format 3\0": BackupKind.SQLITE, b"PGDMP": BackupKind.POSTGRESQL}
_NAMED = {BackupKind.SQLITE: "SQLite", BackupKind.POSTGRESQL: "PostgreSQL"}


class Restore(Protocol):
    """A backup that was found fit to be put back."""

    @property
    def plan(self) -> RestorePlan:
        """What it would do."""

    @property
    def doer(self) -> Doer:
        """Who does it, and as which run."""

    def put_back(self, progress: ProgressSink) -> None:
        """Do it. Raises ``StoreInUse`` where somebody works with the store; nothing was changed then."""


class Restored(NamedTuple):
    """What came of it. ``warnings``: roots whose marker could not be renewed, which harms nothing."""

    run_id: str
    plan: RestorePlan
    roots: list[str]
    warnings: list[str]


@contextmanager
def prepare_restore(
    settings: Settings, file: str, *, progress: ProgressSink | None = None
) -> Iterator[Restore]:
    """Read and check a backup, and look at what is in the store's place. Changes nothing.

    Raises ``BackupUnusable`` for what cannot be put back here, and ``ToolMissing``.
    """
    dialect, path = dialect_of(settings.database), os.path.abspath(file)
    kind = kind_of(path)
    if kind.value != dialect.name:
        raise BackupUnusable(
            f"{path} is of a {_NAMED[kind]} store, and {dialect.place} is none; nothing was changed",
            hint="restore it to such a store; 'jobctl export' and 'jobctl import' bring its jobs here",
        )
    show = progress or (lambda _: None)
    if isinstance(dialect, SQLite):
        from jobctl.ops.restore_sqlite import prepared  # noqa: PLC0415 - only one of the two is needed

        with prepared(settings, dialect, path, show) as restore:
            yield restore
    elif isinstance(dialect, PostgreSQL):
        from jobctl.ops.restore_postgresql import prepared as prepared_dump  # noqa: PLC0415

        with prepared_dump(settings, dialect, path, show) as restore:
            yield restore


def carry_out(settings: Settings, restore: Restore, *, progress: ProgressSink | None = None) -> Restored:
    """Put the backup back, then let every root know. Raises the errors of ``Restore.put_back``.

    Killed in between, a root's marker is behind the store, as after any crash: nothing more.
    """
    restore.put_back(progress or (lambda _: None))
    warnings = []
    with open_site(settings) as site:
        with site.store.read() as connection:
            known = roots.get_roots(connection)
        for row in known:
            try:
                _mark(site, row)
            except (JobctlError, OSError) as error:
                warnings.append(f"root {row.path} was not marked: {error}")
    return Restored(restore.doer.run_id, restore.plan, [row.path for row in known], warnings)


def kind_of(path: str) -> BackupKind:
    """How a file is written, by its first bytes. Raises ``BackupUnusable``."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _no_backup(path, "it is no regular file")
        with open(path, "rb") as opened:
            beginning = opened.read(16)
    except OSError as error:
        raise _no_backup(path, error.strerror or "it cannot be read") from None
    for start, kind in _BEGINNINGS.items():
        if beginning.startswith(start):
            return kind
    raise _no_backup(path, "it is neither a SQLite file nor a dump in pg_dump's own format")


def expect_fit(path: str, backup: Contents, store_id: str | None) -> None:
    """Raise ``BackupUnusable`` unless a backup may take the place of this store."""
    refused = why_not(backup, store_id=store_id, versions=VERSIONS, program=version("jobctl"))
    if refused is not None:
        why, hint = refused
        raise BackupUnusable(f"{path} cannot be put back: {why}; nothing was changed", hint=hint)


def expect_idle(site: Site, connection: Connection) -> None:
    """Raise ``StoreInUse`` where a worker or a run is at work, unless it is proven gone."""
    now = site.store.now(connection)
    for row in workers.list_workers(connection, every=False):
        if not is_lost(site, row.executor, row.seen_at, row.lease_s, now):
            raise in_use(
                f"worker {row.worker_id} (pid {row.executor.pid} on {row.executor.host}) is running",
                "end it, as with SIGTERM, and wait until it stopped: jobctl workers",
            )
    for lock in held_locks(site, connection):
        is_over = lock.life == "unknown" and lock.silent_s >= site.settings.lock_stale_after_s
        if lock.life != "dead" and not is_over:
            raise in_use(
                f"'jobctl {lock.command}' (pid {lock.pid} on {lock.host}) holds the lock {lock.name}",
                "wait until it has ended, and run the same command again",
            )


def already_put_back(connection: Connection, file: str) -> tuple[datetime, PutBack] | None:
    """The last restore of a store, if it was of this file: the call before this one may have been killed."""
    newest = restored.newest(connection)
    return newest if newest is not None and newest[1].file == file else None


def doer_of(settings: Settings) -> Doer:
    """This process, about to restore: a store that cannot be opened knows of nobody."""
    return Doer(new_run_id(clock.now()), storable_text(operator()), current_executor(settings.host_id).host)


def begin_anew(
    connection: Connection, restore: Restore, generations: Mapping[str, int], *, at: datetime
) -> None:
    """Make a backup's records safe to go on with, and tell in them where they come from.

    In the transaction by which they become the store, or before it: what killed in between leaves is
    no store without its restore in the journal, and none that trusts what is absent.
    """
    plan = restore.plan
    backup_contents.begin_anew(connection, generations, at=at)
    put_back = PutBack(plan.file, plan.kind, plan.made_at, plan.kept_as, plan.now_said is None)
    counts = {"jobs": plan.backup.total, "events": plan.backup.events}
    restored.record(connection, restore.doer, put_back, generations=generations, counts=counts, at=at)


def in_use(why: str, hint: str) -> StoreInUse:
    """The refusal to replace a store that somebody works with."""
    return StoreInUse(f"{why}: the store is in use; nothing was changed", hint=hint)


def next_generations(known: Iterable[RootRow], store_id: str, *stores: Mapping[str, int]) -> dict[str, int]:
    """For each root a generation above its marker's and above those of ``stores``.

    With less, the store would be older than its roots.
    """
    return {
        row.root_id: max(_marked(row, store_id), *(each.get(row.root_id, 0) for each in stores)) + 1
        for row in known
    }


def _marked(row: RootRow, store_id: str) -> int:
    with suppress(JobctlError):
        if known_marker(row.path, store_id=store_id) == row.root_id:
            return read_generation(row.path)
    return 0


def _mark(site: Site, row: RootRow) -> None:
    if row.host in {None, site.host} and known_marker(row.path, store_id=site.store.store_id) == row.root_id:
        marked = read_generation(row.path)
        write_marker(site, row.root_id, row.path, marked=marked, generation=row.generation)


def _no_backup(path: str, why: str) -> BackupUnusable:
    return BackupUnusable(
        f"{path} is no backup: {why}; nothing was changed", hint="name a file that 'jobctl backup' made"
    )
