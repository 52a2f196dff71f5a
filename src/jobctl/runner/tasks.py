"""Tasks: the functions and commands that run jobs, and where they are found."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from jobctl.errors import ConfigurationError
from jobctl.installed import installed
from jobctl.work import TaskSpec, Work, task_spec

if TYPE_CHECKING:
    from jobctl.runner.attempt import Attempt

ENTRY_POINTS = "jobctl.tasks"
"""Installed packages name modules that declare tasks in this group of entry points."""

Handler = Callable[["Attempt"], Any]

_declared: dict[str, Task] = {}


@dataclass(frozen=True, slots=True)
class Task:
    """What runs the jobs of one kind: a function, or where it is ``None`` the command of its spec."""

    spec: TaskSpec
    function: Handler | None = None

    @property
    def name(self) -> str:
        """The kind of the jobs that it runs."""
        return self.spec.name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function itself, as if it were not a task."""
        if self.function is None:
            raise TypeError(f"task {self.name} is a command, not a function")
        return self.function(*arguments, **keywords)


class Loaded(NamedTuple):
    """The tasks that were found, and what could not be loaded, each in one sentence."""

    tasks: dict[str, Task]
    troubles: list[str]


def task(name: str, **keywords: Any) -> Callable[[Handler], Task]:
    """Declare the decorated function, sync or async, as what runs the jobs of kind ``name``.

    Keywords are the fields of ``TaskSpec``, durations and sizes as text: ``timeout="20m"``,
    ``retries=3``, ``backoff="10s"``, ``memory="4G"``. Raises ``ConfigurationError`` for a field
    that is unknown or makes no sense, and where another function has the name.
    """
    spec = task_spec(name, **keywords)

    def declare(function: Handler) -> Task:
        earlier = _declared.get(name)
        if earlier is not None and _place(earlier.function) != _place(function):
            places = f"{_place(earlier.function)} and {_place(function)}"
            raise ConfigurationError(
                f"two functions are declared as task {name}: {places}",
                hint="give one of them another name",
            )
        made = Task(spec, function)
        _declared[name] = made
        return made

    return declare


def load_tasks(modules: Iterable[str], work: Work) -> Loaded:
    """Import what declares tasks; what the configuration says of them holds over their own words."""
    named = installed(ENTRY_POINTS)
    places = [*modules, *(entry.module for entry in named.entries)]
    troubles = [trouble for module in places if (trouble := _trouble_with(module))]
    troubles += [f"the entry points of the package {package} cannot be read" for package in named.unreadable]
    tasks = {name: Task(work.spec_of(one.spec), one.function) for name, one in _declared.items()}
    commands = {name: Task(spec) for name, spec in work.commands.items()}
    return Loaded({**tasks, **commands}, troubles)


def has_entry_points() -> bool:
    """Whether an installed package names modules that declare tasks."""
    return bool(installed(ENTRY_POINTS).entries)


def is_async(handler: Handler) -> bool:
    """Whether a handler has to be awaited."""
    return inspect.iscoroutinefunction(handler)


def _trouble_with(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except (KeyboardInterrupt, MemoryError):
        raise
    # Whatever a module of somebody else's raises, the other modules are loaded still.
    except BaseException as error:  # noqa: BLE001
        return f"{module} does not import: {type(error).__name__}: {error}"
    return None


def _place(function: Handler | None) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"
