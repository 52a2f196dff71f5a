"""``jobctl metrics push``: send the metrics once to an OpenTelemetry collector."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.model.amounts import counted
from jobctl.report.envelope import Ending


def push(
    context: typer.Context,
    *,
    top: Annotated[
        int, typer.Option("--top", min=1, max=1000, metavar="N", help="So many names; the rest is 'other'.")
    ] = 20,
) -> ExitCode:
    """Send the metrics once to an OpenTelemetry collector.

    Where it is says OTEL_EXPORTER_OTLP_ENDPOINT; OpenTelemetry's other variables hold, too. Needs
    jobctl[otel].
    """
    from jobctl.ops.exposition import look  # noqa: PLC0415 - help stays quick
    from jobctl.ops.otlp import push as send  # noqa: PLC0415
    from jobctl.report.runner_metrics import all_metrics  # noqa: PLC0415

    call = call_of(context)
    with call.open_site() as site:
        seen = look(site, most=top)
    sent = send(all_metrics(seen), since=seen.since, now=seen.now, environ=os.environ)
    if sent.metrics:
        call.output.say(f"Sent {counted(sent.metrics, 'metric')} with {counted(sent.points, 'value')}.")
    else:
        call.output.say("OTEL_SDK_DISABLED is set; nothing was sent.")
    return call.output.end(Ending(counts=sent._asdict()))
