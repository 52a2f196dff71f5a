"""Restore an SQLite store.

A store that can be read gets new contents in one transaction of its own file: the file stays, so
that a service which has it open goes on with what is in it then, and never with a file that was
moved away. Only one that is damaged, or of another schema, is moved aside, once nobody has it open.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from jobctl import clock
from jobctl.core.backups import kept_name, made_at
from jobctl.errors import (
    BackupFailed,
    BackupUnusable,
    StoreSchemaMismatch,
    StoreUninitialised,
    StoreUnreachable,
)
from jobctl.model.backup import BackupKind, Contents, Lost, PutBack, RestorePlan
from jobctl.ops.left_copies import left_copies, work_beside
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
from jobctl.ops.stepdown import step_down_to
from jobctl.outputs import effects
from jobctl.settings import Settings
from jobctl.store import backup_contents, sqlite_backup
from jobctl.store.dialect import SQLite
from jobctl.store.engine import HEAD, Store
from jobctl.store.foreign import open_readonly
from jobctl.store.migrations import migrate
from jobctl.store.restored import Doer
from jobctl.store.roots import get_roots
from jobctl.store.sqlite_backup import ChangedMeanwhile

_BESIDE = ("-wal", "-shm")
_KEEPING = "-kept"
_TRIES = 5
_RUINED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


@dataclass(slots=True)
class _Restore:
    """``staged``: a copy of the backup beside the store, checked and of this program's schema."""

    plan: RestorePlan
    doer: Doer
    dialect: SQLite
    site: Site | None
    directory_fd: int
    staged: str
    kept: str

    def put_back(self, progress: ProgressSink) -> None:
        if self.site is None:
            self._move_aside()
            return
        for _ in range(_TRIES):
            with suppress(ChangedMeanwhile), _explained(self):
                self._replace_contents(self.site, progress)
                return
        raise in_use(
            "somebody writes to the store all the time", "stop what does, and run the same command again"
        )

    def _replace_contents(self, site: Site, progress: ProgressSink) -> None:
        path = self.dialect.path
        with closing(sqlite_backup.connect(path)) as watch:
            with sqlite_backup.writers_waiting(path):
                with site.store.read() as connection:
                    expect_idle(site, connection)
                    now = backup_contents.generations_of(connection)
                self._begin_anew(site.store.store_id, now)
                self._keep(watch, progress)
                seen = sqlite_backup.changes_seen(watch)
            try:
                effects.commit(_Replacing(self.staged, path, watch, seen, progress))
            except ChangedMeanwhile:
                # The store is not this one any more; after any other error, it may be gone but for this.
                effects.unlink(self.directory_fd, self.kept)
                raise

    def _keep(self, store: sqlite3.Connection, progress: ProgressSink) -> None:
        """Copy the store that is there, as it is now: nobody can change it any more."""
        directory, staged = os.path.split(self.staged)
        part = staged + _KEEPING
        fd = effects.create_file(self.directory_fd, part)
        try:
            show = _telling(progress, "keep")
            sqlite_backup.copy_database(store, os.path.join(directory, part), show)
            effects.fsync_file(fd)
            effects.rename_noreplace(self.directory_fd, part, self.directory_fd, self.kept)
            effects.fsync_directory(self.directory_fd)
        finally:
            os.close(fd)

    def _move_aside(self) -> None:
        """Give the store that is there another name, with what lies beside it, and the backup its own."""
        path = self.dialect.path
        name, is_there = os.path.basename(path), os.path.lexists(path)
        pid = sqlite_backup.who_has_it_open(path) if is_there else None
        if pid is not None:
            raise in_use(f"process {pid} has {path} open", "end it, and run the same command again")
        is_readable = is_there and sqlite_backup.has_header(path)
        now = sqlite_backup.fold_log(path) if is_readable else {}
        self._begin_anew(self.plan.backup.store_id, now)
        _fsync(self.staged)
        if is_there:
            try:
                effects.link(self.directory_fd, name, self.kept)
            except PermissionError:
                # Not every file system knows a second name.
                effects.rename_noreplace(self.directory_fd, name, self.directory_fd, self.kept)
        # A log beside a file that is not its own would be read into it.
        for beside in _BESIDE:
            with suppress(FileNotFoundError):
                os.stat(name + beside, dir_fd=self.directory_fd, follow_symlinks=False)
                effects.rename_noreplace(
                    self.directory_fd, name + beside, self.directory_fd, self.kept + beside
                )
        effects.replace(self.directory_fd, os.path.basename(self.staged), name)
        effects.fsync_directory(self.directory_fd)

    def _begin_anew(self, store_id: str, now: dict[str, int]) -> None:
        with closing(_opened(self.staged)) as staged, staged.write() as connection:
            known = get_roots(connection)
            then = backup_contents.generations_of(connection)
            generations = next_generations(known, store_id, now, then)
            begin_anew(connection, self, generations, at=clock.now())


