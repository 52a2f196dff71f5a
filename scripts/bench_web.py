"""Measure the status API as clients meet it: over HTTP, from another process, on both databases.

The floors are the same server answering ``/healthz``, which asks nothing of the store, and for
files Starlette's own response. Reads are timed for one impatient client, and for ``--clients`` at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import bench
import demo_tree
from bench_runner import _places
from jobctl import clock
from jobctl.model.enqueued import New
from jobctl.model.status import Cause, Status
from jobctl.ops.init import initialise
from jobctl.ops.queue import enqueue_stream, new_job
from jobctl.ops.site import Site, open_site
from jobctl.service import publish
from jobctl.settings import Settings
from jobctl.store import jobs, roots, workers
from jobctl.work import TaskSpec

_READS = 1_000
_VIDEO_MIB = 256
_STARLETTE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route
app = Starlette(routes=[Route("/video", lambda request: FileResponse(sys.argv[1], media_type="video/mp4"))])
uvicorn.run(app, port=int(sys.argv[2]), log_config=None)
"""


class Answer(NamedTuple):
    """What came back, and how large it was."""

    status: int
    size: int
    etag: str


class Client:
    """A connection that is kept, and as little besides as can be: the server is measured, not this."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, path: str, headers: str = "") -> Answer:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split(" ", 2)[1])
        length = re.search(r"content-length: (\d+)", head)
        etag = re.search(r"etag: (\S+)", head)
        left = size = int(length[1]) if length else 0
        while left:
            left -= len(await self._reader.read(min(left, 1 << 20)))
        return Answer(status, size, etag[1] if etag else "")

    def close(self) -> None:
        self._writer.close()


def main() -> None:
    """Print each ratio beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--waiters", type=int, default=300)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--directory", help="where to work; it tells the file system (default: TMPDIR)")
    options = parser.parse_args()
    _allow_many_files()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-", dir=options.directory))
    try:
        with _places(directory, options.only) as places:
            for name, (make, _) in places.items():
                print(f"{name}: {options.jobs:,} jobs")
                _measure(make, directory / name, options)
    finally:
        shutil.rmtree(directory)


def _measure(make: Callable[[], str], directory: Path, options: argparse.Namespace) -> None:
    url, outputs = make(), directory / "outputs"
    outputs.mkdir(parents=True)
    settings = Settings(database=url, host_id="bench")
    initialise(settings, roots=[str(outputs)], layout="presentations", host_local=False, now=clock.now())
    with open_site(settings) as site:
        enqueue_stream(site, (_new(number) for number in range(options.jobs)))
        video = _completed(site, outputs)
        with _serving(url, "--max-waiters", str(options.waiters)) as (port, process):
            asyncio.run(_measure_reads(port, options))
            asyncio.run(_measure_waiting(site, port, process.pid, options.waiters))
            asyncio.run(_measure_video(port, video))
            peak = _memory_mib(process.pid)
            print(f"  memory of the server: {peak:.0f} MiB")


async def _measure_reads(port: int, options: argparse.Namespace) -> None:
    ids = [f"bench-{number % options.jobs}" for number in range(_READS)]
    paths = [f"/presentations/{job_id}" for job_id in ids]
    for clients in (1, options.clients):
        floor = await _best(port, ["/healthz"] * _READS, clients)
        took = await _best(port, paths, clients)
        who = "one client" if clients == 1 else f"{clients} clients"
        print(
            f"  {who}: {_READS / took:,.0f} status reads/s, {_READS / floor:,.0f} answers/s without a store"
        )
        bench.tell(f"  {_READS:,} status reads by {who}, seconds", took, 1.0, 1.0)
        bench.tell(f"  {_READS:,} status reads by {who}, of answers without a store", took, floor, 2.0)


async def _best(port: int, paths: list[str], clients: int) -> float:
    return min([await _read_all(port, paths, clients) for _ in range(3)])


async def _read_all(port: int, paths: list[str], clients: int) -> float:
    async with _clients(port, clients) as connected:

        async def read(client: Client, mine: list[str]) -> None:
            for path in mine:
                answer = await client.get(path)
                assert answer.status in {200, 202}, answer

        began = time.perf_counter()
        await asyncio.gather(
            *(read(client, paths[number::clients]) for number, client in enumerate(connected))
        )
        return time.perf_counter() - began


async def _measure_waiting(site: Site, port: int, pid: int, waiters: int) -> None:
    """How soon all hear of a change who wait for it. The aim is two looks at the store."""
    before = _resident_mib(pid)
    async with _clients(port, waiters) as connected:
        known = (await connected[0].get("/presentations/bench-0")).etag
        heard: list[float] = []

        async def wait(client: Client) -> None:
            await client.get("/presentations/bench-0?wait=60", f"If-None-Match: {known}\r\n")
            heard.append(time.perf_counter())

        tasks = [asyncio.create_task(wait(client)) for client in connected]
        await asyncio.sleep(1)
        cpu, began = _cpu_s(pid), time.perf_counter()
        slowest = await _slowest(port)
        each_kib = 1024 * (_resident_mib(pid) - before) / waiters
        busy = (_cpu_s(pid) - cpu) / (time.perf_counter() - began)
        print(
            f"  while {waiters:,} wait: {each_kib:.1f} KiB for each of them, {100 * busy:.0f} % of a core, "
            f"another client answered within {1000 * slowest:.0f} ms"
        )
        await asyncio.to_thread(_change, site, "bench-0")
        changed = time.perf_counter()
        await asyncio.gather(*tasks)
        bench.tell(
            f"  the last of {waiters} who wait hears of a change, seconds", max(heard) - changed, 1.0, 0.5
        )


