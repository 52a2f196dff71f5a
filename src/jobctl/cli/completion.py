"""Completion of commands and options, answered from the table; values are left to Typer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from jobctl.cli.table import COMMANDS, command_in, names_below, options_of

_SHELLS = frozenset({"bash", "zsh", "fish"})


def complete_command(environ: Mapping[str, str]) -> bool:
    """Print what the shell may put for the word being typed; ``False`` where the table does not know."""
    shell = environ.get("_JOBCTL_COMPLETE", "").removeprefix("complete_")
    words = _words(shell, environ) if shell in _SHELLS else []
    if not words:
        return False
    *before, typed = words
    candidates = _candidates(before, typed)
    if candidates is None:
        return False
    fitting = {word: help_ for word, help_ in candidates.items() if word.startswith(typed)}
    print(_answer(shell, fitting))  # noqa: T201 - the shell reads it
    return True


def _candidates(before: list[str], typed: str) -> dict[str, str] | None:
    name = command_in(before)
    if name in COMMANDS:
        return dict.fromkeys(options_of(name), "") if typed.startswith("-") else None
    if before and not name:
        return {}
    is_group = " ".join(before) == name and not typed.startswith("-")
    return names_below(name) if is_group else None


def _words(shell: str, environ: Mapping[str, str]) -> list[str]:
    """The words after the program's name, the last of them being typed; none where that cannot be told."""
    try:
        if shell == "bash":
            position = int(environ["COMP_CWORD"])
            words = shlex.split(environ["COMP_WORDS"].replace("\n", " "))[1 : position + 1]
            return words if len(words) == position else [*words, ""]
        if environ.get("_TYPER_COMPLETE_FISH_ACTION", "get-args") == "get-args":
            line = environ["_TYPER_COMPLETE_ARGS"]
            words = shlex.split(line)[1:]
            return [*words, ""] if line.endswith(" ") or not words else words
    except (KeyError, ValueError):
        pass
    return []


def _answer(shell: str, candidates: Mapping[str, str]) -> str:
    if shell == "bash":
        return "\n".join(candidates)
    if shell == "fish":
        return "\n".join(f"{word}\t{help_}" if help_ else word for word, help_ in candidates.items())
    listed = "\n".join(f'"{word}":"{help_}"' if help_ else f'"{word}"' for word, help_ in candidates.items())
    return f"_arguments '*: :(({listed}))'" if candidates else "_files"
