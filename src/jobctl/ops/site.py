"""A site: one opened store, who acts on it, and from which host."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

from jobctl.evidence.executor import current_executor
from jobctl.model.job import Executor
from jobctl.model.storable import storable_text
from jobctl.ops.stepdown import step_down_to, store_places
from jobctl.outputs import effects
from jobctl.settings import Settings
from jobctl.store import roots
from jobctl.store.engine import Store, open_store


class Progress(NamedTuple):
    """How far a long operation has come. ``total`` is ``None`` where it cannot be known."""

    phase: str
    done: int
    total: int | None = None
    detail: str = ""


ProgressSink = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """For callers who show no progress."""


@dataclass(slots=True)
class Site:
    """What every use case works on."""

    settings: Settings
    store: Store
    actor: str
    _executor: Executor

    @property
    def executor(self) -> Executor:
        """This process; where it was forked since the store was opened, itself and not its parent."""
        if self._executor.pid != os.getpid():
            self._executor = current_executor(self._executor.host, self._executor.instance)
        return self._executor

    @property
    def host(self) -> str:
        """This host's id, as roots and executors name it."""
        return self._executor.host

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.store.close()


def open_site(settings: Settings, *, actor: str | None = None, pooled: bool = False) -> Site:
    """Open the store the settings name. ``pooled`` and errors as of ``open_store``."""
    actor = storable_text(actor or operator())
    step_down_to(settings, store_places(settings))
    store = open_store(settings.database, pooled=pooled)
    store.commit_hook = effects.commit
    with store.read() as connection:
        step_down_to(settings, [row.path for row in roots.get_roots(connection)])
    return Site(settings, store, actor, current_executor(settings.host_id))


def operator() -> str:
    """The person behind this run: who called sudo, else the user of this process."""
    name = os.environ.get("SUDO_USER")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def store_now(site: Site) -> datetime:
    """The store's clock, by which ages of records are told."""
    with site.store.read() as connection:
        return site.store.now(connection)
