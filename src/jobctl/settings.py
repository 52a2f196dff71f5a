"""Settings: flags over JOBCTL_* environment over jobctl.toml over defaults."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from jobctl.errors import ConfigurationError
from jobctl.policy import Backups, Policy, backups_from_table, policy_from_tables
from jobctl.source import SIDECAR_FIELDS, Source, sources_from_list
from jobctl.work import Work, work_from_tables

REMOTE_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "renderer": "elai",
        "url": "https://apis.elai.io/api/v1",
        "page_size": 50,
        "timeout_s": 30.0,
        "max_download_bytes": 8 << 30,
    }
)
"""The remote renderer: which, its address, renders a page, seconds without a sign of life, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Times in seconds unless the name says otherwise."""

    database: str
    host_id: str
    video_url_form: str = "/presentations/{job_id}/video"
    thumbnail_url_form: str = "/presentations/{job_id}/thumbnail"
    quiet_s: float = 120.0
    """How long a file must have been left alone where nothing better tells that it is closed."""
    stale_after_s: float = 900.0
    """How long without a heartbeat until a job is stale; blocking steps of 600 s are normal."""
    lock_stale_after_s: float = 120.0
    plan_max_age_h: float = 24.0
    layouts: Mapping[str, Any] = field(default_factory=dict)
    logs: Mapping[str, Any] = field(default_factory=dict)
    """Rules for server logs, by name, beside those built in."""
    log_timezone: str = "UTC"
    """The zone of moments in logs that name none."""
    sources: tuple[Source, ...] = ()
    """Other tables that know of jobs."""
    sidecar: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Job fields to the keys under which sidecars of others tell them."""
    remote: Mapping[str, Any] = field(default_factory=lambda: REMOTE_DEFAULTS)
    """The keys of ``REMOTE_DEFAULTS``. A key for the renderer is never a setting."""
    policy: Policy = field(default_factory=Policy)
    """What expires, and when files may go."""
    backup: Backups = field(default_factory=Backups)
    """Where backups go, and how many are kept."""
    work: Work = field(default_factory=Work)
    """Which tasks workers run, and how, and which jobs are enqueued by the clock."""
    shadow_journal: str = ""
    """The directory where services that write a dict and a store note what the store has still to learn."""
    as_root: bool = False
    """Whether to stay root, instead of becoming the owner of store and outputs."""
    source: str | None = None
    """The configuration file that was read."""

    def digest(self) -> str:
        """A short name of everything that shapes a plan: a plan made under other settings is stale."""
        shaping = [self.video_url_form, self.thumbnail_url_form, self.quiet_s, self.stale_after_s]
        sources = [source.shape() for source in self.sources]
        tables = [dict(self.layouts), dict(self.sidecar), sources, self.policy.shape()]
        text = json.dumps([*shaping, *tables], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_MACHINE_ID = "/etc/machine-id"
_NUMBERS = {"quiet_s", "stale_after_s", "lock_stale_after_s", "plan_max_age_h"}
_TEXTS = {"database", "host_id", "shadow_journal", "video_url_form", "thumbnail_url_form", "log_timezone"}
_TABLES = {"layouts", "logs"}
_POLICY_TABLES = {"expire", "cleanup", "quarantine"}
_WORK_TABLES = {"worker", "tasks", "schedule"}
_LARGEST_PAGE = 1_000
_PLAIN_HTTP = frozenset({"localhost", "127.0.0.1", "::1"})
_KNOWN = sorted(
    {*_NUMBERS, *_TEXTS, *_TABLES, *_POLICY_TABLES, *_WORK_TABLES, "sidecar", "source", "remote", "backup"}
    | {"as_root"}
)
_ENVIRONMENT = {
    "database": "JOBCTL_DATABASE_URL",
    **{name: f"JOBCTL_{name.upper()}" for name in sorted((_NUMBERS | _TEXTS) - {"database"})},
}


def load_settings(
    *, config: str | None = None, database: str | None = None, environ: Mapping[str, str]
) -> Settings:
    """Gather the settings. Raises ``ConfigurationError`` naming the key and where it stands."""
    path = _config_path(config, environ)
    values = _read(path) if path else {}
    for name, variable in _ENVIRONMENT.items():
        if environ.get(variable):
            values[name] = _typed(name, environ[variable], f"the environment variable {variable}")
    if database:
        values["database"] = database
    values.setdefault("database", _default_database(environ))
    values.setdefault("host_id", _host_id())
    beside = os.path.dirname(_default_database(environ))
    values.setdefault("shadow_journal", os.path.join(beside, "shadow"))
    sources = values.pop("source", ())
    policy = policy_from_tables({name: values.pop(name, {}) for name in sorted(_POLICY_TABLES)}, path or "")
    work = work_from_tables({name: values.pop(name, {}) for name in sorted(_WORK_TABLES)}, path or "")
    return Settings(**values, sources=sources, policy=policy, work=work, source=path)


def _config_path(config: str | None, environ: Mapping[str, str]) -> str | None:
    named = config or environ.get("JOBCTL_CONFIG")
    if named:
        return named
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    places = ("jobctl.toml", os.path.join(home, "jobctl", "jobctl.toml"), "/etc/jobctl/jobctl.toml")
    return next((place for place in places if _may_exist(place)), None)


def _may_exist(path: str) -> bool:
    """Whether a file is there, or cannot be told: reading it then says what is wrong."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration file {path} cannot be read: {error.strerror}",
            hint="check --config and JOBCTL_CONFIG",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the configuration file {path} is not TOML: {error}",
            hint="mend it, or name another with --config",
        ) from None
    return {name: _checked(name, value, path) for name, value in document.items()}


def _checked(name: str, value: Any, path: str) -> Any:
    if name not in _KNOWN:
        raise _unknown_key(name, _KNOWN, path)
    if name == "as_root":
        if not isinstance(value, bool):
            raise ConfigurationError(f"{path}: as_root must be true or false", hint="write as_root = true")
        return value
    if name in _POLICY_TABLES | _WORK_TABLES:
        return value
    if name in _TABLES:
        if not isinstance(value, dict):
            raise ConfigurationError(f"{path}: {name} must be tables", hint=f"write [{name}.NAME]")
        return value
    if name in _READERS:
        return _READERS[name](value, path)
    if name == "remote":
        return _remote(value, f"{path}: remote")
    return _typed(name, value, path)


def _sidecar(value: Any, path: str) -> dict[str, tuple[str, ...]]:
    """``owner = "request.user"``: a field, and the keys that lead to it."""
    is_sound = isinstance(value, dict) and all(isinstance(keys, str) and keys for keys in value.values())
    if not is_sound:
        hint = 'write owner = "request.user" under [sidecar]'
        raise ConfigurationError(f"{path}: sidecar must be a table of field = keys", hint=hint)
    for name in value:
        if name not in SIDECAR_FIELDS:
            hint = f"known fields: {', '.join(SIDECAR_FIELDS)}"
            raise ConfigurationError(f"{path}: sidecar has the unknown field {name!r}", hint=hint)
    return {name: tuple(keys.split(".")) for name, keys in value.items()}


def _unknown_key(name: str, known: Sequence[str], where: str) -> ConfigurationError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return ConfigurationError(f"{where}: unknown key {name!r}", hint=hint)


def _remote(table: Any, where: str) -> Mapping[str, Any]:
    """The ``[remote]`` table over its defaults."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} must be a table", hint="write [remote]")
    for name, value in table.items():
        if name not in REMOTE_DEFAULTS:
            raise _unknown_key(name, list(REMOTE_DEFAULTS), where)
        fault = _remote_fault(name, value)
        if fault:
            raise ConfigurationError(
                f"{where}: {name} must be {fault}",
                hint=f"leave it out, or write {name} = {json.dumps(REMOTE_DEFAULTS[name])}",
            )
    return MappingProxyType({**REMOTE_DEFAULTS, **table})


