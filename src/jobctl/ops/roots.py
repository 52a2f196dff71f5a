"""Registered roots: which there are, how they are, and accepting one whose store was put back."""

from __future__ import annotations

import os
from datetime import datetime
from typing import NamedTuple

from jobctl.errors import JobctlError, RootRefused, RootUnavailable
from jobctl.model.commands import shell_word
from jobctl.ops.hold import open_registered
from jobctl.ops.site import Site
from jobctl.outputs.root import (
    OpenRoot,
    known_marker,
    marker_of,
    read_generation,
    refuse_place,
    resolve,
    write_generation,
)
from jobctl.store import roots
from jobctl.store.dialect import SQLite
from jobctl.store.roots import RootRow


class RootState(NamedTuple):
    """A registered root and whether it can be used from here. ``host``: ``None`` where all hosts share it.

    ``is_suspended``: nothing of it is called missing until a complete recover was applied.
    ``state`` is ``ready``, or says why not.
    """

    root_id: str
    path: str
    layout: str
    host: str | None
    generation: int
    registered_at: datetime
    is_suspended: bool
    is_ready: bool
    state: str


class Adopted(NamedTuple):
    """A root whose marker was accepted, at its new generation."""

    root_id: str
    path: str
    generation: int


def list_roots(site: Site) -> list[RootState]:
    """Every registered root, looked at now."""
    with site.store.read() as connection:
        known = roots.get_roots(connection)
    return [_state(site, row) for row in known]


def root_named(site: Site, name: str) -> RootRow:
    """The registered root with this id or path. Raises ``RootUnavailable`` where there is none."""
    with site.store.read() as connection:
        known = roots.get_roots(connection)
    path = os.path.realpath(name)
    for row in known:
        if name == row.root_id or row.path in {name, path}:
            return row
    raise RootUnavailable(f"{name} is not a registered root", hint="run 'jobctl root list' to see them")


def adopt_root(site: Site, path: str) -> Adopted:
    """Accept a root whose marker is ahead of the store or was lost: an older copy was put back.

    Nothing of it is called missing until a complete recover was applied. The store is
    written first, so that an adoption cut short is merely repeated. Needs no lock: it
    takes no step of its own, and a run in progress goes on with a lower generation.

    Raises ``RootUnavailable`` for a directory that is not registered, and ``RootRefused``
    for one that is marked as another root or belongs to another store.
    """
    row = root_named(site, resolve(path))
    marked = _marker_generation(site, row)
    generation = max(marked, row.generation) + 1
    with site.store.write() as connection:
        roots.set_generation(connection, row.root_id, generation)
        roots.suspend_negatives(connection, row.root_id, at=site.store.now(connection))
    write_marker(site, row.root_id, row.path, marked=marked, generation=generation)
    return Adopted(row.root_id, row.path, generation)


def take_over_root(site: Site, path: str, *, layout: str) -> Adopted:
    """Make a directory a root of this store, though its marker names another one, which is lost.

    What lies in its quarantine can be given back then. Nothing of it is called missing until a
    complete recover was applied. The store is written first, so that one cut short is repeated.

    Raises ``RootUnavailable`` for a directory without a marker, ``RootRefused`` for one that is
    registered here already.
    """
    real = resolve(path)
    marked = marker_of(real)
    with site.store.read() as connection:
        known = roots.get_roots(connection)
    is_cut_short = any((row.root_id, row.path) == (marked.root_id, real) for row in known)
    if marked.store_id == site.store.store_id or (
        any(row.path == real for row in known) and not is_cut_short
    ):
        raise RootRefused(
            f"{path} is no directory of a lost store: it is known here; nothing was changed",
            hint=f"to accept it as it is now: jobctl root adopt {shell_word(path)}",
        )
    dialect = site.store.dialect
    refuse_place(
        real,
        others=[row.path for row in known],
        store_id=site.store.store_id,
        root_id=marked.root_id,
        store_path=dialect.path if isinstance(dialect, SQLite) else None,
    )
    generation = marked.generation + 1
    with site.store.write() as connection:
        at = site.store.now(connection)
        if not is_cut_short:
            roots.add_root(connection, root_id=marked.root_id, path=real, layout=layout, host=None, at=at)
        roots.set_generation(connection, marked.root_id, generation)
        roots.suspend_negatives(connection, marked.root_id, at=at)
    write_marker(site, marked.root_id, real, marked=marked.generation, generation=generation)
    return Adopted(marked.root_id, real, generation)


def write_marker(site: Site, root_id: str, path: str, *, marked: int, generation: int) -> None:
    """Write a generation into the marker of a root that was found to be ours, at ``marked`` till now."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    store_id = site.store.store_id
    device = os.fstat(fd).st_dev
    with OpenRoot(root_id, path, fd, device, marked, 0, is_shared=False, store_id=store_id) as opened:
        write_generation(opened, store_id=store_id, generation=generation)


def _marker_generation(site: Site, row: RootRow) -> int:
    """The generation in the root's marker; 0 where the marker is lost. Raises ``RootRefused``."""
    try:
        generation = read_generation(row.path)
    except RootUnavailable:
        return 0
    marked_as = known_marker(row.path, store_id=site.store.store_id)
    if marked_as is None:
        raise RootRefused(
            f"{row.path} belongs to another job store; nothing was changed",
            hint="use that store; if it is gone for good: "
            f"jobctl root adopt --of-lost-store {shell_word(row.path)}",
        )
    expect_that_root(row, marked_as)
    return generation


def expect_that_root(row: RootRow, marked_as: str) -> None:
    """Raise ``RootRefused`` where the marker at a root's path is another root's."""
    if marked_as != row.root_id:
        raise RootRefused(
            f"{row.path} is root {marked_as}, not {row.root_id}; nothing was changed",
            hint="run 'jobctl root list' and mount each root in its place",
        )


def _state(site: Site, row: RootRow) -> RootState:
    is_suspended = row.negatives_suspended_at is not None
    is_ready, state = _look_at(site, row)
    if is_ready and is_suspended:
        state = "ready; nothing is called missing until a complete recover was applied"
    return RootState(
        root_id=row.root_id,
        path=row.path,
        layout=row.layout,
        host=row.host,
        generation=row.generation,
        registered_at=row.registered_at,
        is_suspended=is_suspended,
        is_ready=is_ready,
        state=state,
    )


def _look_at(site: Site, row: RootRow) -> tuple[bool, str]:
    if row.host not in {None, site.host}:
        return False, f"only host {row.host} can see it"
    try:
        with open_registered(site, row):
            return True, "ready"
    except JobctlError as error:
        return False, error.message
