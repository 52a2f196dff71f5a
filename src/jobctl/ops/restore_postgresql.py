"""Restore a PostgreSQL store: one transaction renames the schema that is there and fills a new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from jobctl import clock
from jobctl.core.backups import kept_schema, made_at
from jobctl.errors import StoreSchemaMismatch, StoreUninitialised
from jobctl.model.backup import BackupKind, Contents, RestorePlan
from jobctl.ops.restore import (
    already_put_back,
    begin_anew,
    doer_of,
    expect_fit,
    expect_idle,
    in_use,
    next_generations,
)
from jobctl.ops.site import Progress, ProgressSink, Site, open_site
from jobctl.outputs import effects
from jobctl.settings import Settings
from jobctl.store import backup_contents, postgresql_backup
from jobctl.store.dialect import PostgreSQL
from jobctl.store.engine import HEAD, Connection, explained
from jobctl.store.postgresql_tools import Tool, check_list, find_tool
from jobctl.store.restored import Doer
from jobctl.store.roots import get_roots
from jobctl.store.schema import SCHEMA


@dataclass(slots=True)
class _Restore:
    plan: RestorePlan
    doer: Doer
    dialect: PostgreSQL
    site: Site | None
    reader: Tool

    def put_back(self, progress: ProgressSink) -> None:
        dialect = self.dialect
        with (
            explained(dialect),
            dialect.engine().connect() as connection,
            postgresql_backup.writers_waiting(connection, dialect),
        ):
            now = self._expect_idle(connection)
            postgresql_backup.put_in_place(
                connection,
                dialect,
                self.reader,
                self.plan.file,
                self.plan.backup,
                kept_as=self.plan.kept_as,
                on_rows=lambda rows: progress(Progress("restore", rows)),
            )
            then = backup_contents.generations_of(connection)
            generations = next_generations(get_roots(connection), self.plan.backup.store_id, now, then)
            begin_anew(connection, self, generations, at=_now(connection))
            effects.commit(_Commit(connection))

    def _expect_idle(self, connection: Connection) -> dict[str, int]:
        """Also gives the generation of each root, where what is there can be read."""
        if self.site is not None:
            expect_idle(self.site, connection)
            return backup_contents.generations_of(connection)
        others = postgresql_backup.others_connected(connection)
        if others:
            raise in_use(
                f"{others} other connections of jobctl to this database are open",
                "end what they belong to, and run the same command again",
            )
        return {}


@dataclass(frozen=True, slots=True)
class _Commit:
    connection: Connection

    def commit(self) -> None:
        self.connection.exec_driver_sql("COMMIT")


@contextmanager
def prepared(settings: Settings, dialect: PostgreSQL, file: str, show: ProgressSink) -> Iterator[_Restore]:
    """Read a dump to its end, and look at what is there."""
    with ExitStack() as stack:
        found = _look(settings, dialect)
        if found.site is not None:
            stack.callback(found.site.store.close)
        reader = find_tool("pg_restore", at_least=0, why="it is needed to read the backup", newest=True)
        check_list(reader, file)
        backup = postgresql_backup.contents_of_dump(reader, file, lambda rows: show(Progress("verify", rows)))
        expect_fit(file, backup, found.contents.store_id if found.contents else None)
        lost = already = None
        if found.site is not None:
            with found.site.store.read() as connection:
                lost = backup_contents.lost_to(connection, backup)
                already = already_put_back(connection, file)
        plan = RestorePlan(
            file=file,
            size=os.stat(file).st_size,
            kind=BackupKind.POSTGRESQL,
            made_at=made_at(os.path.basename(file)),
            backup=backup,
            now=found.contents,
            now_said=found.said,
            lost=lost,
            kept_as=kept_schema(SCHEMA, clock.now()) if found.has_schema else None,
            migrates_from=backup.schema if backup.schema != HEAD else None,
            already=already,
        )
        yield _Restore(plan, doer_of(settings), dialect, found.site, reader)


class _Found(NamedTuple):
    """What is in the store's place. ``site``: where it can be used as it is; ``said``: why not."""

    site: Site | None
    contents: Contents | None
    said: str | None = None
    has_schema: bool = True


def _look(settings: Settings, dialect: PostgreSQL) -> _Found:
    try:
        site = open_site(settings)
    except StoreUninitialised:
        has_schema = postgresql_backup.schema_version(dialect) is not None
        return _Found(None, None, "there is none", has_schema=has_schema)
    except StoreSchemaMismatch as error:
        # A schema of another program is none of ours to rename.
        if not postgresql_backup.schema_version(dialect):
            raise
        return _Found(None, None, error.message)
    with site.store.read() as connection:
        return _Found(site, backup_contents.contents_of(connection))


def _now(connection: Connection) -> datetime:
    moment: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return moment.astimezone(UTC)
