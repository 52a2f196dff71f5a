"""``--allow CLASS=N``: what a brake lets pass, for one run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from jobctl.errors import UsageError
from jobctl.model.commands import shell_word


def parse_allowed(given: Sequence[str], known: Collection[str]) -> dict[str, int]:
    """Read ``CLASS=N``, given any number of times. Raises ``UsageError``."""
    allowed = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in known or not (number.isascii() and number.isdecimal()):
            raise UsageError(
                f"--allow {shell_word(text)} allows nothing",
                hint=f"write --allow {name if name in known else min(known)}=100",
            )
        allowed[name] = int(number)
    return allowed


def allow_again(allowed: Mapping[str, int]) -> list[str]:
    """The same as words of a command."""
    return [word for name, number in allowed.items() for word in ("--allow", f"{name}={number}")]
