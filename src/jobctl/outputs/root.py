"""Roots: register a directory, and prove later that it is the one that was registered.

The marker ``.jobctl/root.json`` names the root, the store and a generation. An unmounted
or exchanged directory does not bear it. Every changing run raises the generation in the
store first and then here: a marker ahead of its store means the store is an older copy.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from jobctl.errors import RootRefused, RootUnavailable, StoreOlderThanRoot
from jobctl.outputs import effects
from jobctl.outputs.directories import open_directory

CONTROL_DIRECTORY = ".jobctl"
MARKER = "root.json"
_FORMAT = "jobctl-root/v1"
_LARGEST_MARKER = 4_096
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "gfs2",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    }
)


@dataclass(slots=True)
class OpenRoot:
    """A registered root, proven and held open."""

    root_id: str
    path: str
    fd: int
    device: int
    marker_generation: int
    behind: int
    """By how many generations the marker is behind the store: 1 after a crash, more for an older tree."""
    is_shared: bool
    """Whether other hosts may write here unseen, so that only quiet files can be called closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


def register(path: str, *, store_id: str, root_id: str, others: Iterable[str], store_path: str | None) -> str:
    """Make ``path`` a root: write its marker. Returns its real path.

    ``others`` are the registered roots, ``store_path`` the file of an embedded store.
    Raises ``RootRefused`` for a directory that may not become one; writes nothing then.
    """
    real = resolve(path)
    _refuse_dangerous(real, others, store_path)
    fd = _open_path(real)
    try:
        found = _read_marker(real, fd)
        if found is not None and found["store_id"] != store_id:
            raise RootRefused(
                f"{real} belongs to another job store ({found['store_id']}); nothing was changed",
                hint="use that store, or move its .jobctl directory away if it is gone for good",
            )
        if found is None or found["root_id"] != root_id:
            _write_marker(fd, root_id=root_id, store_id=store_id, generation=0)
    except OSError as error:
        raise RootRefused(
            f"{real} cannot become a root: {error.strerror}",
            hint="check its owner, permissions and free space",
        ) from None
    finally:
        os.close(fd)
    return real


def resolve(path: str) -> str:
    """The real path of a directory. Raises ``RootRefused`` where there is none."""
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        what = "is not a directory" if os.path.exists(real) else "does not exist"
        raise RootRefused(f"{path} {what}; nothing was changed", hint="name the outputs directory")
    return real


def known_marker(path: str, *, store_id: str) -> str | None:
    """The root id that ``path`` was marked with for this store, if it was."""
    fd = _open_path(path)
    try:
        found = _read_marker(path, fd)
    finally:
        os.close(fd)
    return str(found["root_id"]) if found and found["store_id"] == store_id else None


def open_root(path: str, *, root_id: str, store_id: str, generation: int) -> OpenRoot:
    """Open a registered root and prove it. ``generation`` is the store's.

    Raises ``RootUnavailable`` (away, unreadable, not the registered one) or
    ``StoreOlderThanRoot``; changes nothing.
    """
    fd = _open_path(path)
    try:
        found = _read_marker(path, fd)
        _prove(path, found, root_id, store_id)
        seen = int(found["generation"]) if found else 0
        if seen > generation:
            raise StoreOlderThanRoot(
                f"root {path} has seen {seen - generation} changing runs that this store does not know: "
                "an older copy of the store was put back; nothing was changed",
                hint=f"put the newest store back, or accept this one: jobctl root adopt {path}",
            )
        device = os.fstat(fd).st_dev
    except BaseException:
        os.close(fd)
        raise
    return OpenRoot(
        root_id, path, fd, device, seen, generation - seen, _file_system(device) in _NETWORK_FILE_SYSTEMS
    )


def write_generation(root: OpenRoot, *, store_id: str, generation: int) -> None:
    """Write the marker of a changing run, before it acts."""
    _write_marker(root.fd, root_id=root.root_id, store_id=store_id, generation=generation)
    root.marker_generation, root.behind = generation, 0


def read_generation(path: str) -> int:
    """The generation in the marker at ``path``. Raises ``RootUnavailable``."""
    fd = _open_path(path)
    try:
        found = _read_marker(path, fd)
    finally:
        os.close(fd)
    if found is None:
        raise _unmarked(path)
    return int(found["generation"])


def root_clock_ns(root: OpenRoot) -> int | None:
    """What time it is by the root's own file system, in ns; ``None`` where that cannot be learnt."""
    with suppress(OSError):
        control = os.open(CONTROL_DIRECTORY, _DIRECTORY | os.O_NOFOLLOW, dir_fd=root.fd)
        try:
            probe = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=control)
            try:
                return os.fstat(probe).st_mtime_ns
            finally:
                os.close(probe)
        finally:
            os.close(control)
    return None


