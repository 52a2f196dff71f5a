"""The status API: a router to mount in a service of one's own, and the application that is served.

Needs the extra ``web``: ``pip install 'jobctl[web]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobctl.errors import ExtraMissing
from jobctl.web.limits import Limits

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

__all__ = ["Limits", "app", "expect_extra", "router"]


def router(database: str | None = None, **options: Any) -> APIRouter:
    """A router for a FastAPI application: ``app.include_router(jobctl.web.router(url))``.

    ``database`` and ``config`` as on the command line. Further options: ``task``, which jobs a
    POST enqueues; ``tokens``, whoever bears one of them may ask, or ``tokens_file``, which is read
    anew once it has changed; ``limits``; ``with_probes``, to have ``/healthz``, ``/readyz`` and
    ``/metrics`` too; and whatever ``APIRouter`` takes, such as ``prefix`` and ``dependencies``.

    Raises ``ExtraMissing`` and ``ConfigurationError``.
    """
    expect_extra()
    from jobctl.web.routes import make_router  # noqa: PLC0415 - FastAPI is an extra

    return make_router(database, **options)


def app(database: str | None = None, **options: Any) -> FastAPI:
    """The whole application, as ``jobctl serve`` serves it; options as of ``router``.

    ``cors_origins``: the origins (``["https://app.example"]``) whose pages may read its answers.
    """
    expect_extra()
    from jobctl.web.application import make_app  # noqa: PLC0415 - FastAPI is an extra

    return make_app(database, **options)


def expect_extra() -> None:
    """Raise ``ExtraMissing`` where a package that the API needs is not installed."""
    from importlib.util import find_spec  # noqa: PLC0415 - needed here alone

    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"the status API needs {' and '.join(missing)}, which is not installed",
            hint="install the extra: pip install 'jobctl[web]'",
        )
