"""Bundle: what somebody who helps needs to see, in one archive without secrets.

Each part is gathered by itself: one that cannot be had is told in the manifest, and costs no other.
"""

from __future__ import annotations

import gzip
import io
import os
import platform
import sqlite3
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import distributions
from typing import Any, NamedTuple, TypeVar

from jobctl import __version__, clock
from jobctl.core.reporting.periods import Grain, Zone, period_named
from jobctl.errors import JobctlError
from jobctl.model.job import Job
from jobctl.model.listing import JobQuery, Order, position_of
from jobctl.ops.doctor.checks import all_checks, chosen
from jobctl.ops.doctor.examine import examine
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.logs import list_logs
from jobctl.ops.new_file import PRIVATE, write_new_file
from jobctl.ops.report import story_of
from jobctl.ops.runs import actions_of, list_runs
from jobctl.ops.site import Site, open_site
from jobctl.ops.standing import look
from jobctl.report.backup_screen import run_item
from jobctl.report.envelope import to_json
from jobctl.report.items import action_item, job_item
from jobctl.report.standing_items import standing_item
from jobctl.report.story_page import story_data
from jobctl.settings import Settings
from jobctl.sizes import format_size
from jobctl.store import jobs, listing, reports, roots, workers
from jobctl.store.engine import Connection
from jobctl.store.listing import Stretch
from jobctl.store.secrecy import GONE, Redactor, is_secret_name, secrets_in, secrets_in_url

LARGEST_PART = 4 << 20
"""Of each part no more than this, in bytes; what comes after is left out, and that is told."""

_CHECK_LIMIT_S = 10.0
_MOST_RUNS, _MOST_RUNS_IN_FULL, _MOST_EVENTS, _MOST_JOBS = 50, 5, 2_000, 500
_JOBS_AT_ONCE = 20
_OURS = "JOBCTL_"
_OF_THE_SHELL = ("PWD", "OLDPWD", "XDG_", "SSH_", "DBUS_")
"""Variables whose names only look like a secret's."""

_ALSO_TOLD = ("LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")


HadT = TypeVar("HadT")


class Part(NamedTuple):
    """One file of the bundle: what is in it, and what became of it.

    ``bytes`` is ``None`` where it could not be gathered; ``fault`` says why, or what of it was left out.
    """

    name: str
    holds: str
    bytes: int | None = None
    fault: str = ""


@dataclass(slots=True)
class _Material:
    """What parts are gathered from. Raises, where it is asked for, what keeps it from being had."""

    load: Callable[[], Settings]
    environ: Mapping[str, str]
    stack: ExitStack
    clean: Callable[[str], str] = str
    """Takes every secret that is known by now out of a text."""
    _settings: Settings | JobctlError | None = None
    _site: Site | JobctlError | None = None

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            try:
                self._settings = self.load()
            except JobctlError as error:
                self._settings = error
        return _or_raise(self._settings)

    @property
    def site(self) -> Site:
        if self._site is None:
            try:
                self._site = self.stack.enter_context(open_site(self.settings, pooled=True))
            except JobctlError as error:
                self._site = error
        return _or_raise(self._site)


def _or_raise(found: HadT | JobctlError) -> HadT:
    if isinstance(found, JobctlError):
        raise found
    return found


