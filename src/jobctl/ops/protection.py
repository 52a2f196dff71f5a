"""Protection: what keeps a file where it is though its own job does not need it.

Records of other jobs that name it, perhaps in another spelling; another job that its own name
belongs to; symbolic links that lead to it; pins on files that were given back once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.core.layout import Layout
from jobctl.core.places import folded
from jobctl.model.files import STILL_NAMED, Seen
from jobctl.model.names import from_stored, to_shown
from jobctl.model.status import Status
from jobctl.ops.hold import Hold, visible_roots
from jobctl.ops.layouts import layout_of
from jobctl.store import job_streams, loose, runs
from jobctl.store.spool import SortedSpool

_BATCH = 500


class _Claim(NamedTuple):
    """A record that names a file."""

    job_id: str
    path: str


@dataclass(slots=True)
class Protection:
    """Tells why a file is kept. Prepare it with every file that may be asked about."""

    hold: Hold
    links: dict[str, list[str]]
    include_pinned: bool = False
    _claims: dict[tuple[str, str], list[_Claim]] = field(default_factory=dict)
    _led_to: dict[tuple[str, str], str] = field(default_factory=dict)
    _pins: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    _expired: set[str] = field(default_factory=set)
    _layouts: dict[str, Layout] = field(default_factory=dict)

    def prepare(self, files: Iterable[tuple[str, str]]) -> None:
        """Look up whatever refers to any of these root ids and paths, in one reading of the records."""
        wanted = {hash((root_id, folded(path))) for root_id, path in files}
        site = self.hold.site
        self._follow_links()
        self._layouts = {row.root_id: layout_of(site.settings, row.layout) for row in visible_roots(site)}
        with site.store.read() as connection:
            self._pins = {} if self.include_pinned else loose.pins(connection)
            for row in job_streams.stream_artifacts(connection, site.store.dialect, "", None):
                self._consider(row, wanted)
            named = sorted({claim.job_id for claims in self._claims.values() for claim in claims})
            for start in range(0, len(named), _BATCH):
                rows = runs.job_documents(connection, named[start : start + _BATCH])
                self._expired |= {key for key, row in rows.items() if row["status"] == Status.EXPIRED}

    def why_kept(self, seen: Seen) -> str | None:
        """Why this file stays where it is, or ``None``."""
        place = (seen.root_id, seen.path)
        if self._pins.get(place) == (seen.inode, seen.size, seen.mtime_ns):
            return "it was given back from quarantine; --include-pinned takes it again"
        if place in self._led_to:
            return f"the symbolic link {to_shown(self._led_to[place])} leads to it"
        for claim in self._claims.get((seen.root_id, folded(seen.path)), ()):
            why = self._why_claimed(seen, claim)
            if why:
                return why
        return self._why_named(seen)

    def _why_named(self, seen: Seen) -> str | None:
        """A record may name a file that by its name is another job's, which lives."""
        layout = self._layouts.get(seen.root_id)
        named = layout.classify(os.path.basename(seen.path)) if layout else None
        owner = named[1] if named else seen.key
        if not owner or owner == seen.key:
            return None
        store = self.hold.site.store
        with store.read() as connection:
            row = runs.job_documents(connection, [owner]).get(owner)
        is_live = row is not None and row["status"] != Status.EXPIRED
        return f"its name says that it is of job {owner}" if is_live else None

    def _why_claimed(self, seen: Seen, claim: _Claim) -> str | None:
        if claim.job_id in self._expired:
            return None
        if claim.path != seen.path:
            return f"the record of job {claim.job_id} names it in another spelling"
        if claim.job_id != seen.key:
            return f"the record of job {claim.job_id} names it"
        return None

    def _consider(self, row: Sequence[object], wanted: set[int]) -> None:
        job_id, root_id, stored, state = str(row[0]), str(row[1]), str(row[2]), row[4]
        if state not in STILL_NAMED:
            return
        path = from_stored(stored)
        place = (root_id, folded(path))
        if hash(place) in wanted:
            self._claims.setdefault(place, []).append(_Claim(job_id, path))
        self._resolve(root_id, path)

    def _resolve(self, root_id: str, path: str) -> None:
        """A record may name a file through a directory that is a symbolic link."""
        for link in self.links.get(root_id, ()):
            if path.startswith(f"{link}/"):
                self._lead(root_id, link, path)

    def _follow_links(self) -> None:
        for root_id, links in self.links.items():
            for link in links:
                self._lead(root_id, link, link)

    def _lead(self, root_id: str, link: str, path: str) -> None:
        """Note where a path through a link ends, if it ends below a root that is held."""
        root = next((root for root in self.hold.roots if root.root_id == root_id), None)
        if root is None:
            return
        with suppress(OSError):
            target = os.path.realpath(os.path.join(root.path, path))
            for each in self.hold.roots:
                top = os.path.realpath(each.path)
                if target.startswith(f"{top}/"):
                    self._led_to[each.root_id, os.path.relpath(target, top)] = link


def places_in(spool: SortedSpool) -> Iterator[tuple[str, str]]:
    """The files put aside under their places, root by root and directory by directory."""
    for place, _ in spool.stream():
        root_id, _, path = place.partition("\0")
        yield root_id, from_stored(path)
