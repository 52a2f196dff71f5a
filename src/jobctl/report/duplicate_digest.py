"""A digest of duplicates: their sums in a sentence, and the first few groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobctl.core.duplicates import By, CopyGroup
from jobctl.core.requests import RequestGroup
from jobctl.model.amounts import counted
from jobctl.report.units import size_shown

_GROUPS = 10


@dataclass(slots=True)
class DuplicateDigest:
    """The first groups of each kind; those of the same bytes come largest file first."""

    groups: dict[By, list[CopyGroup | RequestGroup]] = field(default_factory=dict)

    def add(self, group: CopyGroup | RequestGroup) -> None:
        """Keep a group, with its first members, if it is among the first of its kind."""
        kept = self.groups.setdefault(By.BYTES if isinstance(group, CopyGroup) else By.REQUEST, [])
        if len(kept) < _GROUPS:
            kept.append(group)


def found_shown(groups: Mapping[By, int], bytes_to_save: int) -> str:
    """Write ``2 groups of the same bytes (13.2 MiB could be saved), 1 group of the same request``."""
    parts = []
    if groups.get(By.BYTES):
        saving = f"{size_shown(bytes_to_save)} could be saved" if bytes_to_save else "nothing to save"
        parts.append(f"{counted(groups[By.BYTES], 'group')} of the same bytes ({saving})")
    if groups.get(By.REQUEST):
        parts.append(f"{counted(groups[By.REQUEST], 'group')} of the same request")
    return ", ".join(parts) or "no duplicates"
