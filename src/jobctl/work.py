"""Work: which tasks a worker can run, and how. From decorators and from ``jobctl.toml``."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobctl.durations import parse_duration
from jobctl.errors import ConfigurationError
from jobctl.sizes import parse_size

DEFAULT_RETRIES = 2
MOST_SLOTS = 1000
"""How many attempts one worker may run at once."""
PLACES = ("job_id", "attempt", "scratch", "payload")
"""What a command may name in braces; ``payload`` is the path of a file that holds it as JSON."""

LONGEST_NAME = 500
"""Bytes of a job's id, task, queue and key: of those, several go into one row of an index."""
_LONGEST_SCHEDULE = LONGEST_NAME // 2
"""Bytes of a schedule's name, which is a part of the keys of its jobs."""

_LARGEST = (1 << 31) - 1
LOWEST_PRIORITY, HIGHEST_PRIORITY = -_LARGEST, _LARGEST
MOST_RETRIES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """How jobs of one kind are run. Times in seconds, sizes in bytes; ``None``: no limit."""

    name: str
    command: tuple[str, ...] | None = None
    """The argument vector to run instead of a Python function."""
    timeout_s: float | None = None
    retries: int = DEFAULT_RETRIES
    """How often a failed attempt is followed by another one."""
    backoff_s: float = 10.0
    """The pause before the first retry; it doubles with each further one."""
    backoff_max_s: float = 3600.0
    memory: int | None = None
    processes: int | None = None
    """How many processes the attempt may add to those of its user."""
    cancel_grace_s: float = 10.0
    """How long an attempt that was asked to stop is left alone, and again after SIGTERM."""
    queue: str = "default"

    @property
    def told(self) -> dict[str, Any]:
        """What a worker tells of it to those who enqueue: all but its name and its command."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if name not in {"name", "command"}}


_OF_JOBS = ("queue", "retries")
"""What of a task is settled for a job when it is enqueued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """One entry of ``[schedule]``: which job to enqueue when. ``cron`` has five fields."""

    name: str
    task: str
    cron: str
    timezone: str = "UTC"
    payload: Any = None
    queue: str | None = None
    """``None``: the queue of the task."""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a worker of this installation runs."""

    modules: tuple[str, ...] = ()
    """Modules whose import declares tasks."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The fields of ``TaskSpec`` that the file sets for each task."""
    schedules: tuple[ScheduleSpec, ...] = ()
    lease_s: float = 10.0
    """How long the heartbeat of a worker may stand still until its jobs are given to others."""
    grace_s: float = 30.0
    """How long running attempts may go on once a worker is asked to stop."""
    queues: tuple[str, ...] = ("default",)
    """Which queues a worker serves, the most urgent first."""
    slots: int | None = None
    """How many attempts a worker runs at once; ``None``: as many as the machine has processors."""

    @property
    def tasks(self) -> dict[str, TaskSpec]:
        """The tasks the file speaks of, as far as it alone says how they are run."""
        return {name: TaskSpec(name=name, **fields) for name, fields in self.overrides.items()}

    @property
    def commands(self) -> dict[str, TaskSpec]:
        """Those of them that are commands."""
        return {name: spec for name, spec in self.tasks.items() if spec.command is not None}

    def only_from_next_start(self, new: Work) -> list[str]:
        """What another one says differently of workers themselves, which hold to it for life."""
        keys = {
            "modules": "modules",
            "queues": "queues",
            "slots": "slots",
            "lease": "lease_s",
            "grace": "grace_s",
        }
        return [key for key, name in keys.items() if getattr(self, name) != getattr(new, name)]

    def spec_by_name(self, name: str, declared: Mapping[str, Any] = MappingProxyType({})) -> TaskSpec:
        """What is known of a task without its function: what the file says goes before what a worker told.

        ``declared``: that, as ``TaskSpec.told`` gives it.
        """
        told = {field: declared[field] for field in _OF_JOBS if field in declared}
        return TaskSpec(name=name, **{**told, **self.overrides.get(name, {})})

    def spec_of(self, declared: TaskSpec) -> TaskSpec:
        """How a declared task is run here: what the file says of it goes before its own words."""
        return replace(declared, **self.overrides.get(declared.name, {}))


def task_spec(name: str, **keywords: Any) -> TaskSpec:
    """What a decorator says of a task. Raises ``ConfigurationError`` naming the field."""
    where = f"task {name!r}"
    if not name or _is_unusable(name):
        raise ConfigurationError(f"{name!r:.40} is no name of a task", hint='write @jobctl.task("render")')
    return TaskSpec(name=name, **_fields(keywords, where, frozenset(_READERS) - {"command"}))


def work_from_tables(tables: Mapping[str, Any], path: str) -> Work:
    """What the tables ``worker``, ``tasks`` and ``schedule`` say. Raises ``ConfigurationError``."""
    worker = _table(tables, "worker", frozenset({"modules", "lease", "grace", "queues", "slots"}), path)
    overrides = {
        name: _fields(_table(tables["tasks"], name, None, f"{path}: tasks"), f"{path}: tasks.{name}")
        for name in _table(tables, "tasks", None, path)
    }
    schedules = _table(tables, "schedule", None, path)
    where = f"{path}: worker"
    return Work(
        modules=_words(worker.get("modules", []), "modules", where),
        overrides=overrides,
        schedules=tuple(_schedule(name, schedules, f"{path}: schedule") for name in schedules),
        lease_s=_seconds(worker.get("lease", "10s"), "lease", where),
        grace_s=_seconds(worker.get("grace", "30s"), "grace", where),
        queues=_queues(worker.get("queues", ["default"]), where),
        slots=_slots(worker.get("slots"), where),
    )


