"""What installed packages add, by the entry points they name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, distributions, entry_points
from typing import NamedTuple


class Installed(NamedTuple):
    """The entry points of a group, and the packages whose list of them cannot be read."""

    entries: list[EntryPoint]
    unreadable: list[str]


def installed(group: str) -> Installed:
    """What packages name in a group. One whose list was cut short costs no other one."""
    found = Installed([], [])
    try:
        found.entries.extend(entry_points(group=group))
    except Exception:  # noqa: BLE001 - what is wrong with a list is told in many ways
        for package in distributions():
            try:
                found.entries.extend(package.entry_points.select(group=group))
            except Exception:  # noqa: BLE001
                found.unreadable.append(str(package.name))
    return found
