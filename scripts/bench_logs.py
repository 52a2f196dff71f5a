"""Measure the reading of server logs, and the worst lines that were thought of.

``--size`` says how many MiB of log (default 256). The log is a faithful day, repeated:
about one line in seven says something of a job, the others are FFmpeg's and JSON. The
first ratio is against 60 MB/s of one core; ``grep -c`` over the same file is told beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import bench
from jobctl import clock
from jobctl.core.logbook import Logbook
from jobctl.evidence.logfile import BLOCK
from jobctl.evidence.rules import rule_sets
from jobctl.evidence.serverlog import LogReader
from jobctl.ops.init import initialise
from jobctl.settings import Settings

_AIM_MB_S = 60.0
_WORST_ORDINARY = 3.0
_JOB = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
_RENDER = "690a2adf7614c96f64167739"
_TEN_MB = 10_000_000
_WRITE = """
import sys
import log_day
text = log_day.damage(log_day.simulate(noise=60)).text()
with open(sys.argv[1], "wb") as file:
    while file.tell() < int(sys.argv[2]):
        file.write(text)
"""

WORST: dict[str, str] = {
    "one line of letters": "a" * 4_000,
    "one line of hex digits and dashes": "0123abcd-" * 400,
    "heads without end": "INFO:svc:" * 400,
    "containers without end": "api-1  | " * 400,
    "a request that never ends": '"GET /presentations/' + "a/presentations/" * 400,
    "FFmpeg over and over": "ffmpeg avatar_" * 300,
    "a render without a job": f"ffmpeg avatar_{_RENDER}.mp4 " * 100,
    "brackets": "[HEARTBEAT] Job " * 250,
    "times": "[JOB_STATUS_UPDATE] Timestamp: 2025-11-04T21:01:34.4581" * 60,
    "spaces": " " * 4_000,
    "reasons": f"Presentation {_JOB} failed: " * 60,
    "glued records": f"INFO:svc:Created presentation job: {_JOB}" * 50,
}


def main() -> None:
    """Measure, and print every ratio beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, metavar="MIB")
    size = parser.parse_args().size << 20
    with tempfile.TemporaryDirectory(prefix="jobctl-bench-") as work:
        _measure_files(Path(work), size)
    _measure_worst_lines()


def _measure_files(work: Path, size: int) -> None:
    log = work / "day.log"
    # In a process of its own: a child's peak memory counts what its parent held.
    subprocess.run([sys.executable, "-c", _WRITE, str(log), str(size)], check=True, cwd=Path(__file__).parent)
    megabytes = log.stat().st_size / 1e6
    grep = bench.seconds(
        # Captured: with nobody to read it, grep stops at the first match.
        lambda: subprocess.run(["grep", "-c", "HEARTBEAT", str(log)], check=True, capture_output=True)
    )
    _measure_ingest("read a log", log, megabytes, grep, work / "plain.db")
    subprocess.run(["gzip", "-1", str(log)], check=True)
    _measure_ingest("read a log, gzip", work / "day.log.gz", megabytes, grep, work / "packed.db")


def _measure_ingest(what: str, log: Path, megabytes: float, grep: float, store: Path) -> None:
    settings = Settings(database=str(store), host_id="bench")
    initialise(settings, roots=[], layout="presentations", host_local=False, now=clock.now())
    taken, peak = bench.program("evidence", "ingest", str(log), database=str(store))
    bench.tell(f"{what}: MB/s over {_AIM_MB_S:.0f}", megabytes / taken, _AIM_MB_S, 1.0, at_least=True)
    print(f"  {megabytes:.0f} MB in {taken:.1f} s, {taken / grep:.0f} x grep -c, peak {peak:.0f} MiB")


def _measure_worst_lines() -> None:
    """Against lines of the service itself, each of which is understood."""
    heartbeat = (
        f"INFO:svc:[HEARTBEAT] Job {_JOB}: status=processing, progress=10.0% (beat #2)\n"
        "INFO:svc:[HEARTBEAT] Keeping connection alive - 2025-11-04T21:01:34.458117\n"
    )
    ordinary = bench.seconds(_reading(heartbeat), times=2)
    for what, line in WORST.items():
        for form, text in (("", f"{line}\n"), (", no newline", line)):
            bench.tell(f"{what}{form}", bench.seconds(_reading(text)), ordinary, _WORST_ORDINARY)


def _reading(line: str) -> Callable[[], None]:
    text = (line.encode() * (1 + _TEN_MB // len(line.encode())))[:_TEN_MB]

    def blocks() -> Iterator[bytes]:
        for start in range(0, len(text), BLOCK):
            yield text[start : start + BLOCK]

    def read() -> None:
        book = Logbook("bench", {}, lambda _: None)
        for batch in LogReader(rule_sets({}), latest="2030").read(blocks()):
            book.note("bench", batch.mentions)

    return read


if __name__ == "__main__":
    main()
