"""A round-robin proxy on the loopback: each connection to the next server that takes it.

    python proxy.py --port 8080 8001 8002 8003

Where no server takes a connection the client is told 502.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

_AT_ONCE = 1 << 16
_NOBODY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """``ports``: where servers listen on the loopback, as far as it knows. ``taken``: how many each took."""

    def __init__(self, ports: Sequence[int] = (), port: int = 0) -> None:
        self.ports = list(ports)
        self.port = port
        self.taken: Counter[int] = Counter()
        self.url = ""
        self.stop: Callable[[], object] = lambda: None
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, ready: threading.Event) -> None:
        """Serve until stopped."""
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        self.stop = lambda: loop.call_soon_threadsafe(over.set)
        server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            ready.set()
            await over.wait()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop itself keeps no task alive.
        task = asyncio.get_running_loop().create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what both sides say, until the server has said all."""
        there = await self._next_server()
        if there is None:
            await _end(writer, _NOBODY)
            return
        from_server, to_server = there
        asking = asyncio.create_task(_copy(reader, to_server))
        await _copy(from_server, writer)
        asking.cancel()
        await asyncio.gather(asking, _end(writer), _end(to_server), return_exceptions=True)

    async def _next_server(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self._turn += 1
        ports = list(self.ports)
        for number in range(len(ports)):
            port = ports[(self._turn + number) % len(ports)]
            with suppress(OSError):
                connected = await asyncio.open_connection("127.0.0.1", port)
                self.taken[port] += 1
                return connected
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_AT_ONCE):
            writer.write(piece)
            await writer.drain()


async def _end(writer: asyncio.StreamWriter, last: bytes = b"") -> None:
    with suppress(OSError):
        writer.write(last)
        writer.close()
        await writer.wait_closed()


@contextmanager
def proxying(ports: Sequence[int] = (), port: int = 0) -> Iterator[Proxy]:
    """A proxy that runs until the end of the block; ``port`` 0 takes any free one."""
    made, ready = Proxy(ports, port), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(made.serve(ready)))
    thread.start()
    try:
        ready.wait()
        yield made
    finally:
        made.stop()
        thread.join()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A round-robin proxy on the loopback.")
    parser.add_argument("servers", type=int, nargs="+", help="the ports that servers listen on")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free one")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt), proxying(arguments.servers, arguments.port) as proxy:
        print(f"listening on {proxy.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
