"""jobctl: a job store that survives restarts, and the recovery toolkit for afterwards."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Attempt",
    "Cancelled",
    "GiveUp",
    "Queue",
    "Request",
    "Task",
    "__version__",
    "publish",
    "publishing",
    "task",
]

_PLACES = {
    "Attempt": "runner.attempt",
    "Cancelled": "runner.attempt",
    "GiveUp": "runner.attempt",
    "Queue": "service.queue",
    "Request": "service.queue",
    "Task": "runner.tasks",
    "publish": "service",
    "publishing": "service",
    "task": "runner.tasks",
}


def __getattr__(name: str) -> Any:
    """Import what a service uses only when it is used: the program must start quickly."""
    if name in _PLACES:
        from importlib import import_module  # noqa: PLC0415 - see above

        return getattr(import_module(f"jobctl.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'jobctl' has no attribute {name!r}")
