"""Three servers on one store behind a round-robin proxy, until Ctrl-C.

    python run_three.py OUTPUTS [--program after.py] [--port 8080]

Each server takes any free port. One that ends is started again, as a supervisor would.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from proxy import Proxy, proxying

_HERE = Path(__file__).parent
_SERVERS = 3
_LOOK_EVERY_S = 0.2


class Server:
    """One server, and the port it listens on."""

    def __init__(self, program: str, outputs: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_HERE / program), outputs], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2] or 0)

    def stop(self) -> None:
        """Let it end what it is at."""
        self.process.terminate()
        self.process.communicate()


def keep(proxy: Proxy, servers: list[Server], program: str, outputs: str) -> None:
    """Start again whatever ends."""
    while True:
        for number, server in enumerate(servers):
            if server.process.poll() is not None:
                servers[number] = Server(program, outputs)
                print(f"server {number} is started again, process {servers[number].process.pid}", flush=True)
        proxy.ports = [server.port for server in servers]
        time.sleep(_LOOK_EVERY_S)


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Three servers behind a round-robin proxy.")
    parser.add_argument("outputs", help="where videos go")
    parser.add_argument("--program", default="after.py", help="before.py shows why one would not")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    servers = [Server(arguments.program, arguments.outputs) for _ in range(_SERVERS)]
    try:
        with suppress(KeyboardInterrupt), proxying(port=arguments.port) as proxy:
            for number, server in enumerate(servers):
                print(f"server {number} is process {server.process.pid}", flush=True)
            print(f"listening on {proxy.url}", flush=True)
            keep(proxy, servers, arguments.program, arguments.outputs)
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
