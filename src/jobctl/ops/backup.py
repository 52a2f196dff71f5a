"""Backup: a copy of the store, whole, checked and on the disk before it has a name; and which may go."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from jobctl import clock
from jobctl.core.backups import BackupName, newest_first, parse_part
from jobctl.errors import BackupFailed, JobctlError, UsageError
from jobctl.model.backup import Backup, BackupKind, Contents
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.outputs import effects
from jobctl.settings import Settings, default_data_directory
from jobctl.store import postgresql_backup, sqlite_backup
from jobctl.store.dialect import Dialect, PostgreSQL, SQLite
from jobctl.store.postgresql_tools import check_list, dump, find_tool

_BESIDE = ("-journal", "-wal", "-shm")


class Target(NamedTuple):
    """Where a backup goes. ``name``: what it shall be called, ``None`` for one that tells store and time."""

    directory: str
    name: str | None = None


def backup_directory(settings: Settings, dialect: Dialect) -> str:
    """Where backups go unless told otherwise: as the settings say, else near the store."""
    if settings.backup.directory:
        return os.path.abspath(os.path.expanduser(settings.backup.directory))
    near = (
        os.path.dirname(dialect.path) if isinstance(dialect, SQLite) else default_data_directory(os.environ)
    )
    return os.path.join(near, "backups")


def target_of(site: Site, to: str | None, *, is_series: bool = False) -> Target:
    """Where ``--to`` says the backup goes: into a directory, or to a name that is free.

    ``is_series``: others follow and older ones go; it names their directory, even if that is not there yet.
    """
    if to is None:
        return Target(backup_directory(site.settings, site.store.dialect))
    if is_series or to.endswith("/") or os.path.isdir(to):
        return Target(os.path.abspath(to))
    directory, name = os.path.split(os.path.abspath(to))
    return Target(directory, name)


def make_backup(
    site: Site, target: Target, *, keep: int | None = None, progress: ProgressSink | None = None
) -> Backup:
    """Copy the store and check the copy; then let older ones go, but for the ``keep`` newest.

    Writers hardly wait: SQLite is read beside them, PostgreSQL by pg_dump. Killed anywhere, it
    leaves no file that looks like a backup and is none. Raises ``BackupFailed``, ``ToolMissing``,
    or ``UsageError`` where the name is taken or the directory cannot be made.
    """
    began, show = clock.monotonic(), progress or (lambda _: None)
    with site.store.read() as connection:
        made_at = site.store.now(connection)
    kind = BackupKind(site.store.dialect.name)
    own = BackupName(site.store.store_id, made_at, kind)
    name = target.name or str(own)
    with _directory(target) as directory_fd, _cleared(directory_fd, site.store.store_id):
        _expect_free(target, directory_fd, name)
        contents, size = _make(site, target, directory_fd, own=own, show=show)
        removed, warnings = _rotate(site, target.directory, directory_fd, kind, keep=keep, newest=name)
    return Backup(
        os.path.join(target.directory, name),
        size,
        kind,
        made_at,
        contents,
        clock.monotonic() - began,
        removed,
        warnings,
    )


def _make(
    site: Site, target: Target, directory_fd: int, *, own: BackupName, show: ProgressSink
) -> tuple[Contents, int]:
    """Fill a hidden file, prove it, and give it its name."""
    part, name = own.part, target.name or str(own)
    fd = effects.create_file(directory_fd, part, 0o600)
    try:
        path = os.path.join(target.directory, part)
        contents = _fill(site, path, show)
        if contents.store_id != site.store.store_id:
            raise BackupFailed(
                f"another store was put in the place of {site.store.url} meanwhile; no backup was made",
                hint="run the same command again",
            )
        effects.fsync_file(fd)
        size = os.fstat(fd).st_size
        try:
            effects.rename_noreplace(directory_fd, part, directory_fd, name)
        except FileExistsError:
            raise _taken(os.path.join(target.directory, name)) from None
        effects.fsync_directory(directory_fd)
    except BaseException:
        _remove_part(directory_fd, part)
        raise
    finally:
        os.close(fd)
    return contents, size


def _fill(site: Site, path: str, show: ProgressSink) -> Contents:
    dialect = site.store.dialect
    if isinstance(dialect, SQLite):
        return _copy(dialect, path, show)
    assert isinstance(dialect, PostgreSQL)  # noqa: S101 - there are two
    return _dump(dialect, path, show)


def _copy(dialect: SQLite, path: str, show: ProgressSink) -> Contents:
    try:
        with closing(sqlite_backup.connect(dialect.path)) as source:
            sqlite_backup.copy_database(source, path, lambda done, all_: show(Progress("copy", done, all_)))
        show(Progress("verify", 0))
        faults = sqlite_backup.faults_of(path)
        if faults:
            raise BackupFailed(
                f"the copy of {dialect.path} is damaged, so the store is: {faults[0]}; no backup was made",
                hint="see 'jobctl doctor'; put the newest backup back with 'jobctl restore FILE'",
            )
        return sqlite_backup.look_into(path)
    except sqlite3.Error as error:
        raise BackupFailed(
            f"{dialect.path} could not be copied: {error}; no backup was made",
            hint="check free space and permissions, then run the same command again",
        ) from None


def _dump(dialect: PostgreSQL, path: str, show: ProgressSink) -> Contents:
    server = postgresql_backup.server_version(dialect)
    why = f"the server is PostgreSQL {server}"
    writer = find_tool("pg_dump", at_least=server, why=why)
    reader = find_tool(
        "pg_restore", at_least=writer.version, why=f"the backup is written by {writer.version}"
    )
    show(Progress("dump", 0))
    dump(dialect, writer, path)
    check_list(reader, path)
    return postgresql_backup.contents_of_dump(reader, path, lambda rows: show(Progress("verify", rows)))


@contextmanager
def _directory(target: Target) -> Iterator[int]:
    """The directory, opened; one that is not there is made for its owner alone."""
    try:
        if target.name is None:
            os.makedirs(target.directory, mode=0o700, exist_ok=True)
        fd = os.open(target.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(
            f"no backup can be made in {target.directory}: {error.strerror}; nothing was changed",
            hint="name a directory that can be written to: jobctl backup --to DIR",
        ) from None
    try:
        yield fd
    except PermissionError as error:
        raise UsageError(
            f"no backup can be made in {target.directory}: {error.strerror}; nothing was changed",
            hint="name a directory that can be written to: jobctl backup --to DIR",
        ) from None
    finally:
        os.close(fd)


def _expect_free(target: Target, directory_fd: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        raise _taken(os.path.join(target.directory, name))


def _taken(path: str) -> UsageError:
    return UsageError(
        f"{path} is there already; it was left as it is", hint="name a directory, or a name that is free"
    )


@contextmanager
def _cleared(directory_fd: int, store_id: str) -> Iterator[None]:
    """Without what backups of this store left in the directory that were killed.

    Whoever makes one holds a lock that many can hold; alone with it, nobody else is making one.
    Where a file system knows no such locks, all is left as it is.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(f".jobctl-{store_id}.lock", flags, 0o600, dir_fd=directory_fd)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear_parts(directory_fd, store_id)
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def _clear_parts(directory_fd: int, store_id: str) -> None:
    for name in os.listdir(directory_fd):
        parsed = parse_part(name)
        if parsed is not None and parsed.store_id == store_id:
            _remove_part(directory_fd, parsed.part)


