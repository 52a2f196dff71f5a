"""Roots: register a directory, and prove later that it is the one that was registered.

The marker ``.jobctl/root.json`` names the root, the store and a generation. An unmounted
or exchanged directory does not bear it. Every changing run raises the generation in the
store first and then here: a marker ahead of its store means the store is an older copy.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from jobctl import clock
from jobctl.errors import RootRefused, RootUnavailable, StoreOlderThanRoot
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_word
from jobctl.model.timestamps import format_timestamp
from jobctl.outputs import effects
from jobctl.outputs.directories import open_directory
from jobctl.outputs.file_systems import file_system_of, is_local

CONTROL_DIRECTORY = ".jobctl"
MARKER = "root.json"
_SCHEMA = "jobctl-root/v1"
_LARGEST_MARKER = 4_096
_MOST_GENERATIONS = 1 << 62
_CLOCK = "clock"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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
    store_id: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


class Marker(NamedTuple):
    """What ``.jobctl/root.json`` says. ``created_at`` is for people who look into it."""

    root_id: str
    store_id: str
    generation: int
    created_at: str


def register(path: str, *, store_id: str, root_id: str, others: Iterable[str], store_path: str | None) -> str:
    """Make ``path`` a root: write its marker. Returns its real path.

    ``others`` are the registered roots, ``store_path`` the file of an embedded store. A
    directory that bears this very marker is left as it is. Raises ``RootRefused`` for a
    directory that may not become a root, ``RootUnavailable`` for one that cannot be read;
    writes nothing then.
    """
    real = resolve(path)
    refuse_place(real, others=others, store_id=store_id, root_id=root_id, store_path=store_path)
    fd = _open_path(real)
    try:
        found = _read_marker(real, fd)
        if found is not None and found.store_id != store_id:
            raise RootRefused(
                f"{real} belongs to another job store ({found.store_id}); nothing was changed",
                hint="use that store; if it is gone for good: "
                f"jobctl root adopt --of-lost-store {shell_word(real)}",
            )
        if found is None or found.root_id != root_id:
            _write_marker(fd, root_id=root_id, store_id=store_id, generation=0)
    except OSError as error:
        raise RootRefused(
            f"{real} cannot become a root: {error.strerror}",
            hint="check its owner, permissions and free space",
        ) from None
    finally:
        os.close(fd)
    return real


def refuse_place(
    real: str, *, others: Iterable[str], store_id: str, root_id: str, store_path: str | None
) -> None:
    """Raise ``RootRefused`` for a directory that holds too much, or overlaps one of the other roots."""
    _refuse_dangerous(real, store_path)
    for other in others:
        if other != real:
            _refuse_overlap(real, other, store_id=store_id, root_id=root_id)


def marker_of(path: str) -> Marker:
    """The marker at ``path``, whatever store it is of. Raises ``RootUnavailable`` where there is none."""
    found = _marker_at(path)
    if found is None:
        raise _unmarked(path)
    return found


def resolve(path: str) -> str:
    """The real path of a directory. Raises ``RootRefused`` where there is none."""
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        what = "is not a directory" if os.path.exists(real) else "does not exist"
        raise RootRefused(f"{path} {what}; nothing was changed", hint="name the outputs directory")
    return real


def known_marker(path: str, *, store_id: str) -> str | None:
    """The root id that ``path`` was marked with for this store, if it was. Raises ``RootUnavailable``."""
    found = _marker_at(path)
    return found.root_id if found and found.store_id == store_id else None


def read_generation(path: str) -> int:
    """The generation in the marker at ``path``. Raises ``RootUnavailable``."""
    found = _marker_at(path)
    if found is None:
        raise _unmarked(path)
    return found.generation


def open_root(path: str, *, root_id: str, store_id: str, generation: int) -> OpenRoot:
    """Open a registered root and prove it. ``generation`` is the store's.

    Raises ``RootUnavailable`` (away, unreadable, not the registered one) or
    ``StoreOlderThanRoot``; changes nothing.
    """
    fd = _open_path(path)
    try:
        found = _proven(path, _read_marker(path, fd), root_id=root_id, store_id=store_id)
        if found.generation > generation:
            unknown = counted(found.generation - generation, "changing run")
            raise StoreOlderThanRoot(
                f"root {path} has seen {unknown} that this store does not know: an older copy of the "
                "store was put back; nothing was changed",
                hint=f"put the newest store back, or accept this one: jobctl root adopt {shell_word(path)}",
            )
        return OpenRoot(
            root_id=root_id,
            path=path,
            fd=fd,
            device=os.fstat(fd).st_dev,
            marker_generation=found.generation,
            behind=generation - found.generation,
            is_shared=not is_local(file_system_of(fd)),
            store_id=store_id,
        )
    except BaseException:
        os.close(fd)
        raise


def write_generation(root: OpenRoot, *, store_id: str, generation: int) -> None:
    """Write the marker of a changing run, before it acts. Raises ``RootUnavailable``."""
    try:
        _write_marker(root.fd, root_id=root.root_id, store_id=store_id, generation=generation)
    except OSError as error:
        raise RootUnavailable(
            f"the marker of root {root.path} cannot be written: {error.strerror}; no step was taken",
            hint="check its owner, permissions and free space, then run the same command again",
        ) from None
    root.marker_generation, root.behind = generation, 0


def root_clock_ns(root: OpenRoot) -> int | None:
    """What time it is by the root's own file system, in ns; ``None`` where that cannot be learnt."""
    with suppress(OSError):
        control = os.open(CONTROL_DIRECTORY, _DIRECTORY | os.O_NOFOLLOW, dir_fd=root.fd)
        try:
            fd = _touched_file(control)
            try:
                return os.fstat(fd).st_mtime_ns
            finally:
                os.close(fd)
        finally:
            os.close(control)
    return None


