"""Completion of command names, answered from the table; everything deeper is left to Typer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from jobctl.cli.table import GROUPS, names_below


def complete_command(environ: Mapping[str, str]) -> bool:
    """Print what the shell may put for the word being typed; ``False`` if it is not a command's name."""
    shell = environ.get("_JOBCTL_COMPLETE", "").removeprefix("complete_")
    words = _words(shell, environ)
    if not words:
        return False
    *before, typed = words
    group = " ".join(before)
    if typed.startswith("-") or (group and group not in GROUPS):
        return False
    candidates = {name: help_ for name, help_ in names_below(group).items() if name.startswith(typed)}
    print(_answer(shell, candidates))  # noqa: T201 - the shell reads it
    return True


def _words(shell: str, environ: Mapping[str, str]) -> list[str]:
    """The words after the program's name, the last of them being typed."""
    try:
        if shell == "bash":
            position = int(environ["COMP_CWORD"])
            words = shlex.split(environ["COMP_WORDS"].replace("\n", " "))[1 : position + 1]
            return words if len(words) == position else [*words, ""]
        if shell in {"zsh", "fish"} and environ.get("_TYPER_COMPLETE_FISH_ACTION", "get-args") == "get-args":
            line = environ["_TYPER_COMPLETE_ARGS"]
            words = shlex.split(line)[1:]
            return [*words, ""] if line.endswith(" ") or not words else words
    except (KeyError, ValueError):
        return []
    return []


def _answer(shell: str, candidates: Mapping[str, str]) -> str:
    if shell == "bash":
        return "\n".join(candidates)
    if shell == "fish":
        return "\n".join(f"{name}\t{help_}" for name, help_ in candidates.items())
    listed = "\n".join(f'"{name}":"{help_}"' for name, help_ in candidates.items())
    return f"_arguments '*: :(({listed}))'" if candidates else "_files"
