"""Schedule: gather what cron or systemd is to run, for whom, and where its files belong."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from jobctl.core import worker_unit
from jobctl.core.schedule import (
    TASKS,
    File,
    Setting,
    Task,
    crontab,
    unit_names,
    units,
    why_no_path,
    why_no_units,
    why_not_crontab,
)
from jobctl.errors import ScheduleRefused
from jobctl.model.commands import shell_line
from jobctl.ops.backup import backup_directory
from jobctl.ops.site import open_site
from jobctl.ops.stepdown import learn_as_owner
from jobctl.settings import Settings
from jobctl.store import roots
from jobctl.store.dialect import Dialect, SQLite, dialect_of
from jobctl.store.redact import redact_url

_CRON_FILE = "jobctl"
_CRON_PLACE = "/etc/cron.d"
_SYSTEM_PLACE = "/etc/systemd/system"
_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108 - a private one would hide what lies there
_FOR_OTHERS = 0o077


class Kind(StrEnum):
    """What runs the commands."""

    CRON = "cron"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """What is to run, by whom. ``every``: task name to a period of its own.

    ``is_placed``: it is about the files where they belong, not about a text to be sent on.
    ``database``: the store where flag or environment named it, not the configuration file.
    """

    kind: Kind
    is_placed: bool = False
    only: frozenset[str] = frozenset()
    every: Mapping[str, timedelta]
    user: str | None = None
    database: str | None = None
    environment_file: str | None = None
    directory: str | None = None
    is_worker: bool = False
    """Whether it is about a worker, which runs all the time, instead of what runs now and then."""

    @property
    def tasks(self) -> list[Task]:
        """The tasks that were chosen, as often as was asked for."""
        return [_timed(task, self.every) for task in TASKS if not self.only or task.name in self.only]

    @property
    def is_for_machine(self) -> bool:
        """Whether its files are the machine's, where each says who runs it."""
        if self.user or (self.kind is Kind.CRON and self.directory):
            return True
        # A crontab that is only printed can be sent to anybody's 'crontab -', root's included.
        return os.geteuid() == 0 and (self.kind is Kind.SYSTEMD or self.is_placed)

    @property
    def place(self) -> str:
        """The directory of its files; empty for the caller's own crontab."""
        if self.directory:
            return os.path.abspath(self.directory)
        if self.kind is Kind.CRON:
            return _CRON_PLACE if self.is_for_machine else ""
        if self.is_for_machine:
            return _SYSTEM_PLACE
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return os.path.join(home, "systemd", "user")

    @property
    def paths(self) -> list[str]:
        """The whole path of each file, or ``crontab``."""
        if not self.place:
            return ["crontab"]
        names = [_CRON_FILE] if self.kind is Kind.CRON else self._units
        return [os.path.join(self.place, name) for name in names]

    @property
    def started(self) -> str:
        """The units that are to be started, as words of a command."""
        return " ".join(name for name in self._units if self.is_worker or name.endswith(".timer"))

    @property
    def _units(self) -> list[str]:
        return [worker_unit.NAME] if self.is_worker else unit_names(self.tasks)

    @property
    def systemctl(self) -> str:
        """The command for the manager these units belong to; empty where it reads no such place."""
        if self.kind is Kind.CRON or self.directory:
            return ""
        return "systemctl" if self.is_for_machine else "systemctl --user"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The files, and where they go. ``warnings``: what will not keep a secret as it is now."""

    options: ScheduleOptions
    files: Sequence[File]
    warnings: Sequence[str] = ()

    @property
    def enabling(self) -> str:
        """The command that makes it run, where one is needed."""
        control = self.options.systemctl
        return f"{control} daemon-reload && {control} enable --now {self.options.started}" if control else ""


def default_kind() -> Kind:
    """What runs things on this machine."""
    return Kind.SYSTEMD if os.path.isdir("/run/systemd/system") else Kind.CRON


def make_schedule(settings: Settings, options: ScheduleOptions) -> Schedule:
    """Make the files. Raises ``ScheduleRefused`` where they cannot be right or would show a secret."""
    dialect = dialect_of(settings.database)
    words = _options(settings, options, dialect)
    # As root: files below /etc are written later, by root; the store is opened by its owner.
    told = learn_as_owner(settings, lambda: _learn(settings))
    setting = _setting(settings, options, dialect, words=words, known=told["roots"])
    if options.kind is Kind.CRON:
        refused, files = why_not_crontab(setting), [File(_CRON_FILE, crontab(options.tasks, setting))]
    elif options.is_worker:
        place = os.getcwd()
        refused = why_no_units(setting) or why_no_path(place)
        files = [worker_unit.worker_unit(setting, directory=place, grace_s=settings.work.grace_s)]
    else:
        refused, files = why_no_units(setting), units(options.tasks, setting)
    if refused:
        raise ScheduleRefused(
            f"{refused}; nothing was changed",
            hint="set it in a jobctl.toml and name that with --config"
            if setting.environment_file and options.kind is Kind.CRON
            else "use a path or a name without such characters",
        )
    return Schedule(options, files, _warnings(settings, options, setting.environment_file))


def _learn(settings: Settings) -> dict[str, Any]:
    with open_site(settings) as site, site.store.read() as connection:
        return {"roots": [row.path for row in roots.get_roots(connection)]}


def _setting(
    settings: Settings,
    options: ScheduleOptions,
    dialect: Dialect,
    *,
    words: Sequence[str],
    known: Sequence[str],
) -> Setting:
    program, file = _program(), options.environment_file
    store = [dialect.path] if isinstance(dialect, SQLite) else []
    writable = sorted({*known, *map(os.path.dirname, store), *_backups(settings, options, dialect)})
    # The server's socket may lie there, too; the address tells it in one of several ways.
    has_socket = not store and any(place in dialect.place for place in _TEMPORARY)
    return Setting(
        program=program,
        options=tuple(words),
        user=_user(settings, options, [*store, *known]) if options.is_for_machine else None,
        writable=writable,
        writes_homes=_any_below(_HOMES, writable),
        shares_tmp=has_socket or _any_below(_TEMPORARY, [*writable, program, *words]),
        uses_network=not store,
        environment_file=os.path.abspath(file) if file else None,
    )


def _backups(settings: Settings, options: ScheduleOptions, dialect: Dialect) -> list[str]:
    """The directory of backups, where one is made and is to be named: what is not there cannot be."""
    directory = backup_directory(settings, dialect)
    return [directory] if _makes_backups(options) and os.path.isdir(directory) else []


def _makes_backups(options: ScheduleOptions) -> bool:
    return any(task.words == ("backup",) for task in options.tasks)


def _any_below(places: tuple[str, ...], paths: Sequence[str]) -> bool:
    return any(f"{path}/".startswith(places) for path in paths)


def _options(settings: Settings, options: ScheduleOptions, dialect: Dialect) -> list[str]:
    """The options that make another directory, user and environment mean the same store."""
    words = ["--config", os.path.abspath(settings.source)] if settings.source else []
    if isinstance(dialect, SQLite):
        words += ["--database", dialect.path]
    elif options.database and not (options.environment_file and _has_secret(options.database)):
        words += ["--database", _without_secret(options.database)]
    return [*words, "--as-root"] if settings.as_root else words


def _has_secret(database: str) -> bool:
    return redact_url(database) != database


def _without_secret(database: str) -> str:
    if _has_secret(database):
        raise ScheduleRefused(
            "the database's address holds a password, which a schedule would show to everybody; "
            "nothing was changed",
            hint="write it as 'database' into a jobctl.toml of mode 0600 and name that with --config, "
            "or for systemd as JOBCTL_DATABASE_URL=… into a file of mode 0600 and name that with "
            "--environment-file",
        )
    return database


def _user(settings: Settings, options: ScheduleOptions, places: Sequence[str]) -> str:
    if options.user is None:
        return "root" if settings.as_root else _owner(places)
    if not options.directory:
        try:
            pwd.getpwnam(options.user)
        except KeyError:
            raise ScheduleRefused(
                f"this machine has no user {options.user!r}; nothing was changed",
                hint="name one it has, or write files for another machine with --directory",
            ) from None
    return options.user


def _owner(places: Sequence[str]) -> str:
    """Who owns the store, or else the outputs: jobctl would become that user anyway."""
    for place in places:
        try:
            return pwd.getpwuid(os.stat(place).st_uid).pw_name
        except OSError:
            continue
        except KeyError:
            break
    # For an owner without a name, too: root steps down to the number.
    return "root"


def _program() -> str:
    """The program that is running, or the one that lies beside the interpreter it is run by."""
    called = os.path.abspath(sys.argv[0])
    beside = os.path.join(os.path.dirname(sys.executable), "jobctl")
    for path in (called, beside, shutil.which("jobctl")):
        if path and os.path.basename(path) == "jobctl" and os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise ScheduleRefused(
        "no installed jobctl was found that could be run; nothing was changed",
        hint="install it, and run 'jobctl schedule' from there",
    )


def _timed(task: Task, every: Mapping[str, timedelta]) -> Task:
    period = every.get(task.name)
    if period is None:
        return task
    jitter = min(task.when.jitter, period / 2)
    return task._replace(when=task.when._replace(every=period, jitter=jitter))


def _warnings(settings: Settings, options: ScheduleOptions, environment_file: str | None) -> list[str]:
    """Of files that may hold a password and that others may read, and of what a unit may not write to."""
    files = [environment_file] if environment_file else []
    if settings.source and _has_secret(settings.database) and not options.database:
        files.append(os.path.abspath(settings.source))
    warnings = []
    dialect = dialect_of(settings.database)
    directory = backup_directory(settings, dialect)
    is_near = isinstance(dialect, SQLite) and not settings.backup.directory
    if options.kind is Kind.SYSTEMD and _makes_backups(options) and not (is_near or os.path.isdir(directory)):
        warnings.append(f"backups go to {directory}, which is not there: make it, then make the units anew")
    for file in files:
        try:
            if os.stat(file).st_mode & _FOR_OTHERS:
                mend = shell_line(["chmod", "600", file])
                warnings.append(f"others may read {file}; to keep a password in it secret: {mend}")
        except OSError as error:
            warnings.append(f"{file} cannot be looked at: {error.strerror}")
    return warnings
