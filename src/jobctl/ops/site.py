"""A site: one opened store, who acts on it, and from which host."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from jobctl.evidence.executor import current_executor
from jobctl.model.job import Executor
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


@dataclass(slots=True)
class Site:
    """What every use case works on."""

    settings: Settings
    store: Store
    actor: str
    executor: Executor

    @property
    def host(self) -> str:
        """This host's id, as roots and executors name it."""
        return self.executor.host

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.store.close()


def open_site(settings: Settings, *, actor: str | None = None) -> Site:
    """Open the store the settings name. Raises the errors of ``open_store``."""
    actor = actor or _operator()
    step_down_to(settings, store_places(settings))
    store = open_store(settings.database)
    store.commit_hook = effects.commit
    with store.read() as connection:
        step_down_to(settings, [row.path for row in roots.get_roots(connection)])
    return Site(settings, store, actor, current_executor(settings.host_id))


def _operator() -> str:
    """The person behind this run: who called sudo, else the user of this process."""
    name = os.environ.get("SUDO_USER")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
