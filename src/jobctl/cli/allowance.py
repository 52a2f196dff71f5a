"""``--allow CLASS=N``: what a brake lets pass, for one run."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from jobctl.errors import UsageError


def parse_allowed(given: Sequence[str], known: Collection[str]) -> dict[str, int]:
    """Read ``CLASS=N``, given any number of times. Raises ``UsageError``."""
    allowed = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in known or not (number.isascii() and number.isdecimal()):
            raise UsageError(
                f"--allow {shlex.quote(text)} allows nothing", hint=f"write --allow {min(known)}=100"
            )
        allowed[name] = int(number)
    return allowed


def allow_again(allowed: Mapping[str, int]) -> list[str]:
    """The same as words of a command."""
    return [word for name, number in allowed.items() for word in ("--allow", f"{name}={number}")]