@dataclass(frozen=True, slots=True)
class _Replacing:
    """The one commit by which the store becomes the backup."""

    staged: str
    path: str
    watch: sqlite3.Connection
    seen: int
    progress: ProgressSink

    def commit(self) -> None:
        show = _telling(self.progress, "restore")
        sqlite_backup.replace_contents(self.staged, self.path, watch=self.watch, seen=self.seen, on_step=show)


@contextmanager
def _explained(restore: _Restore) -> Iterator[None]:
    """Tell what SQLite could not do, and of whatever ends the block whether anything was changed by then."""
    place, kept = restore.dialect.path, restore.plan.kept_as or ""
    try:
        yield
    except sqlite3.Error as error:
        # What it writes is one transaction: the store is the one that was there.
        copy = f", and a copy of it lies at {kept}" if os.path.lexists(kept) else ""
        raise BackupFailed(
            f"the backup could not be written into {place}: {error}; the store is as it was{copy}",
            hint="check free space and who has the store open, then run the same command again",
        ) from None
    except Exception:
        raise
    except BaseException as stopped:
        is_kept = os.path.lexists(kept)
        stopped.add_note(f"the store that was there is kept as {kept}" if is_kept else "nothing was changed")
        raise


@contextmanager
def prepared(settings: Settings, dialect: SQLite, file: str, show: ProgressSink) -> Iterator[_Restore]:
    """Copy a backup beside the store, check the copy, and look at what is there."""
    directory, name = os.path.split(dialect.path)
    step_down_to(settings, [dialect.path, directory])
    with ExitStack() as stack:
        found = _look(settings, dialect)
        if found.site is not None:
            stack.callback(found.site.store.close)
        left = _left(found)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory_fd)
        staged = stack.enter_context(_staged(dialect, directory_fd))
        backup = _stage(file, staged, show)
        expect_fit(file, backup, found.contents.store_id if found.contents else None)
        if backup.schema != HEAD:
            _migrate(staged)
        found, compared = _compare(found, file, backup)
        kept = kept_name(name, clock.now())
        plan = RestorePlan(
            file=file,
            size=os.stat(file).st_size,
            kind=BackupKind.SQLITE,
            made_at=made_at(os.path.basename(file)),
            backup=backup,
            now=found.contents,
            now_said=found.said,
            lost=compared.lost,
            kept_as=os.path.join(directory, kept) if os.path.lexists(dialect.path) else None,
            migrates_from=backup.schema if backup.schema != HEAD else None,
            already=compared.already,
            # The copies; what killed restores worked on was cleared away meanwhile.
            left=[path for path in left if os.path.lexists(path)],
        )
        yield _Restore(plan, doer_of(settings), dialect, found.site, directory_fd, staged, kept)


class _Found(NamedTuple):
    """What is in the store's place. ``site``: where it can be used as it is; ``said``: why not."""

    site: Site | None
    contents: Contents | None
    said: str | None = None