Gather = Callable[[_Material], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    holds: str
    gather: Gather


def contents(*, with_payloads: bool) -> list[Part]:
    """What a bundle holds, before anything of it is gathered."""
    return [Part(plan.name, plan.holds) for plan in _plans(with_payloads=with_payloads)]


def write_bundle(
    path: str, load: Callable[[], Settings], *, environ: Mapping[str, str], with_payloads: bool = False
) -> list[Part]:
    """Gather everything and write the archive, readable by its owner alone; what became of each part.

    ``load`` gives the settings, or raises why there are none. Raises the errors of ``new_file``.
    """
    # Run by root, opening the store makes this process its owner: what follows is written as that.
    with ExitStack() as stack:
        bundle = _Bundle(_Material(load, environ, stack))
        for plan in _plans(with_payloads=with_payloads):
            bundle.gather(plan)
    write_new_file(path, bundle.packed(with_payloads=with_payloads), mode=PRIVATE)
    return bundle.parts


@dataclass(slots=True)
class _Bundle:
    material: _Material
    parts: list[Part] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    secrets: set[str] = field(init=False)
    redactor: Redactor = field(init=False)

    def __post_init__(self) -> None:
        self.secrets = _known_secrets(self.material)
        self.redactor = Redactor(self.secrets)
        self.material.clean = self._clean

    def gather(self, plan: _Plan) -> None:
        """Gather one part. Whatever it comes upon, the others are gathered all the same."""
        content, fault = bytearray(), ""
        is_there = True
        try:
            for item in plan.gather(self.material):
                line = to_json(self._redacted(item)).encode() + b"\n"
                if len(content) + len(line) > LARGEST_PART:
                    fault = f"only its first {format_size(LARGEST_PART)}"
                    break
                content += line
        except JobctlError as error:
            is_there, fault = bool(content), error.message
        except Exception as error:  # noqa: BLE001 - a broken store must not cost the rest
            is_there, fault = bool(content), f"{type(error).__name__}: {error}".partition("\n")[0]
        if is_there:
            self.files.append((plan.name, bytes(content)))
        size = len(content) if is_there else None
        self.parts.append(Part(plan.name, plan.holds, size, self.redactor.text(fault)))

    def _clean(self, text: str) -> str:
        return self.redactor.text(text)

    def _redacted(self, item: Any) -> Any:
        """An item without secrets; what it says of one by its name is taken out of all that follows."""
        new = secrets_in(item) - self.secrets
        if new:
            self.secrets |= new
            self.redactor.learn(new)
        return self.redactor.document(item)

    def packed(self, *, with_payloads: bool) -> bytes:
        """The archive, its manifest first."""
        now = clock.now()
        manifest = {
            "format": "jobctl-bundle/v1",
            "jobctl": __version__,
            "made_at": now,
            "with_payloads": with_payloads,
            "secrets": f"replaced by {GONE}",
            "parts": [part._asdict() for part in self.parts],
        }
        raw = io.BytesIO()
        files = [("manifest.json", to_json(manifest).encode() + b"\n"), *self.files]
        with (
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=int(now.timestamp())) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for name, content in files:
                archive.addfile(_entry(name, content, now), io.BytesIO(content))
        return raw.getvalue()


def _entry(name: str, content: bytes, now: datetime) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(f"jobctl-bundle/{name}")
    entry.size, entry.mode, entry.mtime = len(content), PRIVATE, int(now.timestamp())
    return entry


def _known_secrets(material: _Material) -> set[str]:
    """Every secret of this site that is known by its place: wherever else it stands, it is taken out.

    A job that failed may say in its error what it was handed in its payload.
    """
    found = {
        value
        for name, value in material.environ.items()
        if is_secret_name(name) and not name.startswith(_OF_THE_SHELL)
    }
    for value in material.environ.values():
        found |= secrets_in_url(value)
    for gather in (_settings, _configuration, _payloads):
        # Where it cannot be read, the part that is made of it will say so.
        with suppress(Exception):
            for item in gather(material):
                found |= secrets_in(item)
    return found


def _document_of(settings: Settings) -> dict[str, Any]:
    """The settings as a document."""
    return {name: _plain(getattr(settings, name)) for name in Settings.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str | datetime) else str(value)


def _versions(material: _Material) -> Iterator[Any]:
    yield {
        "jobctl": __version__,
        "python": sys.version,
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {each.name: each.version for each in sorted(distributions(), key=lambda one: one.name)},
    }
    with material.site.store.read() as connection:
        yield {"store": material.site.store.dialect.name, "version": reports.database_version(connection)}


def _settings(material: _Material) -> Iterator[Any]:
    yield _document_of(material.settings)


def _configuration(material: _Material) -> Iterator[Any]:
    """The configuration file as it was read: its comments may hold anything, and are left out."""
    path = material.settings.source
    if path is not None:
        with open(path, "rb") as file:
            yield {"file": path, "content": tomllib.load(file)}


def _environment(material: _Material) -> Iterator[Any]:
    told = {
        name: value
        for name, value in sorted(material.environ.items())
        if name.startswith(_OURS) or name in _ALSO_TOLD
    }
    yield {"host": platform.node(), "uid": os.geteuid(), "directory": os.getcwd(), "variables": told}


def _doctor(material: _Material) -> Iterator[Any]:
    patient = Patient(material.settings)
    checks = chosen(all_checks(patient.database), only=(), skip=(), every=False)
    for one in examine(patient, checks, limit_s=_CHECK_LIMIT_S):
        yield {**one._asdict(), "diagnosis": one.diagnosis._asdict()}


def _status(material: _Material) -> Iterator[Any]:
    yield standing_item(look(material.site, clean=material.clean))


def _workers(material: _Material) -> Iterator[Any]:
    with material.site.store.read() as connection:
        leases = workers.count_leases(connection)
        for worker in workers.list_workers(connection, every=True):
            yield {**_plain(worker), "leases": leases.get(worker.worker_id, 0)}


def _roots(material: _Material) -> Iterator[Any]:
    with material.site.store.read() as connection:
        for row in roots.get_roots(connection):
            yield row._asdict()


def _runs(material: _Material) -> Iterator[Any]:
    for run in list_runs(material.site, limit=_MOST_RUNS):
        yield run_item(run._asdict())


def _steps(material: _Material) -> Iterator[Any]:
    for run in list_runs(material.site, limit=_MOST_RUNS_IN_FULL):
        for step in actions_of(material.site, run.run_id):
            item = action_item(step.action, step.outcome, step.note)
            yield {"run_id": run.run_id, **item, "applied_at": step.applied_at}


def _events(material: _Material) -> Iterator[Any]:
    with material.site.store.read() as connection:
        for event in reports.latest_events(connection, limit=_MOST_EVENTS):
            yield event._asdict()


def _newest_jobs(connection: Connection) -> Iterator[Job]:
    """The newest jobs, a few at a time: the texts of one may be long."""
    place, left = None, _MOST_JOBS
    while left > 0:
        size = min(left, _JOBS_AT_ONCE)
        page = listing.find_jobs(connection, JobQuery(), Stretch(size, place))
        yield from page
        if len(page) < size:
            return
        place, left = position_of(page[-1], Order.CREATED), left - size


def _jobs(material: _Material) -> Iterator[Any]:
    with material.site.store.read() as connection:
        for job in _newest_jobs(connection):
            yield {**job_item(job), "error_code": job.error_code, "executor": _plain(job.executor)}


def _payloads(material: _Material) -> Iterator[Any]:
    with material.site.store.read() as connection:
        for job in _newest_jobs(connection):
            body = jobs.body_of(connection, job.job_id)
            yield {"job_id": job.job_id, "payload": body.payload, "result": body.result}


def _logs(material: _Material) -> Iterator[Any]:
    for log in list_logs(material.site):
        yield _plain(log)


def _report(material: _Material) -> Iterator[Any]:
    site, zone = material.site, Zone()
    with site.store.read() as connection:
        now = site.store.now(connection)
    yield story_data(story_of(site, period_named("this", Grain.WEEK, now, zone), zone))


_PLANS = (
    _Plan("versions.jsonl", "versions of jobctl, Python, the database and every package", _versions),
    _Plan("settings.json", "the settings in force", _settings),
    _Plan("configuration.json", "the configuration file, without comments", _configuration),
    _Plan("environment.json", "host, user, and the variables jobctl reads", _environment),
    _Plan("doctor.jsonl", "what each check of the doctor found", _doctor),
    _Plan("status.json", "how the store stands: troubles, jobs, queues, runs", _status),
    _Plan("workers.jsonl", "every worker that is known, and the jobs it holds", _workers),
    _Plan("roots.jsonl", "the registered outputs directories", _roots),
    _Plan("runs.jsonl", f"the last {_MOST_RUNS} runs", _runs),
    _Plan("steps.jsonl", f"the steps of the last {_MOST_RUNS_IN_FULL} runs", _steps),
    _Plan("events.jsonl", f"the last {_MOST_EVENTS:,} lines of history", _events),
    _Plan("jobs.jsonl", f"the {_MOST_JOBS} newest jobs, without payload and result", _jobs),
    _Plan("logs.jsonl", "which server logs were read, and how far", _logs),
    _Plan("report.json", "the report on this week", _report),
)
_PAYLOADS = _Plan("payloads.jsonl", "what these jobs were asked to do, and came to", _payloads)


def _plans(*, with_payloads: bool) -> list[_Plan]:
    return [*_PLANS, *([_PAYLOADS] if with_payloads else [])]
