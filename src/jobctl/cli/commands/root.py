"""``jobctl root``: the registered outputs directories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields
from jobctl.report.listings import root_columns

if TYPE_CHECKING:
    from jobctl.ops.roots import RootState


def list_(context: typer.Context) -> ExitCode:
    """List the registered outputs directories."""
    from jobctl.ops.roots import list_roots  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        found, now = list_roots(site), store_now(site)
    call.output.rows(root_columns(now), _item, found)
    if not found:
        call.output.say("No root is registered; register one with jobctl init --root DIR")
    return call.output.end()


def adopt(
    context: typer.Context,
    *,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The outputs directory.")],
    of_lost_store: Annotated[
        bool,
        typer.Option(
            "--of-lost-store", help="Its store is gone for good: take it over, with its quarantine."
        ),
    ] = False,
    layout: Annotated[
        str, typer.Option("--layout", metavar="NAME", help="The layout of a directory that is taken over.")
    ] = "presentations",
) -> ExitCode:
    """Accept a directory or a store that was put back."""
    from jobctl.ops.layouts import layout_of  # noqa: PLC0415 - help stays quick
    from jobctl.ops.roots import adopt_root, take_over_root  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        layout_of(site.settings, layout)
        adopted = take_over_root(site, path, layout=layout) if of_lost_store else adopt_root(site, path)
    call.output.say(
        f"Accepted root {adopted.root_id}: {adopted.path}. "
        "Nothing of it is called missing until a complete recover was applied: jobctl recover"
    )
    item = {"root_id": adopted.root_id, **path_fields(adopted.path), "generation": adopted.generation}
    return call.output.end(Ending(data=item))


def _item(root: RootState) -> Mapping[str, Any]:
    return {**root._asdict(), **path_fields(root.path)}