def become_owner_of(path: str) -> None:
    """As root, give up root for the owner of ``path``, for good, so that files and store stay theirs."""
    owner = os.stat(path)
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    try:
        user = pwd.getpwuid(owner.st_uid)
        os.initgroups(user.pw_name, user.pw_gid)
    except KeyError:
        os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def _refuse_dangerous(real: str, others: Iterable[str], store_path: str | None) -> None:
    home = os.path.realpath(os.path.expanduser("~"))
    if real in {"/", home}:
        raise RootRefused(
            f"{real} may not become a root; nothing was changed", hint="name the outputs directory"
        )
    if store_path is not None and _contains(real, os.path.dirname(os.path.realpath(store_path))):
        raise RootRefused(
            f"{real} holds the job store itself; nothing was changed",
            hint="keep the store outside the outputs",
        )
    for other in others:
        if other != real and (_contains(other, real) or _contains(real, other)):
            raise RootRefused(
                f"{real} overlaps the root {other}; nothing was changed", hint="roots must not overlap"
            )


def _contains(outer: str, inner: str) -> bool:
    return os.path.commonpath([outer, inner]) == outer


def _open_path(path: str) -> int:
    try:
        return os.open(path, _DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise RootUnavailable(
            f"root {path} cannot be opened: {error.strerror}; nothing was changed",
            hint="mount it or mend its permissions, then run the same command again",
        ) from None


def _prove(path: str, found: dict[str, Any] | None, root_id: str, store_id: str) -> None:
    if found is None:
        raise _unmarked(path)
    if found["store_id"] != store_id:
        raise RootUnavailable(
            f"{path} belongs to another job store ({found['store_id']}); nothing was changed",
            hint="check --database, and that the right directory is mounted",
        )
    if found["root_id"] != root_id:
        raise RootUnavailable(
            f"{path} is root {found['root_id']}, not {root_id}: another directory is mounted there; "
            "nothing was changed",
            hint="run 'jobctl root list' and mount each root in its place",
        )


def _unmarked(path: str) -> RootUnavailable:
    return RootUnavailable(
        f"{path} has no {CONTROL_DIRECTORY}/{MARKER}: it is not mounted, or not a root; nothing was changed",
        hint=f"mount it; if it really is the right directory: jobctl init --root {path}",
    )


def _read_marker(path: str, fd: int) -> dict[str, Any] | None:
    """The marker, ``None`` where there is none. Raises ``RootUnavailable`` for what is no marker of ours."""
    try:
        control = open_directory(fd, CONTROL_DIRECTORY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    try:
        content = _read_small_file(control)
        marker = json.loads(content)
        if marker["format"] != _FORMAT or int(marker["generation"]) < 0:
            raise ValueError(marker)
        return {name: marker[name] for name in ("root_id", "store_id", "generation")}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except (ValueError, LookupError, TypeError):
        raise _unreadable(path, "it is not a marker jobctl wrote") from None
    finally:
        os.close(control)


def _read_small_file(directory_fd: int) -> bytes:
    fd = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_MARKER:
            raise OSError(errno.EINVAL, "it is no small regular file")
        return os.read(fd, _LARGEST_MARKER)
    finally:
        os.close(fd)


def _unreadable(path: str, why: str | None) -> RootUnavailable:
    return RootUnavailable(
        f"the marker {path}/{CONTROL_DIRECTORY}/{MARKER} cannot be used: {why}; nothing was changed",
        hint="mend it, or write it anew: jobctl root adopt " + path,
    )


def _write_marker(fd: int, *, root_id: str, store_id: str, generation: int) -> None:
    try:
        control = open_directory(fd, CONTROL_DIRECTORY)
    except FileNotFoundError:
        effects.make_directory(fd, CONTROL_DIRECTORY, 0o700)
        effects.fsync_directory(fd)
        control = open_directory(fd, CONTROL_DIRECTORY)
    try:
        marker = {"format": _FORMAT, "root_id": root_id, "store_id": store_id, "generation": generation}
        effects.write_file_atomically(control, MARKER, json.dumps(marker).encode() + b"\n")
    finally:
        os.close(control)


def _file_system(device: int) -> str:
    """The type of the file system with this device number, by proc(5) mountinfo; empty if not listed."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                if left.split()[2] == wanted:
                    return right.split()[0]
    except (OSError, IndexError):
        pass
    return ""
