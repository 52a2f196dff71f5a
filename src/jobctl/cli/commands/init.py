"""``jobctl init``: the store and its roots."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl import clock
from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields


def init(
    context: typer.Context,
    *,
    root: Annotated[
        list[str] | None, typer.Option("--root", metavar="DIR", help="An outputs directory; may be repeated.")
    ] = None,
    layout: Annotated[
        str, typer.Option("--layout", metavar="NAME", help="How the files there are named.")
    ] = "presentations",
    host_local: Annotated[
        bool, typer.Option("--host-local", help="Only this host can see these directories.")
    ] = False,
) -> ExitCode:
    """Create the store and register outputs directories."""
    from jobctl.ops.init import initialise  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    settings = call.settings()
    done = initialise(settings, roots=root or [], layout=layout, host_local=host_local, now=clock.now())
    output = call.output
    output.say(f"{'Made' if done.store_made else 'Found'} the store {done.database}.")
    for each in done.roots:
        what = "Registered" if each.made else "Found"
        output.say(f"{what} root {each.root_id}: {each.path} (layout {each.layout}).")
    if not done.roots and done.store_made:
        output.say("Next: register the outputs directory with jobctl init --root DIR")
    items = [
        {
            "root_id": each.root_id,
            **path_fields(each.path),
            "layout": each.layout,
            "host": each.host,
            "made": each.made,
        }
        for each in done.roots
    ]
    data = {"database": done.database, "store_made": done.store_made, "roots": items}
    return output.end(Ending(data=data))
