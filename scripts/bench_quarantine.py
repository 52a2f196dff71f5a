"""Measure quarantine against a bare loop of renames of the same files.

``--files`` says how many (default 100,000), in directories of a hundred. The floor renames
each into one directory and syncs nothing; a second one does what no safe mover can do
without: it writes and syncs the same manifest and syncs the same directories.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bench
from jobctl.model.plan import Outcome
from jobctl.model.quarantine import Entry, Item, Released, Taken
from jobctl.outputs.entries import entries
from jobctl.outputs.identity import identity_of
from jobctl.outputs.quarantine import CHUNK, take
from jobctl.outputs.release import give_back, purge
from jobctl.outputs.root import OpenRoot, open_root, register
from jobctl.outputs.turn import hold_files

_RUN = "20260131-120000-4f1a"
_AT = datetime(2026, 1, 31, tzinfo=UTC)
_PER_DIRECTORY = 100


def main() -> None:
    """Print each ratio beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--directory", help="where to work; it tells the file system (default: TMPDIR)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-", dir=options.directory))
    try:
        measure(directory, options.files)
    finally:
        shutil.rmtree(directory)


def measure(directory: Path, files: int) -> None:
    """Move, give back and purge the files of one tree."""
    print(f"quarantine of {files:,} files")
    root = directory / "outputs"
    root.mkdir()
    register(str(root), store_id="bench", root_id="bench", others=[], store_path=None)
    names = list(_make(root, files))
    with open_root(str(root), root_id="bench", store_id="bench", generation=0) as opened, hold_files(opened):
        line = b"x" * 480 + b"\n"
        bare = durable = took = back = float("inf")
        for turn in range(3):
            bare = min(bare, floor(root, names, b""))
            durable = min(durable, floor(root, names, line))
            items, run_id = _items(opened, names), f"{_RUN}-{turn}"
            took = min(took, _seconds_of(take(opened, run_id, items, at=_AT), files))
            back = min(back, _seconds_of(give_back(opened, entries(opened, run_id=run_id), at=_AT), files))
        print(f"  rename {bare:.2f} s, with manifest and syncs {durable:.2f} s, quarantine {took:.2f} s")
        bench.tell("  quarantine / bare renames", took, bare, 2.5)
        bench.tell("  quarantine / renames, same manifest, same syncs", took, durable, 2.5)
        print(f"  giving back {back:.2f} s")
        _seconds_of(take(opened, _RUN, _items(opened, names), at=_AT), files)
        told = bench.seconds(lambda: sum(1 for _ in entries(opened, run_id=_RUN)), times=3)
        print(f"  reading the manifest with a look at every file {told:.2f} s")
        print(f"  purging {_seconds_of(_purge(opened), files):.2f} s")


def _make(root: Path, files: int) -> Iterator[str]:
    for number in range(files):
        parent = f"{number // _PER_DIRECTORY:06}"
        if number % _PER_DIRECTORY == 0:
            (root / parent).mkdir()
        os.close(os.open(root / parent / f"{number}", os.O_CREAT | os.O_WRONLY))
        yield f"{parent}/{number}"


def floor(root: Path, names: list[str], line: bytes) -> float:
    """Rename all files away, measured, and back. With a ``line`` for each: journalled and synced too."""
    target = root / "aside"
    target.mkdir()
    manifest = os.open(root / "manifest", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    fd, top = os.open(target, os.O_RDONLY), os.open(root, os.O_RDONLY)

    def move() -> None:
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            if line:
                os.write(manifest, line * len(chunk))
                os.fsync(manifest)
            for number, name in enumerate(chunk, start):
                os.rename(name, f"{number}", src_dir_fd=top, dst_dir_fd=fd)
            if line:
                _sync([fd, *{name[:6] for name in chunk}], top)

    took = bench.seconds(move)
    for number, name in enumerate(names):
        os.rename(target / f"{number}", root / name)
    for each in (manifest, fd, top):
        os.close(each)
    target.rmdir()
    return took


def _sync(directories: list[int | str], top: int) -> None:
    for each in directories:
        if isinstance(each, int):
            os.fsync(each)
        else:
            fd = os.open(each, os.O_RDONLY, dir_fd=top)
            os.fsync(fd)
            os.close(fd)


def _items(root: OpenRoot, names: list[str]) -> list[Item]:
    """What a plan holds, read before the clock starts."""
    return [
        Item(number, name, identity_of(os.stat(name, dir_fd=root.fd)), "no record of it", f"job-{number}")
        for number, name in enumerate(names)
    ]


def _purge(root: OpenRoot) -> Iterator[Released]:
    def keep(_: Entry) -> None:
        return None

    old = entries(root, run_id=_RUN)
    return purge(root, old, older_than=timedelta(0), keep=keep, at=_AT)


def _seconds_of(told: Iterator[Taken | Released], files: int) -> float:
    """How long it takes until all is done."""
    done = 0

    def work() -> None:
        nonlocal done
        done = sum(each.outcome is Outcome.DONE for each in told)

    took = bench.seconds(work)
    if done != files:
        sys.exit(f"{done} of {files} files were done")
    return took


if __name__ == "__main__":
    main()