def _fields(table: Mapping[str, Any], where: str, known: frozenset[str] | None = None) -> dict[str, Any]:
    """The fields of ``TaskSpec`` that a table sets."""
    found = {}
    for key, value in table.items():
        if key not in (known or _READERS):
            raise _unknown(key, sorted(known or _READERS), where)
        name, read = _READERS[key]
        found[name] = read(value, key, where)
    return found


def _schedule(name: str, tables: Mapping[str, Any], where: str) -> ScheduleSpec:
    known = frozenset({"task", "cron", "timezone", "payload", "queue", "priority"})
    table = _table(tables, name, known, where)
    if _is_unusable(name, longest=_LONGEST_SCHEDULE):
        raise ConfigurationError(
            f"{where}: {name!r:.40} is no name", hint="give it a shorter one, without NUL"
        )
    where = f"{where}.{name}"
    for key in ("task", "cron"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise _wrong(key, "text", 'task = "report" and cron = "0 3 * * *"', where)
    zone = table.get("timezone", "UTC")
    _check_cron(table["cron"], zone, where)
    return ScheduleSpec(
        name=name,
        task=_name(table["task"], "task", where),
        cron=table["cron"],
        timezone=zone,
        payload=_payload(table.get("payload"), where),
        queue=_name(table["queue"], "queue", where) if "queue" in table else None,
        priority=_whole(table.get("priority", 0), "priority", where),
    )


def _check_cron(cron: str, zone: object, where: str) -> None:
    try:
        known = ZoneInfo(zone) if isinstance(zone, str) else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = None
    if known is None:
        raise _wrong("timezone", "the name of a time zone", 'timezone = "Europe/Berlin"', where)
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only where there are schedules

    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=known))
    except CronSimError as error:
        raise ConfigurationError(
            f"{where}: cron {cron!r} cannot be read: {error}", hint='write five fields: cron = "0 3 * * *"'
        ) from None


def _seconds(value: Any, key: str, where: str) -> float:
    try:
        seconds = parse_duration(value).total_seconds() if isinstance(value, str) else 0.0
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise _wrong(key, "a duration above 0", f'{key} = "10m"', where)
    return seconds


def _bytes(value: Any, key: str, where: str) -> int:
    try:
        size = parse_size(value) if isinstance(value, str) else value
    except ValueError:
        size = None
    if type(size) is not int or size <= 0:
        raise _wrong(key, "a size above 0", f'{key} = "4G"', where)
    return size


def _whole(value: Any, key: str, where: str) -> int:
    if type(value) is not int or abs(value) > _LARGEST:
        raise _wrong(key, "a whole number", f"{key} = 3", where)
    return value


def _count(value: Any, key: str, where: str) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise _wrong(key, "a whole number, 0 or more", f"{key} = 3", where)
    return value


def _slots(value: Any, where: str) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MOST_SLOTS):
        raise _wrong("slots", f"a whole number from 1 to {MOST_SLOTS}", "slots = 4", where)
    return value


def _name(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, "text", f'{key} = "default"', where)
    if _is_unusable(value):
        raise _wrong(key, f"at most {LONGEST_NAME} bytes long, without NUL", f'{key} = "default"', where)
    return value


def _is_unusable(name: str, *, longest: int = LONGEST_NAME) -> bool:
    return "\0" in name or len(name.encode(errors="surrogatepass")) > longest


def _queues(value: Any, where: str) -> tuple[str, ...]:
    words = _words(value, "queues", where, "default")
    return tuple(_name(word, "queues", where) for word in words) or ("default",)


def _payload(value: Any, where: str) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        # TOML has dates, and numbers that are none.
        raise ConfigurationError(
            f"{where}: payload cannot be written as JSON: {error}", hint="write dates as text"
        ) from None
    return value


def _words(value: Any, key: str, where: str, example: str = "myservice.tasks") -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise _wrong(key, "a list of text", f'{key} = ["{example}"]', where)
    return tuple(value)


def _command(value: Any, key: str, where: str) -> tuple[str, ...]:
    words = _words(value, key, where, 'python", "render.py", "{job_id}')
    if not words:
        raise _wrong(key, "an argument vector", 'command = ["python", "render.py", "{job_id}"]', where)
    for word in words:
        for place in re.findall(r"\{(\w*)\}", word):
            if place not in PLACES:
                hint = f"known places: {', '.join(f'{{{name}}}' for name in PLACES)}"
                raise ConfigurationError(f"{where}: command has the unknown place {{{place}}}", hint=hint)
    return words


_READERS: Mapping[str, tuple[str, Callable[[Any, str, str], Any]]] = {
    "command": ("command", _command),
    "timeout": ("timeout_s", _seconds),
    "retries": ("retries", _count),
    "backoff": ("backoff_s", _seconds),
    "backoff_max": ("backoff_max_s", _seconds),
    "memory": ("memory", _bytes),
    "processes": ("processes", _count),
    "cancel_grace": ("cancel_grace_s", _seconds),
    "queue": ("queue", _name),
}
"""What a decorator or a table may say of a task: the field it sets, and how it is read."""


def _table(
    tables: Mapping[str, Any], name: str, known: frozenset[str] | None, where: str
) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, Mapping):
        section = where.partition(": ")[2]
        header = f"{section}.{name}" if section else name
        raise ConfigurationError(f"{where}: {name} must be a table", hint=f"write [{header}]")
    for key in table:
        if known is not None and key not in known:
            raise _unknown(key, sorted(known), f"{where}: {name}")
    return table


def _unknown(key: str, known: Sequence[str], where: str) -> ConfigurationError:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return ConfigurationError(f"{where}: unknown key {key!r}", hint=hint)


def _wrong(key: str, needed: str, example: str, where: str) -> ConfigurationError:
    return ConfigurationError(f"{where}: {key} must be {needed}", hint=f"write {example}")
