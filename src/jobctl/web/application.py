"""The whole application, as ``jobctl serve`` serves it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from jobctl import __version__
from jobctl.web.api import Api
from jobctl.web.documented import EXAMPLES
from jobctl.web.origins import add_origins
from jobctl.web.refusals import response_of
from jobctl.web.routes import make_router, quick_route, router_of


def make_app(database: str | None = None, *, cors_origins: Iterable[str] = (), **options: Any) -> FastAPI:
    """Make the application. See ``jobctl.web.app``."""
    return _around(make_router(database, with_probes=True, **options), cors_origins)


def app_of(api: Api, *, cors_origins: Iterable[str] = ()) -> FastAPI:
    """The application of an API that is there."""
    application = _around(router_of(api, with_probes=True), cors_origins)
    application.router.routes.insert(0, quick_route(api))
    return application


def _around(router: Any, cors_origins: Iterable[str]) -> FastAPI:
    application = FastAPI(
        title="jobctl status API",
        version=__version__,
        description="Enqueue jobs, see how they stand, and fetch their videos.",
        # Its pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    application.include_router(router)
    add_origins(application, cors_origins)

    async def told(_request: Any, error: Exception) -> Any:
        return response_of(error)

    application.add_exception_handler(HTTPException, told)
    _add_examples(application)
    return application


def _add_examples(application: FastAPI) -> None:
    make = application.openapi

    def with_examples() -> dict[str, Any]:
        document: dict[str, Any] = make()
        document["components"]["schemas"]["Presentation"]["examples"] = EXAMPLES
        return document

    application.openapi = with_examples  # type: ignore[method-assign]  # as FastAPI's documentation has it