def _refuse_dangerous(real: str, store_path: str | None) -> None:
    # Every directory that holds a home, the topmost included, holds far more than outputs.
    if _contains(real, os.path.realpath(os.path.expanduser("~"))):
        raise RootRefused(
            f"{real} may not become a root; nothing was changed", hint="name the outputs directory"
        )
    if store_path is not None and _contains(real, os.path.dirname(os.path.realpath(store_path))):
        raise RootRefused(
            f"{real} holds the job store itself; nothing was changed",
            hint="keep the store outside the outputs",
        )


def _refuse_overlap(real: str, other: str, *, store_id: str, root_id: str) -> None:
    """Two roots may neither contain each other nor be one directory, or its copy, in two places."""
    if _contains(other, real) or _contains(real, other):
        raise RootRefused(
            f"{real} overlaps the root {other}; nothing was changed", hint="roots must not overlap"
        )
    with suppress(RootUnavailable):
        if known_marker(other, store_id=store_id) == root_id:
            raise RootRefused(
                f"{real} is the root {other} in another place, or its copy; nothing was changed",
                hint=f"if it is a copy, move its {CONTROL_DIRECTORY} directory away",
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


def _marker_at(path: str) -> Marker | None:
    fd = _open_path(path)
    try:
        return _read_marker(path, fd)
    finally:
        os.close(fd)


def _proven(path: str, found: Marker | None, *, root_id: str, store_id: str) -> Marker:
    if found is None:
        raise _unmarked(path)
    if found.store_id != store_id:
        raise RootUnavailable(
            f"{path} belongs to another job store ({found.store_id}); nothing was changed",
            hint="check --database, and that the right directory is mounted",
        )
    if found.root_id != root_id:
        raise RootUnavailable(
            f"{path} is root {found.root_id}, not {root_id}: another directory is mounted there; "
            "nothing was changed",
            hint="run 'jobctl root list' and mount each root in its place",
        )
    return found


def _unmarked(path: str) -> RootUnavailable:
    return RootUnavailable(
        f"{path} has no {CONTROL_DIRECTORY}/{MARKER}: it is not mounted, or not a root; nothing was changed",
        hint=f"mount it; if it really is the right directory: jobctl init --root {shell_word(path)}",
    )


def _read_marker(path: str, fd: int) -> Marker | None:
    """The marker, ``None`` where there is none. Raises ``RootUnavailable`` for what is no marker of ours."""
    try:
        control = open_directory(fd, CONTROL_DIRECTORY)
        try:
            return _parse_marker(_read_small_file(control))
        finally:
            os.close(control)
    except FileNotFoundError:
        return None
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        why = "a symbolic link stands in its place" if is_link else error.strerror
        raise _unusable(path, why) from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _unusable(path, "it is not a marker jobctl wrote") from None


def _read_small_file(directory_fd: int) -> bytes:
    fd = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_MARKER:
            raise OSError(errno.EINVAL, "it is no small regular file")
        return os.read(fd, _LARGEST_MARKER)
    finally:
        os.close(fd)


def _parse_marker(content: bytes) -> Marker:
    """Raises ``ValueError``, ``LookupError``, ``TypeError`` or ``RecursionError`` for anything else."""
    document = json.loads(content)
    generation = document["generation"]
    texts = [document[name] for name in ("schema", "root_id", "store_id", "created_at")]
    is_count = type(generation) is int and 0 <= generation < _MOST_GENERATIONS
    if texts[0] != _SCHEMA or not all(isinstance(text, str) and text for text in texts) or not is_count:
        raise ValueError(document)
    return Marker(root_id=texts[1], store_id=texts[2], generation=generation, created_at=texts[3])


def _unusable(path: str, why: str | None) -> RootUnavailable:
    return RootUnavailable(
        f"the marker {path}/{CONTROL_DIRECTORY}/{MARKER} cannot be used: {why}; nothing was changed",
        hint=f"mend it; for a registered root it can be written anew: jobctl root adopt {shell_word(path)}",
    )


def _write_marker(fd: int, *, root_id: str, store_id: str, generation: int) -> None:
    try:
        control = open_directory(fd, CONTROL_DIRECTORY)
    except FileNotFoundError:
        effects.make_directory(fd, CONTROL_DIRECTORY, 0o700)
        effects.fsync_directory(fd)
        control = open_directory(fd, CONTROL_DIRECTORY)
    try:
        marker = Marker(root_id, store_id, generation, _created_at(control))
        content = json.dumps({"schema": _SCHEMA, **marker._asdict()}, indent=2)
        effects.write_file_atomically(control, MARKER, content.encode() + b"\n")
    finally:
        os.close(control)


def _created_at(control_fd: int) -> str:
    """When the marker that stands there was made; now, where none can be read."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        return str(_parse_marker(_read_small_file(control_fd)).created_at)
    return format_timestamp(clock.now())


def _touched_file(control_fd: int) -> int:
    """A file that was written just now: without a name, or where there is none such, one that is kept."""
    with suppress(OSError):
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=control_fd)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(_CLOCK, flags, 0o600, dir_fd=control_fd)
    try:
        os.utime(fd)
    except OSError:
        os.close(fd)
        raise
    return fd
