"""The table of commands: what is there and what it is for, without importing any of it."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command: the module below ``cli.commands`` and the function that is it, and its help.

    ``streams``: it also takes ``--jsonl``.
    """

    module: str
    function: str
    help: str
    streams: bool = False


GROUPS = {
    "root": "The registered outputs directories.",
    "run": "One applied plan.",
}

COMMANDS = {
    "init": Entry("init", "init", "Create the store and register outputs directories."),
    "scan": Entry("scan", "scan", "Compare the outputs directories with the records.", streams=True),
    "recover": Entry("recover", "recover", "Rebuild lost records from the files that are there."),
    "apply": Entry("apply", "apply", "Apply a saved plan, exactly as it was saved."),
    "undo": Entry("undo", "undo", "Take back what a run did."),
    "runs": Entry("runs", "runs", "List the applied plans, newest first.", streams=True),
    "run show": Entry("run", "show", "Show one run and what became of each step.", streams=True),
    "list": Entry("list", "list_", "List jobs, newest first.", streams=True),
    "show": Entry("show", "show", "Show one job with its files and its history."),
    "explain": Entry("explain", "explain", "Tell where each field of a job comes from."),
    "root list": Entry("root", "list_", "List the registered outputs directories."),
    "root adopt": Entry("root", "adopt", "Accept a directory or a store that was put back."),
}


def names_below(prefix: str = "") -> dict[str, str]:
    """The commands and groups one level below a group, each with its help."""
    start = f"{prefix} " if prefix else ""
    found: dict[str, str] = {}
    for name, entry in COMMANDS.items():
        if name.startswith(start):
            first, _, rest = name.removeprefix(start).partition(" ")
            found.setdefault(first, GROUPS[start + first] if rest else entry.help)
    return found
