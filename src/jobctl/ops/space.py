"""Space: how much room there is below each root, and how much of it quarantine holds."""

from __future__ import annotations

import os
from typing import NamedTuple

from jobctl.model.plan import MOVES
from jobctl.model.quarantine import Whereabouts
from jobctl.ops.hold import Hold
from jobctl.ops.plan import Plan
from jobctl.outputs.entries import entries


class Space(NamedTuple):
    """The room below one root, in bytes. ``planned`` is what a plan would move or remove there."""

    root_id: str
    path: str
    total: int
    free: int
    quarantined: int
    planned: int = 0


def space_of(hold: Hold, plan: Plan | None = None) -> list[Space]:
    """Look at the file system of every held root, and at what is in its quarantine."""
    planned: dict[str, int] = {}
    for action in plan or ():
        if action.verb in MOVES and action.root_id and action.expect_file:
            planned[action.root_id] = planned.get(action.root_id, 0) + action.expect_file.size
    found = []
    for root in hold.roots:
        disk = os.fstatvfs(root.fd)
        held = sum(
            entry.identity.size for entry in entries(root) if entry.whereabouts is Whereabouts.QUARANTINED
        )
        found.append(
            Space(
                root.root_id,
                root.path,
                disk.f_blocks * disk.f_frsize,
                disk.f_bavail * disk.f_frsize,
                held,
                planned.get(root.root_id, 0),
            )
        )
    return found
