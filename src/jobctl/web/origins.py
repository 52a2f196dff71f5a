"""Pages of other origins: which of them may read what is served here. None may unless it is named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware

from jobctl.errors import ConfigurationError

ORIGINS = "JOBCTL_WEB_CORS_ORIGINS"
"""The environment variable that names origins."""

_METHODS = ("GET", "HEAD", "POST")
_SENT = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
)
_TOLD = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Retry-After",
)
_REMEMBERED_S = 600
_HOST = re.compile(r"[a-z0-9.:_-]+")
_HINT = "write it as a browser does: https://app.example, or https://app.example:8443"


def add_origins(application: Any, origins: Iterable[str]) -> None:
    """Let pages of these origins read what an application answers (the CORS protocol).

    Cookies are not asked for: who may ask bears a token. Raises ``ConfigurationError``.
    """
    named = [_checked(origin) for origin in origins]
    if named:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=named,
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=_TOLD,
            max_age=_REMEMBERED_S,
        )


def origins_from_text(text: str) -> list[str]:
    """Origins that white space or commas part."""
    return [origin for origin in re.split(r"[\s,]+", text) if origin]


def _checked(origin: str) -> str:
    """An origin as browsers send it, which is compared to the letter: no ``*``, no path, no default port."""
    if origin != _as_sent(origin):
        raise ConfigurationError(f"{origin!r} is no exact origin; nothing was served", hint=_HINT)
    return origin


def _as_sent(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    default = {"http": 80, "https": 443}.get(parts.scheme)
    if default is None or not host or not _HOST.fullmatch(host):
        return None
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" if port in {None, default} else f"{parts.scheme}://{named}:{port}"
