"""The router: every path, what it may answer, and who may ask."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from jobctl.settings import Settings, load_settings
from jobctl.web.api import Api
from jobctl.web.documented import ENQUEUE, EVENTS, METRICS, READY, STATUS, file_answers
from jobctl.web.file_routes import FileRoutes
from jobctl.web.limits import Limits
from jobctl.web.probe_routes import ProbeRoutes
from jobctl.web.refusals import Refusal, ToldRoute, told
from jobctl.web.status_routes import LONGEST_ID, StatusRoutes
from jobctl.web.tokens import Tokens, TokensFile, tokens_from_text

TOKENS = "JOBCTL_WEB_TOKENS"
"""The environment variable that holds tokens."""
TASK = "presentation"
OLDER = ("/api/custom", "/api/custom-projects-backend")
"""What stood before the paths in the URLs that the service has written over time."""
_LOOK_S = 1.0
_READS = ("GET", "HEAD")
_BEARER = HTTPBearer(auto_error=False, description="A token of the tokens file.")


def make_router(
    database: str | None = None,
    *,
    config: str | None = None,
    task: str = TASK,
    tokens: Tokens | Iterable[str] | None = None,
    tokens_file: str | None = None,
    limits: Limits | None = None,
    with_probes: bool = False,
    **options: Any,
) -> APIRouter:
    """Make the router. See ``jobctl.web.router``."""
    settings = load_settings(config=config, database=database, environ=os.environ)
    bearers = _tokens(tokens) if tokens_file is None else TokensFile(tokens_file)
    api = Api(settings, task=task, tokens=bearers, limits=limits or Limits())
    return router_of(api, with_probes=with_probes, **options)


def router_of(api: Api, *, with_probes: bool, **options: Any) -> APIRouter:
    """The router of an API; it lets go of the store when the application ends."""

    @asynccontextmanager
    async def lifespan(_application: Any) -> AsyncIterator[None]:
        yield
        api.close()

    router = APIRouter(route_class=ToldRoute, lifespan=lifespan, **options)
    guarded = [Depends(_guard(api, api.tokens))] if api.tokens is not None else []
    jobs, files = StatusRoutes(api), FileRoutes(api)
    # FastAPI tries one after another, twice: what is asked most stands first.
    _add_status(router, jobs, "", guarded)
    if with_probes:
        _add_probes(router, api, guarded)
    # After the probes: a path that the settings name may be as short as an id.
    _add_jobs(router, jobs, files, guarded)
    _add_downloads(router, api.settings, files, guarded)
    return router


def _add_status(router: APIRouter, jobs: StatusRoutes, prefix: str, guarded: list[Any], **old: bool) -> None:
    path = f"{prefix}/presentations/{{job_id}}"
    _add_read(router, path, jobs.status, dependencies=guarded, tags=["jobs"], **old, **STATUS)


def _add_jobs(router: APIRouter, jobs: StatusRoutes, files: FileRoutes, guarded: list[Any]) -> None:
    router.add_api_route(
        "/presentations", jobs.enqueue, methods=["POST"], dependencies=guarded, tags=["jobs"], **ENQUEUE
    )
    router.add_api_route(
        "/presentations/{job_id}/events", jobs.events, dependencies=guarded, tags=["jobs"], **EVENTS
    )
    for prefix in ("", *OLDER):
        old = {"deprecated": True} if prefix else {}
        if prefix:
            _add_status(router, jobs, prefix, guarded, **old)
        for what, endpoint in (("video", files.video), ("thumbnail", files.thumbnail)):
            path = f"{prefix}/presentations/{{job_id}}/{what}"
            _add_read(router, path, endpoint, dependencies=guarded, **old, **file_answers(what))


def _add_downloads(router: APIRouter, settings: Settings, files: FileRoutes, guarded: list[Any]) -> None:
    downloads = {
        "/api/custom/download/presentation_{job_id}.mp4": (files.video, "video"),
        "/api/custom/download/thumbnail_{job_id}.jpg": (files.thumbnail, "thumbnail"),
    }
    for path, (endpoint, what) in {**downloads, **_own_forms(settings, files)}.items():
        if all(route.path != f"{router.prefix}{path}" for route in router.routes if hasattr(route, "path")):
            _add_read(router, path, endpoint, dependencies=guarded, deprecated=True, **file_answers(what))


def _own_forms(settings: Settings, files: FileRoutes) -> dict[str, tuple[Callable[..., Any], str]]:
    """The paths of the URLs that this store's records get."""
    forms = {
        settings.video_url_form: (files.video, "video"),
        settings.thumbnail_url_form: (files.thumbnail, "thumbnail"),
    }
    paths = {urlsplit(form).path: served for form, served in forms.items()}
    return {
        path: served for path, served in paths.items() if path.startswith("/") and path.count("{job_id}") == 1
    }


def quick_route(api: Api) -> Route:
    """The route for who asks how a job stands and nothing else, as most do, beside the documented one.

    FastAPI takes as long to see that there is nothing to check as the rest of the answer takes.
    """
    jobs = StatusRoutes(api)
    guard = None if api.tokens is None else _guard(api, api.tokens)

    async def status(request: Request) -> Response:
        if guard is not None:
            await guard(await _BEARER(request))
        job_id, known = request.path_params["job_id"], request.headers.get("if-none-match")
        return await jobs.status(request, job_id, if_none_match=known)

    return _QuickRoute("/presentations/{job_id}", told(status), methods=[*_READS])


class _QuickRoute(Route):
    """Takes what needs no check, and leaves everything else to the routes behind it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not scope.get("query_string"):
            match, found = super().matches(scope)
            if match is Match.FULL and len(found["path_params"]["job_id"]) <= LONGEST_ID:
                return match, found
        return Match.NONE, {}


class _ReadRoute(ToldRoute):
    """One of two for the same path, of which each knows its own method: what is refused names both."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in _READS:
            raise HTTPException(405, headers={"Allow": ", ".join(_READS)})
        await super().handle(scope, receive, send)


def _add_read(router: APIRouter, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
    """A path for GET, and for HEAD."""
    options.setdefault("tags", ["files"])
    for method in _READS:
        is_told = method == "GET" and options.get("include_in_schema", True)
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            route_class_override=_ReadRoute,
            **{**options, "include_in_schema": is_told},
        )


def _add_probes(router: APIRouter, api: Api, guarded: list[Any]) -> None:
    probes = ProbeRoutes(api)
    _add_read(router, "/healthz", probes.healthz, tags=["probes"])
    _add_read(router, "/readyz", probes.readyz, dependencies=guarded, tags=["probes"], **READY)
    _add_read(router, "/metrics", probes.metrics, dependencies=guarded, tags=["probes"], **METRICS)


def _guard(api: Api, tokens: Tokens) -> Callable[..., Any]:
    async def bears_token(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        if isinstance(tokens, TokensFile) and tokens.is_due:
            # Where the disk hangs or all is busy, the tokens that were read before count.
            with suppress(Refusal):
                await api.looks.run(tokens.look, patience_s=_LOOK_S)
        if credentials is None or not tokens.admits(credentials.credentials):
            raise Refusal(
                401,
                "unauthorized",
                "a bearer token is needed" if credentials is None else "this token is not known here",
                hint="send Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return bears_token


def _tokens(given: Tokens | Iterable[str] | None) -> Tokens | None:
    """The tokens a caller gives, or else those of the environment."""
    if isinstance(given, Tokens):
        return given
    if given is not None:
        return Tokens(given, source="tokens")
    text = os.environ.get(TOKENS, "")
    return tokens_from_text(text, source=f"the environment variable {TOKENS}") if text.strip() else None
