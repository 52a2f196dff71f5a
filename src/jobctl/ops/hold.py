"""A hold: the registered roots of one run, opened, proven and locked against other runs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from jobctl import clock
from jobctl.errors import Locked, RootUnavailable, StoreOlderThanRoot
from jobctl.evidence.executor import liveness
from jobctl.model.job import Executor
from jobctl.ops.site import Site
from jobctl.outputs.root import OpenRoot, open_root
from jobctl.store import locks, roots
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

_RENEW_EVERY_S = 10.0
_WAIT_STEP_S = 0.2
CRASH_LAG = 1
"""A crash between store and marker leaves the marker one generation behind; more means an older tree."""
_STORE_LOCK = "store"


@dataclass(slots=True)
class Hold:
    """Roots under lock. Renewed in every chunk; a hold that was taken over changes nothing more."""

    site: Site
    roots: Sequence[OpenRoot]
    fences: list[locks.Fence] = field(default_factory=list)
    renewed_at: float = 0.0

    def renew(self, connection: Connection) -> None:
        """Prove inside a transaction that the lock is still ours. Raises ``LockLost``."""
        for fence in self.fences:
            locks.renew(connection, fence, at=self.site.store.now(connection))
        self.renewed_at = clock.monotonic()

    def renew_when_due(self) -> None:
        """Show a sign of life now and then during long reading."""
        if clock.monotonic() - self.renewed_at > _RENEW_EVERY_S:
            with self.site.store.write() as connection:
                self.renew(connection)


def visible_roots(site: Site, only: str | None = None) -> list[RootRow]:
    """The registered roots this host can see; ``only`` names one by id or path.

    Raises ``RootUnavailable`` where there is none.
    """
    with site.store.read() as connection:
        known = roots.get_roots(connection)
    if only is not None:
        known = [row for row in known if only == row.root_id or os.path.realpath(only) == row.path]
        if not known:
            raise RootUnavailable(f"{only} is not a registered root", hint="run 'jobctl root list'")
    visible = [row for row in known if row.host in {None, site.host}]
    if not visible:
        raise RootUnavailable(
            "no root is registered that this host can see", hint="register one: jobctl init --root DIR"
        )
    return visible


def open_registered(site: Site, row: RootRow) -> OpenRoot:
    """Open a registered root and prove that it is the one. Raises the errors of ``open_root``."""
    try:
        return _open(site, row)
    except StoreOlderThanRoot:
        # Without a lock a run may have passed between reading the store and reading the marker.
        with site.store.read() as connection:
            latest = next((each for each in roots.get_roots(connection) if each.root_id == row.root_id), row)
        return _open(site, latest)


def _open(site: Site, row: RootRow) -> OpenRoot:
    return open_root(row.path, root_id=row.root_id, store_id=site.store.store_id, generation=row.generation)


@contextmanager
def hold_roots(site: Site, *, command: str, only: str | None = None, wait_s: float = 0.0) -> Iterator[Hold]:
    """Open, prove and lock every root of a changing run; all of them, or none.

    Raises ``RootUnavailable``, ``StoreOlderThanRoot`` or ``Locked``.
    """
    with ExitStack() as stack:
        holder = uuid.uuid4().hex
        fences = {}
        for row in sorted(visible_roots(site, only), key=lambda row: row.root_id):
            fence = _acquire(site, f"root:{row.root_id}", holder=holder, command=command, wait_s=wait_s)
            stack.callback(_release, site, fence)
            fences[row.root_id] = fence
        # Read only now: until the lock was ours, another run may have raised the generation. A root
        # that was registered meanwhile is not locked.
        rows = [row for row in visible_roots(site, only) if row.root_id in fences]
        opened = [stack.enter_context(open_registered(site, row)) for row in rows]
        held = Hold(site, opened, list(fences.values()), clock.monotonic())
        _suspend_older_trees(site, rows, opened)
        yield held


@contextmanager
def hold_store(site: Site, *, command: str, wait_s: float = 0.0) -> Iterator[Hold]:
    """Lock what is done to the store as a whole, without any root. Raises ``Locked``."""
    with held_lock(site, _STORE_LOCK, command=command, wait_s=wait_s) as fence:
        yield Hold(site, [], [fence], clock.monotonic())


@contextmanager
def hold_again(site: Site, of: Collection[str], *, command: str, wait_s: float = 0.0) -> Iterator[Hold]:
    """Hold what an earlier plan was made for: its one root, all roots, or, where it names none, the store.

    Raises the errors of ``hold_roots`` and ``hold_store``.
    """
    if not of:
        with hold_store(site, command=command, wait_s=wait_s) as hold:
            yield hold
        return
    only = next(iter(of)) if len(of) == 1 else None
    with hold_roots(site, command=command, only=only, wait_s=wait_s) as hold:
        yield hold


def lock_names(root_ids: Collection[str]) -> set[str]:
    """The locks that a run on these roots takes."""
    return {f"root:{root_id}" for root_id in root_ids} or {_STORE_LOCK}


@contextmanager
def held_lock(site: Site, name: str, *, command: str, wait_s: float = 0.0) -> Iterator[locks.Fence]:
    """Hold one lock. Raises ``Locked``; the fence is to be renewed within the holder's transactions."""
    fence = _acquire(site, name, holder=uuid.uuid4().hex, command=command, wait_s=wait_s)
    try:
        yield fence
    finally:
        _release(site, fence)


def _acquire(site: Site, name: str, *, holder: str, command: str, wait_s: float) -> locks.Fence:
    deadline = clock.monotonic() + wait_s

    def is_dead(executor: Executor) -> bool:
        return liveness(executor, host=site.host) == "dead"

    while True:
        try:
            return locks.acquire(
                site.store,
                name,
                holder=site.executor,
                holder_id=holder,
                command=command,
                stale_after_s=site.settings.lock_stale_after_s,
                holder_is_dead=is_dead,
            )
        except Locked:
            if clock.monotonic() >= deadline:
                raise
            clock.sleep(_WAIT_STEP_S)


def _release(site: Site, fence: locks.Fence) -> None:
    with site.store.write() as connection:
        locks.release(connection, fence)


def _suspend_older_trees(site: Site, rows: Sequence[RootRow], opened: Sequence[OpenRoot]) -> None:
    """A marker far behind the store: an older copy of the tree was put back."""
    suspended = {row.root_id for row in rows if row.negatives_suspended_at is not None}
    # Told once: a plan that was made on the older tree stays good until it is applied.
    older = [root for root in opened if root.behind > CRASH_LAG and root.root_id not in suspended]
    if older:
        with site.store.write() as connection:
            for root in older:
                roots.suspend_negatives(connection, root.root_id, at=site.store.now(connection))
