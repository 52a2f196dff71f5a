"""``jobctl metrics``: the numbers that machines watch."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode, UsageError
from jobctl.report.envelope import Ending
from jobctl.report.prometheus import exposition
from jobctl.report.status_screen import metrics as metrics_of


def metrics(
    context: typer.Context,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE", help="Replace this file, whole, for node_exporter to collect."),
    ] = None,
) -> ExitCode:
    """Print jobs by status and the last runs for Prometheus."""
    from jobctl.ops.export_text import write_whole  # noqa: PLC0415 - help stays quick
    from jobctl.ops.status import look  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        report = look(site)
    text = exposition(metrics_of(report.jobs, report.last_runs))
    if to is None:
        call.output.text(text)
    else:
        try:
            write_whole(to, text)
        except OSError as error:
            raise UsageError(
                f"{os.path.abspath(to)} cannot be written: {error.strerror}; it was left as it was",
                hint="name a file in a writable directory",
            ) from None
    counts = {status.value: count for status, count in report.jobs.items()}
    return call.output.end(Ending(counts=counts))