async def _slowest(port: int) -> float:
    """How long the slowest of some answers takes that ask nothing of the store."""
    async with _clients(port, 1) as (client,):
        took = []
        for _ in range(50):
            began = time.perf_counter()
            await client.get("/healthz")
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.05)
        return max(took)


async def _measure_video(port: int, video: Path) -> None:
    client = await Client.to(port)
    job_id = video.stem.removeprefix("presentation_")
    began = time.perf_counter()
    answer = await client.get(f"/presentations/{job_id}/video", "Range: bytes=0-0\r\n")
    first = time.perf_counter() - began
    assert answer.status == 206, answer
    took = min([await _fetch(client, f"/presentations/{job_id}/video") for _ in range(3)])
    client.close()
    with _starlette(video) as other:
        floor_client = await _connected(other)
        floor = min([await _fetch(floor_client, "/video") for _ in range(3)])
        floor_client.close()
    mib = _VIDEO_MIB
    print(f"  video of {mib} MiB: {mib / took:,.0f} MiB/s, Starlette {mib / floor:,.0f} MiB/s; "
          f"its first request, with the checksum, {first:.2f} s")  # fmt: skip
    bench.tell("  a video, of Starlette's file response", took, floor, 1.3)


async def _fetch(client: Client, path: str) -> float:
    began = time.perf_counter()
    assert (await client.get(path)).status == 200
    return time.perf_counter() - began


@contextlib.asynccontextmanager
async def _clients(port: int, count: int) -> AsyncIterator[list[Client]]:
    connected = [await Client.to(port) for _ in range(count)]
    try:
        yield connected
    finally:
        for client in connected:
            client.close()


async def _connected(port: int) -> Client:
    """A connection to a server that is about to start."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return await Client.to(port)
        await asyncio.sleep(0.1)


def _new(number: int) -> New:
    return New(new_job(TaskSpec(name="presentation"), job_id=f"bench-{number}"), {"number": number})


def _change(site: Site, job_id: str) -> None:
    with site.store.write() as connection:
        at = site.store.now(connection)
        jobs.change_status(
            connection, job_id, Status.PROCESSING, expect=Status.QUEUED, cause=Cause.CLAIM, actor="b", at=at
        )  # fmt: skip


def _completed(site: Site, outputs: Path) -> Path:
    """A completed job with a large video: a small one, and a great free box behind it."""
    job_id = "00000000-0000-4000-8000-000000000001"
    path, temporary = outputs / f"presentation_{job_id}.mp4", outputs / ".bench.0123456789ab.part"
    demo_tree.encode(temporary, seed=1, frames=4, size=(64, 48))
    with temporary.open("ab") as file:
        size = _VIDEO_MIB << 20
        file.write(size.to_bytes(4, "big") + b"free")
        file.write(os.urandom(1 << 20) * (_VIDEO_MIB - 1) + bytes((1 << 20) - 8))
    with site.store.write() as connection:
        at = site.store.now(connection)
        jobs.create_job(connection, new_job(TaskSpec(name="presentation"), job_id=job_id), actor="b", at=at)
    _change(site, job_id)
    found = publish(str(temporary), str(path), job_id=job_id)
    with site.store.write() as connection:
        at = site.store.now(connection)
        root_id = roots.get_roots(connection)[0].root_id
        offer = workers.Offer(job_id, 1, root_id, path.name, "video", found.size, found.sha256)
        mtime_ns = path.stat().st_mtime_ns
        workers.accept(connection, offer, actor="b", at=at, mtime_ns=mtime_ns, fields={})
        ended = {"expect": Status.PROCESSING, "cause": Cause.EXECUTOR}
        jobs.change_status(connection, job_id, Status.COMPLETED, **ended, actor="b", at=at)  # type: ignore[arg-type]
    return path


@contextmanager
def _serving(url: str, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    command = [str(Path(sys.executable).with_name("jobctl")), "serve", "--port", "0", "--no-tokens", *options]
    environment = {**os.environ, "JOBCTL_DATABASE_URL": url, "JOBCTL_CONFIG": os.devnull}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            match = re.search(r"listening on http://127.0.0.1:(\d+)", said)
            if match is None:
                sys.exit(f"jobctl serve did not start: {said}")
            yield int(match[1]), process
        finally:
            process.terminate()


@contextmanager
def _starlette(video: Path) -> Iterator[int]:
    port = 18_765
    with subprocess.Popen([sys.executable, "-c", _STARLETTE, str(video), str(port)]) as process:
        try:
            yield port
        finally:
            process.terminate()


def _memory_mib(pid: int, which: str = "VmHWM") -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(rf"{which}:\s+(\d+)", status)[0]) / 1024


def _resident_mib(pid: int) -> float:
    return _memory_mib(pid, "VmRSS")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
