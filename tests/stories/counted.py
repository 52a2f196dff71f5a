"""The tasks of the example, with a line in the file ``RENDERS`` for each render that is begun and done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import film
import tasks

_render = film.render


def render(
    path: str | os.PathLike[str], request: dict[str, Any], progress: Callable[[float], object]
) -> None:
    """Render it, and keep count beside all that jobctl records."""
    _note("begun", path)
    _render(path, request, progress)
    _note("done", path)


def _note(what: str, path: str | os.PathLike[str]) -> None:
    with open(os.environ["RENDERS"], "a", encoding="utf-8") as ledger:
        # The directory is named for job and attempt.
        ledger.write(f"{what} {Path(path).parent.name}\n")


film.render = render
presentation = tasks.presentation
