"""Measure the runner beside the raw driver that does the same work, in one run and at the same durability.

SQLite in WAL mode with ``synchronous=FULL``, PostgreSQL with ``fsync`` and ``synchronous_commit``
on, its own server. The raw driver writes the same rows into the same tables and indexes, in batches
of 100: the job, its payload, its history, its lease, guarded by the number of the attempt. Its
pick-up is what the two commits of one take: to enqueue it and to claim it.

``--with-peers`` has other job systems do the same; ``--ended`` first fills the stores with that many
ended jobs, and measures a store without them as well. Every rate is the best of ``--rounds``, in
which all take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles

import bench_runner_contestants as contestants
import bench_runner_floors as floors
import bench_runner_peers as peers
from bench_runner_contestants import Contestant, Jobctl
from bench_runner_table import (
    BULK,
    DRAIN,
    FLOOR,
    IDLE,
    OURS,
    PICK_UP,
    PICK_UP_95,
    RESCUE,
    SINGLES,
    Row,
    Table,
)
from jobctl import clock
from jobctl.store.engine import create_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from postgres import at_database, running, system_binaries, wheel_binaries

_DATABASES = ("sqlite", "postgresql")
_SMALL = {"jobs": 200, "singles": 10, "latencies": 5, "idle_seconds": 0.2, "rounds": 1}

# Hardly more than a sync to disk each, whose pace changes from second to second.
_TURNS_OF_SINGLES = 4

MakeStore = Callable[[], str]


def main() -> None:
    """Print what each reached, and each ratio beside its aim."""
    options = _options()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-", dir=options.directory))
    try:
        installed = peers.install(directory) if options.with_peers else None
        with _places(directory, options.only) as places:
            tables = [
                _measure(name, make, empty, directory, installed, options)
                for name, (make, empty) in places.items()
            ]
    finally:
        shutil.rmtree(directory)
    if options.json:
        print(json.dumps([table.as_json() for table in tables], indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20_000, help="how many to enqueue in bulk, and to drain")
    parser.add_argument("--singles", type=int, default=500, help="how many to enqueue one by one")
    parser.add_argument("--latencies", type=int, default=60, help="how often to measure a pick-up")
    parser.add_argument("--idle-seconds", type=float, default=40.0, help="long beside what it does once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ended", type=int, default=0, help="how many jobs have ended before")
    parser.add_argument("--with-peers", action="store_true", help="install other job systems for this run")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds until a peer's drain is cut")
    parser.add_argument("--longest-rescue", type=float, default=200.0)
    parser.add_argument("--only", choices=_DATABASES)
    parser.add_argument("--directory", help="where to work; it tells the file system (default: TMPDIR)")
    parser.add_argument("--json", action="store_true", help="print data instead of tables")
    parser.add_argument("--small", action="store_true", help="a few jobs each, to see that it works")
    options = parser.parse_args()
    if options.small:
        vars(options).update(_SMALL)
    return options


def _measure(
    name: str,
    make: MakeStore,
    empty: MakeStore,
    directory: Path,
    installed: peers.Contestants | None,
    options: argparse.Namespace,
) -> Table:
    title = f"{name}: {options.jobs:,} jobs, beside {options.ended:,} that ended before"
    table = Table(title)
    ours = Jobctl(OURS, make(), directory)
    ours_too = [Jobctl(f"{OURS}, none ended", make(), directory)] if options.ended else []
    raw = contestants.RawDriver(make())
    for each in (raw, ours):
        floors.add_ended(each.url, options.ended)
    others = [
        contestants.OtherSystem(installed, peer, empty, options.longest)
        for peer in peers.PEERS
        if installed and peer.database == name
    ]
    _measure_rates(table, [raw, ours, *ours_too, *others], options)
    measure_pick_up(table, raw, ours, directory, options)
    for other in others:
        _measure_other(table, other, directory, options)
    if not options.json:
        table.show()
    return table


def _measure_rates(table: Table, all_of_them: list[Contestant], options: argparse.Namespace) -> None:
    """Enqueue and drain, all in turn, so that whatever else the machine does strikes each of them."""
    for number in range(options.rounds):
        for row in (*[SINGLES] * _TURNS_OF_SINGLES, BULK, DRAIN):
            for who in all_of_them:
                # Some need minutes to drain.
                if number == 0 or row is not DRAIN or who.is_quick:
                    _progress(f"{table.title}: {row.name}, {who.name}")
                    table.note(row, who.name, _rate(row, who, options))


def _rate(row: Row, who: Contestant, options: argparse.Namespace) -> float | str:
    if row is SINGLES:
        return who.singles(options.singles)
    return who.bulk(options.jobs) if row is BULK else who.drain()


def measure_pick_up(
    table: Table, raw: contestants.RawDriver, ours: Jobctl, directory: Path, options: argparse.Namespace
) -> None:
    """What depends on a worker that waits: its pick-up, what it costs, and who takes over from it."""
    _progress(f"{table.title}: pick-up")
    _note_waits(table, FLOOR, floors.commit_twice(raw.url, options.latencies))
    signs = Path(tempfile.mkdtemp(dir=directory))
    with ours.serving() as worker:
        _note_waits(table, OURS, ours.pick_up(options.latencies))
        floors.add_up_history(ours.url)
        table.note(IDLE, OURS, _idle(worker, options.idle_seconds))
        ours.begin(signs)
        _until(lambda: len(os.listdir(signs)) == 1)
        with ours.serving():
            worker.send_signal(signal.SIGKILL)
            began = time.monotonic()
            _until(lambda: len(os.listdir(signs)) == 2)
            table.note(RESCUE, OURS, time.monotonic() - began)


def _measure_other(
    table: Table, other: contestants.OtherSystem, directory: Path, options: argparse.Namespace
) -> None:
    does_not: Mapping[str, str] = other.peer.does_not
    # Not behind what a drain that was cut has left.
    other.begin_anew()
    _progress(f"{table.title}: pick-up and rescue, {other.name}")
    if "pick-up" in does_not:
        table.note(PICK_UP, other.name, does_not["pick-up"])
        table.note(PICK_UP_95, other.name, "does not")
    else:
        _note_waits(table, other.name, other.pick_up(options.latencies, directory))
    table.note(RESCUE, other.name, other.rescue(directory, options.longest_rescue))


def _note_waits(table: Table, who: str, waits: list[float]) -> None:
    cuts = quantiles(waits, n=20)
    table.note(PICK_UP, who, cuts[9])
    table.note(PICK_UP_95, who, cuts[18])


def _idle(worker: subprocess.Popen[bytes], seconds: float) -> float:
    """What a worker that has nothing to do, history to add up included, costs in percent of a core."""
    before = _cpu_seconds(worker.pid)
    time.sleep(seconds)
    return 100 * (_cpu_seconds(worker.pid) - before) / seconds


@contextmanager
def _places(directory: Path, only: str | None) -> Iterator[dict[str, tuple[MakeStore, MakeStore]]]:
    """For each database what makes a store, and what makes an empty one for others; each tells its URL."""
    numbers = iter(range(100))

    def sqlite() -> str:
        return str(directory / f"jobs-{next(numbers)}.db")

    with ExitStack() as stack:
        every: dict[str, MakeStore] = {"sqlite": sqlite}
        if only != "sqlite":
            every["postgresql"] = stack.enter_context(_postgresql(numbers))
        yield {name: (partial(_made_by, make), make) for name, make in every.items() if only in {None, name}}


@contextmanager
def _postgresql(numbers: Iterator[int]) -> Iterator[MakeStore]:
    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        sys.exit("there is no PostgreSQL here: install the test requirements")
    with running(binaries, fsync=True) as server:

        def make() -> str:
            name = f"bench_{next(numbers)}"
            floors.create_database(server, name)
            return str(at_database(server, name))

        yield make


def _made_by(make: MakeStore) -> str:
    url = make()
    create_store(url, now=clock.now(), version="bench")[0].close()
    return url


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        print(what, file=sys.stderr, flush=True)


def _until(condition: Callable[[], bool]) -> None:
    if not contestants.came(condition, 60):
        sys.exit("it never came to that")


def _cpu_seconds(pid: int) -> float:
    """What a process and those it started have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_cpu_seconds(int(child)) for child in children)


if __name__ == "__main__":
    main()
