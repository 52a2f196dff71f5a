"""Measure cleanup and expire as users run them, journal, records and all.

``--files`` leftovers are planned and moved by the steps of a cleanup; the floors are those of
``bench_quarantine``. ``--records`` ended jobs are looked through, of which one in a hundred
expires; the peak of memory is this process's own.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

import bench
import bench_quarantine
from jobctl import clock
from jobctl.ops.apply import apply_plan
from jobctl.ops.cleanup import CleanupOptions, plan_cleanup
from jobctl.ops.expire import ExpireOptions, plan_expire
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.scan import scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.ops.site import Site, open_site
from jobctl.policy import Policy, Rule
from jobctl.settings import Settings
from jobctl.store.schema import job

_PER_DIRECTORY = 100
_AT_ONCE = 20_000


def main() -> None:
    """Print each ratio beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--directory", help="where to work; it tells the file system (default: TMPDIR)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-", dir=options.directory))
    try:
        with _site(directory) as site:
            measure_cleanup(site, directory, options.files)
            measure_expire(site, options.records)
    finally:
        shutil.rmtree(directory)


def measure_cleanup(site: Site, directory: Path, files: int) -> None:
    """Move leftovers, and rename as many files as often."""
    print(f"cleanup of {files:,} files")
    names = list(_leftovers(directory / "outputs", files))
    floors = directory / "floor"
    floors.mkdir()
    others = list(_leftovers(floors, files))
    floor = bench_quarantine.floor(floors, others, b"")
    durable = bench_quarantine.floor(floors, others, b"x" * 480 + b"\n")
    list(scan(site, ScanOptions(full=True)))
    with hold_roots(site, command="cleanup") as hold:
        began = clock.monotonic()
        plan = plan_cleanup(hold, CleanupOptions(allowed={"leftover": files}))
        planned = clock.monotonic() - began
        with plan:
            took = bench.seconds(lambda: apply_plan(hold, plan))
            done = plan.total
    print(f"  rename {floor:.2f} s, with manifest and syncs {durable:.2f} s")
    print(f"  planning {planned:.2f} s, applying {took:.2f} s: {done:,} of {len(names):,} moved")
    bench.tell("  applying / renames, same manifest, same syncs", took, durable, 2.5)


def measure_expire(site: Site, records: int) -> None:
    """Look through ended jobs of which one in a hundred is past its time."""
    print(f"expire over {records:,} ended jobs")
    _record(site, records)
    before = _peak()
    policy = Policy(rule=Rule(None, {"completed": timedelta(days=30)}))
    with hold_roots(site, command="expire") as hold:
        began = clock.monotonic()
        plan = plan_expire(hold, ExpireOptions(policy=policy, allowed={"expire": records}))
        planned = clock.monotonic() - began
        with plan:
            took = bench.seconds(lambda: apply_plan(hold, plan))
            print(f"  planning {planned:.2f} s, applying {took:.2f} s: {plan.total:,} expired")
    print(f"  peak {_peak() >> 10} MiB, {(_peak() - before) >> 10} MiB of it for this")


def _site(directory: Path) -> Site:
    outputs = directory / "outputs"
    outputs.mkdir()
    policy = Policy(grace=timedelta(microseconds=1))
    settings = Settings(database=str(directory / "jobs.db"), host_id="bench", policy=policy)
    initialise(settings, roots=[str(outputs)], layout="presentations", host_local=False, now=clock.now())
    return open_site(settings, actor="bench")


def _leftovers(root: Path, files: int) -> Iterator[str]:
    for number in range(files):
        parent = f"{number // _PER_DIRECTORY:06}"
        if number % _PER_DIRECTORY == 0:
            (root / parent).mkdir()
        os.close(os.open(root / parent / f"temp_composition_{number}.mp4", os.O_CREAT | os.O_WRONLY))
        yield f"{parent}/temp_composition_{number}.mp4"


def _record(site: Site, records: int) -> None:
    with site.store.read() as connection:
        now = site.store.now(connection)
    fields = {"kind": "presentation", "queue": "default", "origin": "created", "version": 1, "attempt": 1}
    for start in range(0, records, _AT_ONCE):
        rows = [
            {
                **fields,
                "job_id": f"job-{number:08}",
                "status": "completed",
                "updated_at": now - timedelta(days=40 if number % 100 == 0 else 2, seconds=number % 1_000),
            }
            for number in range(start, min(start + _AT_ONCE, records))
        ]
        with site.store.write() as connection:
            connection.execute(insert(job), rows)


def _peak() -> int:
    """The most memory this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
