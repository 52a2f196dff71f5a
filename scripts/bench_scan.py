"""Measure the walk, the checks, and scan with reconcile, against what the same machine does at the least.

``--files`` says how many files and records (default 100,000). Every ratio is of one run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import bench
import demo_tree
from jobctl import clock
from jobctl.core.layout import PRESENTATIONS
from jobctl.model.files import Tier
from jobctl.model.timestamps import format_timestamp
from jobctl.outputs import container
from jobctl.outputs.decode import Decoder
from jobctl.outputs.root import open_root
from jobctl.outputs.walk import walk
from jobctl.settings import Settings


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="work here and keep what was made")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="jobctl-bench-"))
    directory.mkdir(exist_ok=True)
    try:
        startup()
        tiers(directory)
        tree(directory, options.files)
    finally:
        if options.keep is None:
            shutil.rmtree(directory)


def startup() -> None:
    """How long until the first line, against importing what cannot be avoided."""
    python, jobctl = sys.executable, str(Path(sys.executable).with_name("jobctl"))

    def run(*command: str) -> float:
        return bench.seconds(lambda: subprocess.run(command, capture_output=True, check=False), times=7)

    typer = run(python, "-c", "import typer")
    both = run(python, "-c", "import typer, sqlalchemy")
    print(f"start-up (import typer {typer * 1000:.0f} ms, with sqlalchemy {both * 1000:.0f} ms)")
    bench.tell("  jobctl --version / import typer", run(jobctl, "--version"), typer, 0.5)
    bench.tell("  jobctl --help / import typer", run(jobctl, "--help"), typer, 1.3)
    with tempfile.TemporaryDirectory() as directory:
        database = f"{directory}/jobs.db"
        bench.program("init", database=database)
        os.environ["JOBCTL_DATABASE_URL"] = database
        bench.tell("  jobctl list / import typer, sqlalchemy", run(jobctl, "list"), both, 1.3)


def tiers(directory: Path) -> None:
    """How many small files a second each tier checks, on one core."""
    made = directory / "tier.mp4"
    demo_tree.encode(made, seed=1)
    fd = os.open(made, os.O_RDONLY)
    size = os.fstat(fd).st_size

    def opened() -> None:
        for _ in range(2_000):
            other = os.open(made, os.O_RDONLY)
            os.fstat(other)
            os.pread(other, 64, 0)
            os.close(other)

    def checked(depth: Tier) -> None:
        for _ in range(2_000):
            other = os.open(made, os.O_RDONLY)
            os.fstat(other)
            container.check(other, size, depth)
            os.close(other)

    floor = bench.seconds(opened, times=3)
    print("checks, small files, one core")
    boxes = bench.seconds(lambda: checked(Tier.BOXES), times=3)
    bench.tell("  1a: files/s (thousand)", 2 / boxes, 1, 70, at_least=True)
    bench.tell("  1a / open+fstat+pread", boxes, floor, 2)
    bench.tell(
        "  1b: files/s (thousand)", 2 / bench.seconds(lambda: checked(Tier.TABLES)), 1, 5, at_least=True
    )
    bench.tell(
        "  1c: files/s (thousand)", 2 / bench.seconds(lambda: checked(Tier.PAYLOAD)), 1, 1, at_least=True
    )
    with Decoder() as decoder:
        decoder.check(fd, size, Tier.DEMUX)
        took = bench.seconds(lambda: [decoder.check(fd, size, Tier.DEMUX) for _ in range(100)])
    bench.tell("  2: files/s", 100 / took, 1, 60, at_least=True)
    os.close(fd)


def tree(directory: Path, files: int) -> None:
    """Walk, rescan, scan and reconcile a tree of ``files`` videos, each with its record."""
    root, database = directory / "outputs", str(directory / "jobs.db")
    print(f"tree of {files:,} files, each with its record")
    if not root.exists():
        _make_tree(root, files)
        bench.program("init", "--root", str(root), database=database)
        _make_records(database, root)
    find = bench.seconds(lambda: _find(root), times=3)
    walked = bench.seconds(lambda: _walk(database), times=3)
    bench.tell(f"  walk + stat / find -printf ({find:.2f} s)", walked, find, 1.0)
    first, _ = bench.program("scan", "--full", "--jsonl", "--quiet", database=database)
    cached, peak = bench.program("scan", "--full", "--jsonl", "--quiet", database=database)
    print(f"  first scan {first:.1f} s, with verdicts {cached:.1f} s")
    bench.tell("  scan + reconcile, verdicts cached / find", cached, find, 2.5)
    bench.tell("  its peak memory (MiB)", peak, 1, 150)
    quick, _ = bench.program("scan", "--jsonl", "--quiet", database=database)
    print(f"  scan that skips unchanged directories {quick:.1f} s")
    full = bench.seconds(lambda: _walk(database), times=3)
    bench.tell(
        "  rescan of an unchanged tree / full walk",
        bench.seconds(lambda: _walk(database, again=True)),
        full,
        0.125,
    )


def _make_tree(root: Path, files: int) -> None:
    """Directories of 100 small real videos each, last changed long ago."""
    root.mkdir(parents=True)
    content = _content(root)
    for number in range(files):
        place = root / f"{number // 10_000:04}" / f"{number // 100 % 100:02}"
        if number % 100 == 0:
            place.mkdir(parents=True)
        job_id = uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128, version=4)
        path = f"{place}/presentation_{job_id}.mp4"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, content)
        os.close(fd)
    for directory, _, _ in os.walk(root, topdown=False):
        os.utime(directory, (1_700_000_000, 1_700_000_000))


def _content(root: Path) -> bytes:
    small = root / "small.mp4"
    demo_tree.encode(small, seed=1, frames=1, size=(32, 32))
    content = small.read_bytes()
    small.unlink()
    return content


def _make_records(database: str, root: Path) -> None:
    moment = format_timestamp(clock.now())
    connection = sqlite3.connect(database)
    (root_id,) = connection.execute("SELECT root_id FROM root").fetchone()

    def rows() -> Iterator[tuple[str, str, str, os.stat_result]]:
        for directory, _, names in os.walk(root):
            for name in names:
                if name.startswith("presentation_"):
                    path = os.path.relpath(os.path.join(directory, name), root)
                    yield name[13:49], root_id, path, os.stat(os.path.join(directory, name))

    # Read twice instead of kept: a child's peak memory is never told below its parent's.
    connection.executemany(
        "INSERT INTO job (job_id, status, kind, queue, origin, created_at, completed_at, updated_at) "
        "VALUES (?, 'completed', 'presentation', 'default', 'created', ?, ?, ?)",
        ((job_id, moment, moment, moment) for job_id, _, _, _ in rows()),
    )
    connection.executemany(
        "INSERT INTO artifact (job_id, root_id, path, role, state, size, mtime_ns) "
        "VALUES (?, ?, ?, 'video', 'present', ?, ?)",
        (
            (job_id, root_id, path, found.st_size, found.st_mtime_ns)
            for job_id, root_id, path, found in rows()
        ),
    )
    connection.commit()
    connection.close()


def _find(root: Path) -> None:
    subprocess.run(["find", root, "-printf", "%s %T@ %p\n"], stdout=subprocess.DEVNULL, check=True)


def _walk(database: str, *, again: bool = False) -> None:
    from jobctl.ops.site import open_site  # noqa: PLC0415 - measured apart from start-up
    from jobctl.store import roots, sightings  # noqa: PLC0415

    with open_site(Settings(database=database, host_id="bench")) as site:
        with site.store.read() as connection:
            (row,) = roots.get_roots(connection)
            remembered = sightings.load_directories(connection, row.root_id) if again else None
        with open_root(
            row.path, root_id=row.root_id, store_id=site.store.store_id, generation=row.generation
        ) as opened:
            for _ in walk(opened, PRESENTATIONS, remembered=remembered):
                pass


if __name__ == "__main__":
    main()
