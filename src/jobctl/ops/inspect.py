"""Inspect: the verdict of each file, from what was remembered where it is the same file still."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from jobctl.core.case import Candidate
from jobctl.evidence.sidecar import read_json
from jobctl.model.files import Check, Probe, Role, Seen, Tier, Verdict
from jobctl.model.status import Status
from jobctl.ops.site import Site
from jobctl.outputs.decode import Decoder
from jobctl.outputs.directories import open_directory
from jobctl.outputs.fingerprint import Fingerprint, Reach, fingerprint
from jobctl.outputs.probe import probe
from jobctl.outputs.root import OpenRoot, root_clock_ns

CHECKER = 1
"""Version of the checks: raise it when a verdict may come out differently, and caches are void."""

_KEPT = frozenset({Verdict.WHOLE, Verdict.PARTIAL, Verdict.CORRUPT, Verdict.NOT_MEDIA, Verdict.UNSUPPORTED})


Rows = Sequence[tuple[Any, ...]]


class Sighting(NamedTuple):
    """What an earlier scan noted of a file. The first nine fields are those of ``Seen``."""

    key: str
    root_id: str
    path: str
    role: str
    dev: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    verdict: str | None
    tier: str | None
    reason: str | None
    checker: int


@dataclass(slots=True)
class Inspector:
    """Gives verdicts; opens only what is new, changed, or was not looked at deeply enough."""

    site: Site
    opened: Sequence[OpenRoot]
    depth: Tier
    odd: Mapping[tuple[str, str], Check] = field(default_factory=dict)
    """Things that bear names of ours and are no regular files; they are not opened."""
    noted: list[Sighting] = field(default_factory=list)
    probed: int = 0
    _roots: dict[str, OpenRoot] = field(init=False)
    _clocks: dict[str, int | None] = field(init=False)
    _directory: tuple[str, str, int] | None = None
    _decoder: Decoder | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._roots = {root.root_id: root for root in self.opened}
        self._clocks = {root.root_id: root_clock_ns(root) for root in self.opened}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_directory()
        self._stack.close()

    def judge(self, row: tuple[Any, ...], remembered: tuple[Any, ...] | None) -> Candidate:
        """The file with its verdict; ``row`` is a ``Seen`` as a plain tuple."""
        seen = Seen._make(row)
        is_same = remembered is not None and remembered[3:9] == row[3:]
        odd = self.odd.get((seen.root_id, seen.path))
        if odd is not None:
            return Candidate(seen, odd)
        if seen.role != Role.VIDEO:
            if not is_same:
                self.noted.append(Sighting(*seen, None, None, None, CHECKER))
            return Candidate(seen, None)
        if is_same and remembered is not None:
            check = self._remembered_check(Sighting._make(remembered[:13]))
            if check is not None:
                return Candidate(seen, check)
        check = self.look(seen, self.depth).check
        kept = check if check.verdict in _KEPT else None
        self.noted.append(
            Sighting(
                *seen,
                kept.verdict.value if kept else None,
                kept.tier.value if kept else None,
                kept.reason if kept and kept.verdict is not Verdict.WHOLE else None,
                CHECKER,
            )
        )
        return Candidate(seen, check)

    def knows_all_is_well(
        self, walked: Rows, remembered: Rows, records: Rows, linked: Rows, *decided: Rows
    ) -> bool:
        """Whether a job is just as an earlier scan left it: completed, its one file the whole video it names.

        Nine jobs in ten of a healthy site: they are recognised from plain rows, before anything is built.
        """
        if len(walked) != 1 or len(remembered) != 1 or len(records) != 1 or len(linked) != 1 or any(decided):
            return False
        seen, known, link = walked[0], remembered[0], linked[0]
        return (
            records[0][1] == Status.COMPLETED
            and known[:9] == seen
            and known[9] == Verdict.WHOLE
            and known[10] >= self.depth
            and known[12] == CHECKER
            and link[1:6] == (seen[1], seen[2], Role.VIDEO, "present", seen[6])
        )

    def look(self, seen: Seen, depth: Tier) -> Probe:
        """Look at a file now, as deeply as asked."""
        self.probed += 1
        root = self._roots[seen.root_id]
        directory, name = os.path.split(seen.path)
        try:
            directory_fd = self._open_directory(root, directory)
        except OSError as error:
            reason = f"its directory cannot be opened: {error.strerror}"
            return Probe(Check(Verdict.UNREADABLE, Tier.STAT, reason))
        return probe(
            directory_fd,
            name,
            depth,
            decoder=self._decoder_for(depth),
            is_shared=root.is_shared,
            now_ns=self._clocks[seen.root_id],
            quiet_s=self.site.settings.quiet_s,
        )

    def fingerprint(self, seen: Seen, reach: Reach, *, on_bytes: Callable[[int], None]) -> Fingerprint:
        """SHA-256 of the ends or of all bytes of a file. Raises ``FileChanged`` or ``OSError``."""
        directory, name = os.path.split(seen.path)
        directory_fd = self._open_directory(self._roots[seen.root_id], directory)
        return fingerprint(directory_fd, name, seen.identity, reach, on_bytes=on_bytes)

    def read_sidecar(self, seen: Seen) -> dict[str, Any]:
        """The JSON object of a sidecar. Raises ``ValueError`` saying why there is none."""
        directory, name = os.path.split(seen.path)
        try:
            directory_fd = self._open_directory(self._roots[seen.root_id], directory)
        except OSError as error:
            raise ValueError(f"its directory cannot be opened: {error.strerror}") from None
        return read_json(directory_fd, name)

    def _remembered_check(self, known: Sighting) -> Check | None:
        """A remembered verdict, where it answers what is asked now: a fault stays one at any depth."""
        if known.verdict is None or known.tier is None or known.checker != CHECKER:
            return None
        if known.verdict == Verdict.WHOLE and known.tier < self.depth:
            return None
        return Check(Verdict(known.verdict), Tier(known.tier), known.reason or "")

    def _open_directory(self, root: OpenRoot, path: str) -> int:
        if self._directory is None or self._directory[:2] != (root.root_id, path):
            self._close_directory()
            self._directory = (root.root_id, path, open_directory(root.fd, path))
        return self._directory[2]

    def _close_directory(self) -> None:
        if self._directory is not None:
            os.close(self._directory[2])
            self._directory = None

    def _decoder_for(self, depth: Tier) -> Decoder | None:
        if depth < Tier.DEMUX:
            return None
        if self._decoder is None:
            self._decoder = self._stack.enter_context(Decoder())
        return self._decoder
