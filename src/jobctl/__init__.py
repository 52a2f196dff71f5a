"""jobctl: a job store that survives restarts, and the recovery toolkit for afterwards."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "publish", "publishing"]


def __getattr__(name: str) -> Any:
    """Import what a service uses only when it is used: the program must start quickly."""
    if name in {"publish", "publishing"}:
        from jobctl import service  # noqa: PLC0415 - see above

        return getattr(service, name)
    raise AttributeError(f"module 'jobctl' has no attribute {name!r}")
