"""Init: make the store, and register outputs directories. The only use case that makes a store."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import NamedTuple

from jobctl.errors import RootRefused
from jobctl.ops.layouts import layout_of
from jobctl.ops.roots import expect_that_root
from jobctl.ops.stepdown import make_place_for_store, step_down_to
from jobctl.outputs import effects
from jobctl.outputs.root import known_marker, refuse_place, register, resolve
from jobctl.settings import Settings
from jobctl.store import roots
from jobctl.store.dialect import SQLite
from jobctl.store.engine import Store, create_store
from jobctl.store.roots import RootRow


class InitialisedRoot(NamedTuple):
    """A root after init. ``host``: ``None`` where all hosts share it. ``made``: registered just now."""

    root_id: str
    path: str
    layout: str
    host: str | None
    made: bool


class Initialised(NamedTuple):
    """What init made and what it found. ``database`` is where the store is, without secrets."""

    store_made: bool
    database: str
    roots: list[InitialisedRoot]


def initialise(
    settings: Settings, *, roots: Sequence[str], layout: str, host_local: bool, now: datetime
) -> Initialised:
    """Make the store where there is none, and register each root; what is there already is left as it is.

    Killed anywhere, the same call completes. Raises the errors of ``create_store`` and
    ``register``, and ``ConfigurationError`` for an unknown layout.
    """
    layout_of(settings, layout)
    if roots:
        make_place_for_store(settings, resolve(roots[0]))
        step_down_to(settings, [resolve(roots[0])])
    store, made = create_store(settings.database, now=now, version=version("jobctl"))
    store.commit_hook = effects.commit
    host = settings.host_id if host_local else None
    try:
        registered = [_register(store, path, layout=layout, host=host) for path in roots]
        return Initialised(made, store.url, registered)
    except RootRefused as error:
        if not made:
            raise
        raise RootRefused(f"{error.message}, except that {store.url} was made", hint=error.hint) from None
    finally:
        store.close()


def _register(store: Store, path: str, *, layout: str, host: str | None) -> InitialisedRoot:
    real = resolve(path)
    with store.read() as connection:
        known = roots.get_roots(connection)
    row = next((row for row in known if row.path == real), None)
    marked_as = known_marker(real, store_id=store.store_id)
    if row is not None:
        if marked_as is not None:
            expect_that_root(row, marked_as)
        else:
            _distrust(store, row)
        _mark(store, real, row.root_id, known)
        return InitialisedRoot(row.root_id, row.path, row.layout, row.host, made=False)
    moved = next((row for row in known if row.root_id == marked_as), None)
    if moved is not None:
        return _move(store, moved, real, known)
    # The marker comes first: one without a row is an init cut short, and is completed under
    # its own id. A row without a marker is then always a directory that was exchanged.
    root_id = marked_as or f"r{secrets.token_hex(4)}"
    _mark(store, real, root_id, known)
    with store.write() as connection:
        at = store.now(connection)
        roots.add_root(connection, root_id=root_id, path=real, layout=layout, host=host, at=at)
    return InitialisedRoot(root_id, real, layout, host, made=True)


def _move(store: Store, row: RootRow, real: str, known: Sequence[RootRow]) -> InitialisedRoot:
    """A registered root that is mounted elsewhere now. Refused while it is at its old place as well."""
    if os.path.isdir(row.path) and known_marker(row.path, store_id=store.store_id) == row.root_id:
        raise RootRefused(
            f"{real} is a copy of root {row.root_id} at {row.path}; nothing was changed",
            hint="remove .jobctl from the copy to make it a root of its own",
        )
    refuse_place(
        real,
        others=[other.path for other in known if other.root_id != row.root_id],
        store_id=store.store_id,
        root_id=row.root_id,
        store_path=_store_path(store),
    )
    with store.write() as connection:
        roots.move_root(connection, row.root_id, path=real)
        roots.suspend_negatives(connection, row.root_id, at=store.now(connection))
    return InitialisedRoot(row.root_id, real, row.layout, row.host, made=False)


def _mark(store: Store, real: str, root_id: str, known: Sequence[RootRow]) -> None:
    others = [row.path for row in known]
    register(real, store_id=store.store_id, root_id=root_id, others=others, store_path=_store_path(store))


def _store_path(store: Store) -> str | None:
    return store.dialect.path if isinstance(store.dialect, SQLite) else None


def _distrust(store: Store, row: RootRow) -> None:
    """A registered directory without its marker may be another one: call nothing missing yet."""
    with store.write() as connection:
        roots.suspend_negatives(connection, row.root_id, at=store.now(connection))
