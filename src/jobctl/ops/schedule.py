"""Schedule: where cron's and systemd's files go, what is there already, and writing them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from jobctl.core.schedule import MARK, TASKS, File, Setting, Task, crontab, units, without_block
from jobctl.errors import ScheduleRefused
from jobctl.model.names import is_utf8
from jobctl.ops.site import Site
from jobctl.outputs import effects
from jobctl.store import roots
from jobctl.store.dialect import SQLite
from jobctl.store.redact import redact_url

_CRON_FILE = "jobctl"
_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108 - a private one would hide what lies there
_FOR_ALL_TO_READ = 0o644


class Kind(StrEnum):
    """What runs the commands."""

    CRON = "cron"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """What is to run, by whom. ``every``: task name to a period of its own."""

    kind: Kind
    only: frozenset[str] = frozenset()
    every: Mapping[str, timedelta]
    user: str | None = None
    config: str | None = None
    database: str | None = None
    environment_file: str | None = None
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Files and where they go; ``place`` is empty for the caller's own crontab."""

    kind: Kind
    place: str
    files: Sequence[File]
    enabling: str

    @property
    def paths(self) -> list[str]:
        """The whole path of each file."""
        return [os.path.join(self.place, file.path) if self.place else "crontab" for file in self.files]


def default_kind() -> Kind:
    """What runs things on this machine."""
    return Kind.SYSTEMD if os.path.isdir("/run/systemd/system") else Kind.CRON


def make_schedule(site: Site, options: ScheduleOptions) -> Schedule:
    """Make the files for a site. Raises ``ScheduleRefused`` where a secret would be written."""
    setting = _setting(site, options)
    tasks = [_timed(task, options.every) for task in TASKS if not options.only or task.name in options.only]
    is_root = os.geteuid() == 0
    if options.kind is Kind.SYSTEMD:
        own = os.path.join(
            os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "systemd/user"
        )
        place = options.directory or ("/etc/systemd/system" if is_root else own)
        scope = "" if is_root else " --user"
        timers = " ".join(f"jobctl-{task.name}.timer" for task in tasks)
        enabling = f"systemctl{scope} daemon-reload && systemctl{scope} enable --now {timers}"
        return Schedule(options.kind, place, units(tasks, setting), enabling)
    place = options.directory or ("/etc/cron.d" if is_root else "")
    text = crontab(tasks, setting, names_user=bool(place))
    return Schedule(options.kind, place, [File(_CRON_FILE, text)], "")


def why_not_written(schedule: Schedule) -> list[str]:
    """The files that stand there already and are not ours, so that nothing may be written."""
    if not schedule.place:
        return []
    return [path for path in schedule.paths if os.path.lexists(path) and not _is_ours(path)]


def install(schedule: Schedule) -> None:
    """Write the files, each whole or not at all. Raises ``ScheduleRefused``."""
    foreign = why_not_written(schedule)
    if foreign:
        raise ScheduleRefused(
            f"{foreign[0]} was not written by jobctl; nothing was changed",
            hint="move it away, or write elsewhere with --directory",
        )
    try:
        if not schedule.place:
            _set_crontab(without_block(_own_crontab()) + schedule.files[0].text)
            return
        os.makedirs(schedule.place, exist_ok=True)
        fd = os.open(schedule.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for file in schedule.files:
                effects.write_file_atomically(fd, file.path, file.text.encode(), _FOR_ALL_TO_READ)
        finally:
            os.close(fd)
    except OSError as error:
        raise _failed(schedule.place or "the crontab", error) from None


def remove(schedule: Schedule) -> list[str]:
    """Take away what was installed; gives what was. Raises ``ScheduleRefused``."""
    try:
        if not schedule.place:
            before = _own_crontab()
            after = without_block(before)
            if after == before:
                return []
            _set_crontab(after)
            return ["crontab"]
        gone = [path for path in schedule.paths if os.path.lexists(path) and _is_ours(path)]
        if gone:
            fd = os.open(schedule.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for path in gone:
                    effects.unlink(fd, os.path.basename(path))
            finally:
                os.close(fd)
    except OSError as error:
        raise _failed(schedule.place or "the crontab", error) from None
    return gone


def _setting(site: Site, options: ScheduleOptions) -> Setting:
    with site.store.read() as connection:
        known = [row.path for row in roots.get_roots(connection)]
    dialect = site.store.dialect
    store = [os.path.dirname(dialect.path)] if isinstance(dialect, SQLite) else []
    paths = sorted({*known, *store})
    program = [_program()]
    if options.config or site.settings.source:
        program += ["--config", os.path.abspath(options.config or site.settings.source or "")]
    if options.database:
        program += [
            "--database",
            _without_secret(options, dialect.path if isinstance(dialect, SQLite) else None),
        ]
    for word in (*program, *paths, options.user or ""):
        if not is_utf8(word) or any(ord(letter) < ord(" ") for letter in word):
            raise ScheduleRefused(
                f"{word!r} cannot be written into a schedule; nothing was changed",
                hint="use a path without control characters",
            )
    is_root = os.geteuid() == 0
    return Setting(
        program=tuple(program),
        user=(options.user or _owner(paths)) if is_root else None,
        writable=paths,
        homes_visible=any(path.startswith(_HOMES) for path in (*paths, *program)),
        shares_tmp=any(path.startswith(_TEMPORARY) for path in (*paths, *program)),
        uses_network=not isinstance(dialect, SQLite),
        environment_file=os.path.abspath(options.environment_file) if options.environment_file else None,
    )


def _without_secret(options: ScheduleOptions, store: str | None) -> str:
    if store is not None:
        return os.path.abspath(store)
    database = options.database or ""
    if redact_url(database) != database:
        raise ScheduleRefused(
            "the database's address holds a password, which a schedule would show to everybody; "
            "nothing was changed",
            hint="put it as 'database' into a jobctl.toml of mode 0600 and name that with --config, "
            "or as JOBCTL_DATABASE_URL into a file for --environment-file",
        )
    return database


def _timed(task: Task, every: Mapping[str, timedelta]) -> Task:
    period = every.get(task.name)
    if period is None:
        return task
    jitter = min(task.when.jitter, period / 2)
    return task._replace(when=task.when._replace(every=period, jitter=jitter))


def _program() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "jobctl")
    return beside if os.path.exists(beside) else shutil.which("jobctl") or beside


def _owner(paths: Sequence[str]) -> str:
    """Who owns the outputs: jobctl would become that user anyway."""
    for path in paths:
        try:
            return pwd.getpwuid(os.stat(path).st_uid).pw_name
        except (OSError, KeyError):
            continue
    return "root"


def _is_ours(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().rstrip("\n") == MARK
    except OSError:
        return False


def _own_crontab() -> str:
    ended = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)  # noqa: S607 - on PATH
    # Without a crontab it says so and fails.
    return ended.stdout if ended.returncode == 0 else ""


def _set_crontab(text: str) -> None:
    ended = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, check=False)  # noqa: S607
    if ended.returncode:
        said = ended.stderr.strip().splitlines()
        raise OSError(ended.returncode, said[0] if said else "crontab refused it")


def _failed(place: str, error: OSError) -> ScheduleRefused:
    return ScheduleRefused(
        f"{place} cannot be written: {error.strerror}; what was not written was left as it was",
        hint="check who you are and what may be written there, or name another place with --directory",
    )