def _look(settings: Settings, dialect: SQLite) -> _Found:
    if os.path.isfile(dialect.path) and not sqlite_backup.has_header(dialect.path):
        return _Found(None, None, f"{dialect.path} is a file that is no database")
    try:
        site = open_site(settings)
    except StoreUninitialised:
        return _Found(None, None, "there is none")
    except StoreSchemaMismatch as error:
        # A file of another program is none of ours to move.
        try:
            return _Found(None, sqlite_backup.look_into(dialect.path), error.message)
        except sqlite3.Error:
            raise error from None
    except StoreUnreachable as error:
        if not _is_ruin(error):
            raise
        return _Found(None, None, error.message)
    try:
        with site.store.read() as connection:
            return _Found(site, backup_contents.contents_of(connection))
    except StoreUnreachable as error:
        site.store.close()
        if not _is_ruin(error):
            raise
        return _Found(None, None, error.message)


def _left(found: _Found) -> list[str]:
    """What earlier restores left that were killed; nothing where the store cannot tell."""
    with suppress(StoreUnreachable, OSError):
        return [] if found.site is None else [each.path for each in left_copies(found.site)]
    return []


class _Compared(NamedTuple):
    """What the store that is there says of the backup; nothing where it cannot be read."""

    lost: Lost | None = None
    already: tuple[datetime, PutBack] | None = None


def _compare(found: _Found, file: str, backup: Contents) -> tuple[_Found, _Compared]:
    if found.site is None:
        return found, _Compared()
    try:
        with found.site.store.read() as connection:
            lost = backup_contents.lost_to(connection, backup)
            return found, _Compared(lost, already_put_back(connection, file))
    except StoreUnreachable as error:
        if not _is_ruin(error):
            raise
        return _Found(None, found.contents, error.message), _Compared()


def _is_ruin(error: StoreUnreachable) -> bool:
    """Whether the file itself is at fault, not the way to it."""
    cause = error.__cause__
    original = getattr(cause, "orig", cause)
    code = getattr(original, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _RUINED


@contextmanager
def _staged(dialect: SQLite, directory_fd: int) -> Iterator[str]:
    """A new, empty file beside the store; what earlier restores left that were killed is cleared away."""
    directory, name = os.path.split(dialect.path)
    beginning = work_beside(name)
    for left in os.listdir(directory_fd):
        if left.startswith(beginning):
            _remove_dead(directory_fd, left)
    staged = beginning + secrets.token_hex(4)
    fd = effects.create_file(directory_fd, staged)
    try:
        # Whoever just looks whether somebody works on it lets go at once.
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield os.path.join(directory, staged)
    finally:
        _remove(directory_fd, staged)
        os.close(fd)


def _remove_dead(directory_fd: int, name: str) -> None:
    """Remove a file unless the process that works on it still lives."""
    with suppress(OSError):
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory_fd, name)
        finally:
            os.close(fd)


def _remove(directory_fd: int, staged: str) -> None:
    """Remove what a restore works on; the file that leads to the others goes last."""
    works_on = [
        part + beside for part in (staged + _KEEPING, staged) for beside in ("-journal", *_BESIDE, "")
    ]
    for name in works_on:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            effects.unlink(directory_fd, name)


def _stage(file: str, staged: str, show: ProgressSink) -> Contents:
    try:
        with closing(open_readonly(file)) as source:
            sqlite_backup.expect_last_page(source, file)
            sqlite_backup.copy_database(source, staged, _telling(show, "copy"))
        show(Progress("verify", 0))
        faults = sqlite_backup.faults_of(staged)
        if not faults:
            return sqlite_backup.look_into(staged)
        why = faults[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise BackupFailed(
                f"{file} could not be copied to {os.path.dirname(staged)}: {error}; nothing was changed",
                hint="make room there, then run the same command again",
            ) from None
        why = str(error)
    raise BackupUnusable(f"{file} cannot be put back: {why}; nothing was changed", hint="take another backup")


def _migrate(staged: str) -> None:
    dialect = SQLite(staged)
    migrate(dialect.engine(), dialect, HEAD)


def _opened(staged: str) -> Store:
    dialect = SQLite(staged)
    return Store(dialect, dialect.engine(), "")


def _fsync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        effects.fsync_file(fd)
    finally:
        os.close(fd)


def _telling(progress: ProgressSink, phase: str) -> sqlite_backup.OnStep:
    return lambda done, total: progress(Progress(phase, done, total))
