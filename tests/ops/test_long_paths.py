"""Paths that are longer than a database's index holds: told and left, and all else goes on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from jobctl.model.finding import FindingKind
from jobctl.ops.scan import Scan, scan
from jobctl.ops.scan_report import ScanOptions
from ops.world import World, a_job_id

# Names that no database makes smaller.
NAMES = [hashlib.sha512(bytes([number])).hexdigest() for number in range(28)]


def deep(root: Path, *names: str) -> int:
    """A directory below a root; what is returned is for whoever closes it."""
    fd = os.open(root, os.O_RDONLY)
    for name in names:
        above = fd
        os.mkdir(name, dir_fd=above)
        fd = os.open(name, os.O_RDONLY, dir_fd=above)
        os.close(above)
    return fd


def scanned(world: World) -> tuple[Scan, set[tuple[str | None, FindingKind]]]:
    with world.site() as site:
        scanning = scan(site, ScanOptions())
        return scanning, {(finding.job_id, finding.kind) for finding in scanning}


def test_a_path_that_is_longer_than_the_store_keeps_is_told_and_the_scan_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.outputs.walk._MTIME_GRAIN_NS", -(10**18))
    fd = deep(world.root, *NAMES)
    os.close(os.open(f"presentation_{a_job_id(1)}.mp4", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    world.video(0)
    seen = {(a_job_id(0), FindingKind.ORPHAN_VIDEO)}
    for _ in range(2):
        scanning, found = scanned(world)
        if world.url.startswith("postgresql"):
            (place,) = scanning.report.unknown
            assert place.path.endswith(f"/presentation_{a_job_id(1)}.mp4")
            assert place.reason == "its path has 3,665 bytes, and the store keeps no more than 2,000"
            assert found == seen, "also where nothing changed"
        else:
            assert scanning.report.unknown == []
            assert found == seen | {(a_job_id(1), FindingKind.BROKEN_VIDEO)}
    assert (world.recover().counts["done"], world.job_ids()) == (1, {a_job_id(0)})


def test_a_file_whose_name_makes_its_path_too_long_is_told_and_its_neighbours_are_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.outputs.walk._MTIME_GRAIN_NS", -(10**18))
    fd = deep(world.root, *NAMES[:15], "x" * 11)
    names = [f"presentation_{a_job_id(0)}.mp4", f"slide_with_uploaded_{a_job_id(0)}.mp4"]
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    for _ in range(2):
        scanning, found = scanned(world)
        unknown = [os.path.basename(place.path) for place in scanning.report.unknown]
        assert unknown == (names[1:] if world.url.startswith("postgresql") else [])
        assert found == {(a_job_id(0), FindingKind.BROKEN_VIDEO)}


def test_a_deep_directory_without_any_file_of_ours_leaves_nothing_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.outputs.walk._MTIME_GRAIN_NS", -(10**18))
    fd = deep(world.root, *NAMES)
    os.close(os.open("foreign", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    for count in (1, 2):
        scanning, _ = scanned(world)
        assert (scanning.report.is_complete, scanning.report.foreign) == (True, count)
        os.close(os.open(f"foreign-{count}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
