"""``jobctl metrics rebuild``: the history added up anew."""

from __future__ import annotations

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.model.amounts import counted
from jobctl.report.envelope import Ending


def rebuild(context: typer.Context) -> ExitCode:
    """Add the history up anew; metrics are right all the while.

    It may be ended at any time, and run again to go on. Jobs, files and history are not touched.
    """
    from jobctl.ops.tally_rebuild import rebuild as made_anew  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site, call.progress() as progress:
        rebuilt = made_anew(site, progress)
    how = "Went on with what was begun, and added" if rebuilt.is_resumed else "Added"
    call.output.say(f"{how} up {counted(rebuilt.events, 'event')} anew.")
    counts = {"events": rebuilt.events, "removed": rebuilt.removed}
    return call.output.end(Ending(counts=counts, data={"is_resumed": rebuilt.is_resumed}))
