"""Checks of the roots and of the disk the store lies on."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime

from jobctl.core.health.places import (
    Refusal,
    Room,
    Sharing,
    Suspended,
    judge_absence,
    judge_one_file_system,
    judge_refusal,
    judge_room,
    judge_sharing,
)
from jobctl.errors import JobctlError
from jobctl.model.amounts import counted
from jobctl.model.health import Diagnosis, fail, ok, together, unknown, warn
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.hold import open_registered
from jobctl.ops.site import Site
from jobctl.ops.stepdown import store_places
from jobctl.outputs.directories import open_directory
from jobctl.outputs.file_systems import file_system_of, is_local
from jobctl.outputs.manifest import QUARANTINE
from jobctl.outputs.room import room_of, why_no_file
from jobctl.outputs.root import CONTROL_DIRECTORY, OpenRoot
from jobctl.store import restored, vitals
from jobctl.store import roots as registered
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

THEME = "roots"

Look = Callable[[OpenRoot], Iterable[Diagnosis]]


@health_check(
    "roots",
    THEME,
    "Nothing is scanned, recovered or published below a root that is away, or that is another directory.",
)
def roots(patient: Patient) -> Diagnosis:
    """Each is mounted, bears its marker, and is not older than the store, or newer."""
    rows = root_rows(patient.site)
    if not rows:
        return warn("no root is registered", "register the outputs", "jobctl init --root DIR")
    return together([_state(patient.site, row) for row in rows], well=f"{counted(len(rows), 'root')} ready")


def _state(site: Site, row: RootRow) -> Diagnosis:
    if not _is_seen(site, row):
        return ok(f"only {row.host} can see {row.path}")
    try:
        open_registered(site, row).__exit__(None, None, None)
    except JobctlError as error:
        return fail(error.message, error.hint)
    return ok(row.path)


@health_check(
    "absence",
    THEME,
    "Once an older copy was put back, its records condemn no file until a complete recover was applied.",
)
def absence(patient: Patient) -> Diagnosis:
    """Whether absence is trusted below each root, and if not, since when and why."""
    with patient.site.store.read() as connection:
        return examine_absence(patient.site, connection)


def examine_absence(site: Site, connection: Connection) -> Diagnosis:
    """Whether absence is trusted below each root, and if not, since when and why."""
    rows, newest = registered.get_roots(connection), restored.newest(connection)
    alike: dict[tuple[datetime, str | None], dict[str, str]] = {}
    for row in rows:
        if row.negatives_suspended_at is not None:
            host = None if _is_seen(site, row) else row.host
            alike.setdefault((row.negatives_suspended_at, host), {})[row.root_id] = row.path
    suspended = [
        Suspended(
            roots,
            since,
            host,
            are_all=len(roots) == len(rows),
            put_back=newest[1] if newest and newest[0] == since else None,
        )
        for (since, host), roots in alike.items()
    ]
    return judge_absence(suspended, site.store.now(connection))


@health_check("writable", THEME, "What cannot be written cannot be published, moved aside or marked.")
def writable(patient: Patient) -> Diagnosis:
    """Each root, and where jobctl keeps its own files below it."""
    return of_each_root(patient, _refusals, well="every root takes files")


def _refusals(root: OpenRoot) -> Iterable[Diagnosis]:
    for below in ("", CONTROL_DIRECTORY):
        fd = open_directory(root.fd, below)
        try:
            refused = why_no_file(fd)
            if refused is not None:
                yield judge_refusal(_refusal(os.path.join(root.path, below).rstrip("/"), fd, refused))
        finally:
            os.close(fd)


def _refusal(path: str, fd: int, refused: OSError) -> Refusal:
    found = os.fstat(fd)
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWUSR
    mend = shlex.join(["chmod", "u+w", path]) if refused.errno == errno.EACCES and is_ours else ""
    return Refusal(path, refused.strerror or str(refused), _name(os.geteuid()), _name(found.st_uid), mend)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@health_check(
    "quarantine-place",
    THEME,
    "Files are moved into quarantine by renaming, which no other file system allows.",
)
def quarantine_place(patient: Patient) -> Diagnosis:
    """The file system of quarantine beside that of its root."""
    return of_each_root(patient, _places, well="on the file system of its root")


def _places(root: OpenRoot) -> Iterable[Diagnosis]:
    yield judge_one_file_system(root.path, is_one=quarantine_device(root) == root.device)


def quarantine_device(root: OpenRoot) -> int:
    """The device that quarantine lies on, or will once there is one."""
    for below in (f"{CONTROL_DIRECTORY}/{QUARANTINE}", CONTROL_DIRECTORY):
        with suppress(FileNotFoundError):
            return os.stat(below, dir_fd=root.fd).st_dev
    return root.device


@health_check(
    "room",
    THEME,
    "On a full disk nothing is published, and no job is recorded; how long it lasts tells 'jobctl status'.",
    needs_store=False,
)
def room(patient: Patient) -> Diagnosis:
    """Bytes and inodes below each root, and where an embedded store lies."""
    stores = [os.path.dirname(path) for path in store_places(patient.settings)]
    known = [path for path in [*(row.path for row in _known_rows(patient)), *stores] if os.path.isdir(path)]
    # Two places on one file system share what is left.
    places = {os.stat(path).st_dev: path for path in reversed(known)}
    found = [judge_room(Room(path, *room_of(path))) for path in places.values()]
    return together(found, well="; ".join(each.said for each in found) or "no place is known")


@health_check(
    "root-sharing",
    THEME,
    "A root that hosts only believe to share makes the files of one look lost to the others.",
)
def root_sharing(patient: Patient) -> Diagnosis:
    """How each root is registered, and where it lies."""
    site = patient.site
    with site.store.read() as connection:
        hosts = vitals.hosts_seen(connection).keys() | {site.host}
    seen = [row for row in root_rows(site) if _is_seen(site, row) and os.path.isdir(row.path)]
    sharing = [Sharing(row.path, row.host, kind := file_system_of(row.path), is_local(kind)) for row in seen]
    well = ", ".join(f"{each.path} ({each.file_system}), {each.host or 'shared by all'}" for each in sharing)
    return together(judge_sharing(sharing, hosts), well=well or "no root")


def of_each_root(patient: Patient, look: Look, *, well: str) -> Diagnosis:
    """What ``look`` finds wrong with the roots that can be opened; whether others can is another check's."""
    found: list[Diagnosis] = []
    for row in root_rows(patient.site):
        if not _is_seen(patient.site, row):
            continue
        try:
            with open_registered(patient.site, row) as root:
                found += look(root)
        except JobctlError:
            found.append(unknown(f"{row.path} cannot be opened: see 'roots'"))
    return together(found, well=well)


def root_rows(site: Site) -> list[RootRow]:
    """All registered roots."""
    with site.store.read() as connection:
        return registered.get_roots(connection)


def _known_rows(patient: Patient) -> list[RootRow]:
    """The registered roots, as far as the store tells."""
    try:
        return root_rows(patient.site)
    except JobctlError:
        return []


def _is_seen(site: Site, row: RootRow) -> bool:
    return row.host in {None, site.host}


CHECKS: tuple[HealthCheck, ...] = (roots, absence, writable, quarantine_place, room, root_sharing)
