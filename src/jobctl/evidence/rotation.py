"""Rotated logs: which files are parts of one log, and in which order. Decided by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

_PACKED = re.compile(r"\.(?:gz|bz2|xz)\Z")
_NUMBERED = re.compile(r"\.(?P<number>[0-9]{1,4})\Z")
_DATED = re.compile(
    r"[-.](?P<date>[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[-_T.]?[0-9]{2,10}(?:[-:][0-9]{2}){0,2})?)"
    r"(?P<rest>\.[a-z]{1,8})?\Z"
)


class LogName(NamedTuple):
    """A file's place in its log: the log's own path, and what sorts its parts from the oldest on."""

    log: str
    order: tuple[int, int, str]


def log_name(path: str) -> LogName:
    """The log a file belongs to: ``app.log.2.gz``, ``app.log-20251104`` and ``app.log`` are one."""
    directory, name = os.path.split(os.path.realpath(path))
    name = _PACKED.sub("", name)
    numbered, dated = _NUMBERED.search(name), _DATED.search(name)
    if numbered:
        stem, order = name[: numbered.start()], (0, -int(numbered["number"]), "")
    elif dated:
        stem, order = (
            name[: dated.start()] + (dated["rest"] or ""),
            (0, 0, re.sub("[^0-9]", "", dated["date"])),
        )
    else:
        stem, order = name, (1, 0, "")
    return LogName(os.path.join(directory, stem), order)


def by_log(paths: Iterable[str]) -> dict[str, list[str]]:
    """The parts of each log, from the oldest on; a file that is named twice counts once."""
    logs: dict[str, dict[str, str]] = {}
    for path in paths:
        logs.setdefault(log_name(path).log, {}).setdefault(os.path.realpath(path), path)
    return {
        log: sorted(parts.values(), key=lambda path: log_name(path).order)
        for log, parts in sorted(logs.items())
    }


def is_rotated(path: str) -> bool:
    """Whether a file is no longer the one its service writes to."""
    return log_name(path).order[0] == 0
