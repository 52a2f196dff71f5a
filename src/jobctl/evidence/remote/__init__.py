"""Remote renderers: what every one of them can be asked. Another renderer is one more file here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from jobctl.errors import ConfigurationError, JobctlError, RendererKeyMissing
from jobctl.model.renders import Render

Write = Callable[[bytes], object]
KEY_VARIABLE = "JOBCTL_{name}_API_KEY"


class Renderer(Protocol):
    """A service that renders videos for jobs."""

    @property
    def name(self) -> str:
        """What it is called in settings and store."""

    def renders(self, troubles: list[JobctlError]) -> Iterator[Render]:
        """Every render it knows, newest first. Those that are not understood are told in ``troubles``.

        Raises ``RendererUnavailable`` or ``RendererRefused``.
        """

    def render(self, remote_id: str) -> Render:
        """One render, as it is now. Raises ``UnknownRender`` and what ``renders`` raises."""

    def download(self, render: Render, write: Write) -> int:
        """Hand the video of a render to ``write``, piece by piece; how many bytes it had.

        Raises ``RenderNotReady``, or ``DownloadFailed`` where it is cut, too large or too slow.
        """

    def close(self) -> None:
        """Let go of the connection."""


def open_renderer(settings: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Renderer:
    """The renderer that the settings name. Raises ``ConfigurationError`` or ``RendererKeyMissing``."""
    from jobctl.evidence.remote.elai import Elai  # noqa: PLC0415 - httpx is slow to import

    makers: dict[str, Callable[..., Renderer]] = {Elai.name: Elai}
    name = settings["renderer"]
    if name not in makers:
        known = ", ".join(makers)
        raise ConfigurationError(f"remote: no renderer is called {name!r}", hint=f"known: {known}")
    return makers[name](
        settings["url"],
        key_of(name, environ),
        page_size=settings["page_size"],
        timeout_s=settings["timeout_s"],
        largest_download=settings["max_download_bytes"],
    )


def key_of(name: str, environ: Mapping[str, str]) -> str:
    """The key of a renderer: from the environment, else from the keyring where there is one.

    Raises ``RendererKeyMissing``. A key is never a setting: it would lie in a file.
    """
    variable = KEY_VARIABLE.format(name=name.upper())
    key = environ.get(variable, "").strip() or _from_keyring(name)
    if not key or not key.isascii() or not key.isprintable():
        raise RendererKeyMissing(
            f"no usable key for the renderer {name} is given; nothing was asked",
            hint=f"put it into the environment as {variable}, or into the keyring (jobctl, {name})",
        )
    return key


def _from_keyring(name: str) -> str:
    """What the ``keyring`` package has, if it is installed and works here."""
    with suppress(Exception):
        import keyring  # type: ignore[import-not-found]  # noqa: PLC0415 - an extra

        return keyring.get_password("jobctl", name) or ""
    return ""
