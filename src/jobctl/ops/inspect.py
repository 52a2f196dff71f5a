"""Inspect: the verdict of each file, from what was remembered where it is the same file still."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from jobctl.core.reconcile import Candidate
from jobctl.model.files import Check, Probe, Role, Seen, Tier, Verdict
from jobctl.ops.site import Site
from jobctl.outputs.decode import Decoder
from jobctl.outputs.probe import open_directory, probe
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.settle import root_clock_ns

CHECKER = 1
"""Version of the checks: raise it when a verdict may come out differently, and caches are void."""

_KEPT = frozenset({Verdict.WHOLE, Verdict.PARTIAL, Verdict.CORRUPT, Verdict.NOT_MEDIA, Verdict.UNSUPPORTED})


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
    noted: list[Sighting] = field(default_factory=list)
    probed: int = 0
    _roots: dict[str, OpenRoot] = field(init=False)
    _clocks: dict[str, int | None] = field(init=False)
    _directory: tuple[str, str, int] | None = None
    _decoder: Decoder | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._roots = {root.root_id: root for root in self.opened}
        self._clocks = {root.root_id: root_clock_ns(root.fd) for root in self.opened}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_directory()
        self._stack.close()

    def judge(self, row: tuple[object, ...], remembered: tuple[object, ...] | None) -> Candidate:
        """The file with its verdict; ``row`` is a ``Seen`` as a plain tuple."""
        seen = Seen._make(row)  # type: ignore[arg-type]
        is_same = remembered is not None and remembered[:9] == row
        if seen.role != Role.VIDEO:
            if not is_same:
                self.noted.append(Sighting(*seen, None, None, None, CHECKER))
            return Candidate(seen, None)
        if is_same and remembered is not None:
            known = Sighting._make(remembered[:13])  # type: ignore[arg-type]
            if self._still_holds(known):
                return Candidate(seen, _check_of(known))
        check = self.look(seen, self.depth).check
        kept = check if check.verdict in _KEPT else None
        self.noted.append(
            Sighting(
                *seen,
                kept.verdict.value if kept else None,
                kept.tier.value if kept else None,
                kept.reason if kept else None,
                CHECKER,
            )
        )
        return Candidate(seen, check)

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
            shared=root.is_shared,
            root_now_ns=self._clocks[seen.root_id],
            quiet_s=self.site.settings.quiet_s,
        )

    def _still_holds(self, known: Sighting) -> bool:
        """Whether a remembered verdict answers what is asked now: a fault stays one at any depth."""
        if known.verdict is None or known.tier is None or known.checker != CHECKER:
            return False
        return known.verdict != Verdict.WHOLE or known.tier >= self.depth

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


def _check_of(known: Sighting) -> Check:
    return Check(Verdict(known.verdict), Tier(known.tier), known.reason or "")
