"""``jobctl metrics serve``: answer Prometheus over HTTP."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode, UsageError

_PORT = 9871


class _Stopped(BaseException):
    """Somebody asked the server to end, which is how it ends well."""


def serve(
    context: typer.Context,
    *,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65_535, help="Listen there; 0 takes any that is free."
        ),
    ] = _PORT,
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="ADDRESS", help="Who is to reach it: an address of this machine."),
    ] = "127.0.0.1",
    top: Annotated[
        int, typer.Option("--top", min=1, max=1000, metavar="N", help="So many names; the rest is 'other'.")
    ] = 20,
) -> ExitCode:
    """Answer Prometheus over HTTP, on this machine only.

    There is /metrics and nothing else, without a password: what --listen names besides 127.0.0.1 or
    ::1 opens it to whoever reaches that address.
    """
    from jobctl.ops.exposition import look  # noqa: PLC0415 - help stays quick
    from jobctl.ops.metrics_server import MetricsServer, is_loopback  # noqa: PLC0415
    from jobctl.report.prometheus import exposition  # noqa: PLC0415
    from jobctl.report.runner_metrics import all_metrics  # noqa: PLC0415

    call = call_of(context)
    with call.open_site() as site:
        try:
            server = MetricsServer(
                listen, port, lambda: exposition(all_metrics(look(site, most=top))), call.output.alert
            )
        except (OSError, UnicodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no address"
            raise UsageError(
                f"{listen} port {port} cannot be listened on: {said}", hint=_way_out(error)
            ) from None
        with suppress(_Stopped), _asked_to_stop(), server:
            name = f"[{listen}]" if ":" in listen else listen
            if not is_loopback(listen):
                call.output.warn(f"whoever reaches {name} may read the metrics: there is no password")
            call.output.note(
                f"Metrics are at http://{name}:{server.server_port}/metrics until Ctrl-C or SIGTERM."
            )
            server.serve_forever()
    return call.output.end()


def _way_out(error: OSError | UnicodeError) -> str:
    """What helps: another address where that one is not this machine's, else another port."""
    is_elsewhere = isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    if is_elsewhere:
        return "name an address of this machine with --listen: 127.0.0.1 for itself, 0.0.0.0 for every one"
    return "choose another with --port, or see who listens there: ss -ltnp"


@contextmanager
def _asked_to_stop() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
