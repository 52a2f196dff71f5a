"""A root to quarantine files of, and what can be seen of it, for tests."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobctl.model.plan import Outcome
from jobctl.model.quarantine import Entry, Item, Unreadable
from jobctl.outputs.entries import entries
from jobctl.outputs.identity import identity_of
from jobctl.outputs.quarantine import take
from jobctl.outputs.release import give_back, purge
from jobctl.outputs.root import OpenRoot, open_root, register

RUN = "20260131-120000-4f1a"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAME = "a/b/video.mp4"
OLD_NS = 1_700_000_000_123_456_789

DONE = (Outcome.DONE, None)
ALREADY = (Outcome.ALREADY, None)
CHANGED = (Outcome.SKIPPED, "the file was changed or replaced since the plan")
GONE = (Outcome.SKIPPED, "the file is gone")

Told = list[tuple[Outcome, str | None]]


def made_root(path: Path) -> Path:
    path.mkdir()
    register(str(path), store_id="s1", root_id="r1", others=[], store_path=None)
    return path


def opened(path: Path) -> OpenRoot:
    return open_root(str(path), root_id="r1", store_id="s1", generation=0)


def item(path: Path, name: str, action: int = 1, **more: Any) -> Item:
    """What a plan says of the file as it is now."""
    identity = identity_of(os.lstat(os.path.join(path, name)))
    return Item(action, name, identity, more.pop("reason", "no record of it"), **more)


def taken(path: Path, items: Iterable[Item], *, run_id: str = RUN) -> Told:
    with opened(path) as root:
        return [(each.outcome, each.note) for each in take(root, run_id, items, at=AT)]


def known(path: Path, *, run_id: str | None = None, now: datetime | None = None) -> list[Entry]:
    with opened(path) as root:
        return list(entries(root, run_id=run_id, now=now))


def unreadable(path: Path) -> list[Unreadable]:
    told: list[Unreadable] = []
    with opened(path) as root:
        list(entries(root, report=told.append))
    return told


def given_back(path: Path, wanted: Iterable[Entry] | None = None) -> Told:
    with opened(path) as root:
        found = entries(root) if wanted is None else wanted
        return [(each.outcome, each.note) for each in give_back(root, found, at=AT)]


def purged(path: Path, *, keep: Any = lambda entry: None, days: float = 14, after: float = 15) -> Told:
    """Purge what was in quarantine for ``days``, ``after`` days from now."""
    now = datetime.now(UTC) + timedelta(days=after)
    with opened(path) as root:
        old = entries(root, now=now)
        told = purge(root, old, older_than=timedelta(days=days), keep=keep, at=AT)
        return [(each.outcome, each.note) for each in told]


def whereabouts(path: Path) -> dict[int, str]:
    return {entry.action: entry.whereabouts.value for entry in known(path)}


def tree(path: Path) -> dict[bytes, tuple[int, int, bytes]]:
    """Names, permissions, times and bytes of all regular files outside ``.jobctl``; of the rest names."""
    content: dict[bytes, tuple[int, int, bytes]] = {}
    top = os.fsencode(path)
    for directory, below, names in os.walk(top):
        if directory == top:
            below.remove(b".jobctl")
        for name in [*names, *below]:
            full = os.path.join(directory, name)
            found = os.lstat(full)
            if stat.S_ISREG(found.st_mode):
                fd = os.open(full, os.O_RDONLY)
                seen = (found.st_mode, found.st_mtime_ns, os.read(fd, 1 << 20))
                os.close(fd)
            else:
                seen = (found.st_mode, 0, b"")
            content[os.path.relpath(full, top)] = seen
    return content


def in_quarantine(path: Path, run_id: str = RUN) -> dict[str, bytes]:
    """What lies in a run's directory, but for the manifest."""
    directory = path / ".jobctl" / "quarantine" / run_id
    if not directory.exists():
        return {}
    return {each.name: each.read_bytes() for each in directory.iterdir() if each.name != "manifest.jsonl"}


def manifest(path: Path, run_id: str = RUN) -> Path:
    return path / ".jobctl" / "quarantine" / run_id / "manifest.jsonl"


def lines(path: Path, run_id: str = RUN) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest(path, run_id).read_bytes().splitlines()]
