"""Clients that say or take nothing: the server lets them go, and answers the others meanwhile."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from jobctl.ops.site import Site
from jobctl.web.application import app_of
from jobctl.web.patience import PatientProtocol
from ops.world import World, a_job_id
from web.serving import api_of, begin, end

PATIENCE_S = 60
WAITING = 200
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
OPENAPI = HEALTH.replace(b"/healthz", b"/openapi.json")


class Quick(PatientProtocol):
    """As impatient as a test."""

    head_s = 0.3
    take_s = 0.3


class Stubborn(PatientProtocol):
    """Lets nobody go while a test runs."""

    head_s = take_s = 3_600.0


@pytest.fixture
def single(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A site of which the store is not asked."""
    made = World(sqlite_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()


@contextmanager
def serving(world: World, protocol: type[PatientProtocol], **limits: int) -> Iterator[int]:
    """The API on a free port of the loopback, in a thread."""
    config = uvicorn.Config(
        app_of(api_of(world, **limits)),
        http=protocol,
        port=0,
        log_config=None,
        # Whoever should have been let go, and was not, keeps a failing test no longer than that.
        timeout_graceful_shutdown=5,
    )
    listener = config.bind_socket()
    listener.listen(2 * WAITING)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


async def said_to(port: int, request: bytes) -> bytes:
    """All that the server says to this until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: loc", b"HTTP/1.1 408 "),
        (HEALTH + b"GET /healthz HTTP/1.1\r\n", b"HTTP/1.1 200 "),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbody", b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "half a head", "half a second head", "half a body that nobody reads"],
)
def test_who_does_not_end_a_request_is_let_go(single: World, said: bytes, told: bytes) -> None:
    async def drip() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        heard = asyncio.ensure_future(reader.read())
        while not heard.done():
            # One byte after another keeps nobody waiting.
            writer.write(b"a" if said else b"")
            await asyncio.wait([heard], timeout=0.05)
        writer.close()
        return b"" if heard.exception() else heard.result()

    with serving(single, Quick) as port:
        heard = asyncio.run(asyncio.wait_for(drip(), PATIENCE_S))
    assert heard.startswith(told) or (told and not heard)


def test_head_and_body_come_in_one_packet(single: World) -> None:
    with serving(single, Stubborn) as port, socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(20):
            client.sendall(HEALTH)
            assert client.recv(1 << 16).endswith(b'\r\n\r\n{"alive":true}')


def test_who_stops_halfway_through_a_head_is_told(single: World) -> None:
    with serving(single, Quick) as port:
        said = asyncio.run(said_to(port, b"GET /healthz HTTP/1.1\r\nHost: loc"))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nConnection: close\r\n" in said


def test_a_head_without_end_is_refused(single: World) -> None:
    with serving(single, Stubborn) as port:
        said = asyncio.run(said_to(port, b"GET / HTTP/1.1\r\nX: " + b"x" * (4 << 20)))
    assert said == b"reset" or said.startswith(b"HTTP/1.1 4")


def test_who_takes_nothing_of_its_answers_is_let_go(single: World) -> None:
    async def take_nothing() -> None:
        takes_little = socket.socket()
        takes_little.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        takes_little.connect(("127.0.0.1", port))
        _, writer = await asyncio.open_connection(sock=takes_little, limit=1)
        with pytest.raises(ConnectionError):
            while True:
                writer.write(OPENAPI * 100)
                await writer.drain()
        writer.transport.abort()

    with serving(single, Quick) as port:
        asyncio.run(asyncio.wait_for(take_nothing(), PATIENCE_S))


def test_who_takes_slowly_is_given_everything(single: World) -> None:
    class Brisk(Stubborn):
        take_s = 1.0

    async def take_slowly() -> bytes:
        takes_little = socket.socket()
        takes_little.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        takes_little.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=takes_little, limit=1)
        writer.write(OPENAPI * 99 + OPENAPI.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        clock, heard = asyncio.get_running_loop().time, bytearray()
        slow_until = clock() + 2 * Brisk.take_s
        while taken := await reader.read(1 << 16):
            heard += taken
            # Never idle as long as it may be, but longer than that in all.
            await asyncio.sleep(0.005 if clock() < slow_until else 0)
        writer.close()
        return bytes(heard)

    with serving(single, Brisk) as port:
        heard = asyncio.run(asyncio.wait_for(take_slowly(), PATIENCE_S))
    assert heard.count(b"HTTP/1.1 200 ") == 100
    assert heard.endswith(b"}")


def test_who_waits_for_an_answer_is_not_taken_for_one_who_says_nothing(
    world: World, site: Site, number: int
) -> None:
    job_id = a_job_id(number)
    begin(site, job_id)
    asked = f"GET /presentations/{job_id}?wait=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with serving(world, Quick) as port:
        assert Quick.head_s < 1
        assert asyncio.run(said_to(port, asked.encode())).startswith(b"HTTP/1.1 202 ")


def test_many_requests_on_one_connection_are_not_taken_for_one_large_head(single: World) -> None:
    heard = threading.Semaphore(0)

    class Narrow(Stubborn):
        head_bytes = 2 * len(HEALTH)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            heard.release()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            for half in (HEALTH[:30], HEALTH[30:]):
                writer.write(half)
                assert await asyncio.to_thread(heard.acquire, timeout=PATIENCE_S)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    with serving(single, Narrow) as port:
        asyncio.run(asyncio.wait_for(ask(), PATIENCE_S))


def test_many_wait_over_sockets_and_the_server_answers_others_meanwhile(
    world: World, site: Site, number: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4_096)), hard))
    job_id = a_job_id(number)
    begin(site, job_id)
    closing = b"Host: localhost\r\nConnection: close\r\n\r\n"

    async def wait() -> list[bytes]:
        waiting = f"GET /presentations/{job_id}?wait=60 HTTP/1.1\r\n".encode() + closing
        events = f"GET /presentations/{job_id}/events HTTP/1.1\r\n".encode() + closing
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in slow:
            writer.write(b"GET /pres")
        asked = [
            asyncio.ensure_future(said_to(port, events if each % 2 else waiting)) for each in range(WAITING)
        ]
        for _ in range(20):
            healthy = await said_to(port, b"GET /healthz HTTP/1.1\r\n" + closing)
            assert healthy.startswith(b"HTTP/1.1 200 ")
        await asyncio.to_thread(end, site, job_id)
        told = await asyncio.gather(*asked)
        for _, writer in slow:
            writer.close()
        return told

    with serving(world, Stubborn, waiters=WAITING) as port:
        told = asyncio.run(asyncio.wait_for(wait(), PATIENCE_S))
    assert all(b'"status":"completed"' in each for each in told)