def _remote_fault(name: str, value: Any) -> str | None:
    """What a value must be and is not. The value is not repeated: an address may hold a secret."""
    if name == "renderer":
        return None if isinstance(value, str) and value else "a renderer's name"
    if name == "url":
        return (
            None if isinstance(value, str) and _is_service_url(value) else "an https address without secrets"
        )
    number = _number(value)
    if number is None or not 0 < number < float("inf"):
        return "a number above 0"
    if name != "timeout_s" and type(value) is not int:
        return "a whole number"
    return f"at most {_LARGEST_PAGE}" if name == "page_size" and value > _LARGEST_PAGE else None


def _is_service_url(url: str) -> bool:
    """Whether a key can be sent there: encrypted, or within this machine, and with no secret in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in _PLAIN_HTTP)
    is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return bool(host) and is_safe and is_plain and not parts.query and not parts.fragment


def _typed(name: str, value: Any, where: str) -> Any:
    if name in _TEXTS:
        if isinstance(value, str) and value:
            return _url_form(name, value, where)
        raise ConfigurationError(f"{where}: {name} must be text", hint=f'write {name} = "…"')
    number = _number(value)
    if number is None or not 0 < number < float("inf"):
        raise ConfigurationError(
            f"{where}: {name} must be a number above 0, not {value!r}", hint=f"write {name} = 60"
        )
    return number


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _url_form(name: str, value: str, where: str) -> str:
    is_sound = "{job_id}" in value and not {"{", "}"} & set(value.replace("{job_id}", ""))
    if name.endswith("_url_form") and not is_sound:
        raise ConfigurationError(
            f"{where}: {name} must hold {{job_id}} and no other {{…}}",
            hint=f'write {name} = "/videos/{{job_id}}.mp4"',
        )
    return value


def default_data_directory(environ: Mapping[str, str]) -> str:
    """Where this user's data of jobctl lies, unless the settings say otherwise."""
    if os.geteuid() == 0:
        return "/var/lib/jobctl"
    home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local", "share")
    return os.path.join(home, "jobctl")


def _default_database(environ: Mapping[str, str]) -> str:
    return os.path.join(default_data_directory(environ), "jobctl.db")


def _host_id() -> str:
    """A name people know, made unique: cloned machines share one half, but hardly ever both."""
    try:
        with open(_MACHINE_ID, encoding="ascii") as file:
            named = file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        named = ""
    node = os.uname().nodename
    # An image that was never booted holds "uninitialized" there (machine-id(5)).
    return f"{node}-{named[:8]}" if re.fullmatch("[0-9a-f]{32}", named) else node


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "source": sources_from_list,
    "sidecar": _sidecar,
    "backup": backups_from_table,
}
_SETTABLE = {*_KNOWN, "sources", "policy", "work"} - _POLICY_TABLES - _WORK_TABLES
assert {each.name for each in fields(Settings)} == _SETTABLE  # noqa: S101 - keeps the lists complete