def _remove_part(directory_fd: int, part: str) -> None:
    for name in (*(part + beside for beside in _BESIDE), part):
        with suppress(OSError):
            os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            effects.unlink(directory_fd, name)


def _rotate(
    site: Site, directory: str, directory_fd: int, kind: BackupKind, *, keep: int | None, newest: str
) -> tuple[list[str], list[str]]:
    """Remove this store's backups beyond the ``keep`` newest; what cannot be proven to be one stays."""
    if keep is None:
        return [], []
    removed, told, kept = [], [], 0
    for name in newest_first(os.listdir(directory_fd), site.store.store_id, kind):
        path = os.path.join(directory, name)
        doubt = _why_not_ours(site, path, kind)
        if doubt is not None:
            told.append((path, f"{path} was left alone, and is not counted: {doubt}"))
        elif kept < keep or name == newest:
            kept += 1
        elif why := _why_refused(effects.unlink, directory_fd, name):
            told.append((path, f"{path} could not be removed: {why}"))
        else:
            removed.append(path)
    # One that is gone by now was removed by another backup that was made meanwhile.
    warnings = [said for path, said in told if os.path.lexists(path)]
    if removed and (why := _why_refused(effects.fsync_directory, directory_fd)):
        warnings.append(f"{directory} could not be synced: {why}; what was removed there may come back")
    return removed, warnings


def _why_refused(effect: Callable[..., None], *arguments: object) -> str | None:
    """Why the system did not do what the rotation asked for, or ``None``. The new backup is there by then."""
    try:
        effect(*arguments)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _why_not_ours(site: Site, path: str, kind: BackupKind) -> str | None:
    """Why a file is not proven to be a backup of this store, though its name says so."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return "it is no regular file"
        store_id = _store_id_of(path, kind)
    except (OSError, sqlite3.Error, JobctlError) as error:
        return str(error)
    return None if store_id == site.store.store_id else "another store is in it"


def _store_id_of(path: str, kind: BackupKind) -> str | None:
    if kind is BackupKind.SQLITE:
        return sqlite_backup.store_id_in(path)
    reader = find_tool("pg_restore", at_least=0, why="the older backups are to be looked at")
    return postgresql_backup.store_id_of_dump(reader, path)
