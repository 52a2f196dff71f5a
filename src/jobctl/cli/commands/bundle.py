"""``jobctl bundle``: what somebody who helps needs to see, in one archive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from jobctl import clock
from jobctl.cli.context import call_of
from jobctl.cli.output import Format
from jobctl.errors import ExitCode
from jobctl.model.amounts import counted
from jobctl.report.columns import Column
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields
from jobctl.report.page import words
from jobctl.report.units import size_shown


def bundle(
    context: typer.Context,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FILE", help="The new archive; else one in this directory, named by now."
        ),
    ] = None,
    with_payloads: Annotated[
        bool, typer.Option("--with-payloads", help="Also what jobs were asked to do, and what they came to.")
    ] = False,
) -> ExitCode:
    """Gather what a ticket needs into one archive: doctor, status, runs, events, settings; no secrets."""
    from jobctl.ops.bundle import contents, write_bundle  # noqa: PLC0415 - help stays quick
    from jobctl.ops.new_file import check_new_file  # noqa: PLC0415

    call = call_of(context)
    output = call.output
    path = to or f"jobctl-bundle-{clock.now():%Y%m%d-%H%M%S}.tar.gz"
    check_new_file(path)
    for part in contents(with_payloads=with_payloads):
        output.note(f"{part.name}: {part.holds}")
    left_out = "" if with_payloads else "; payloads are left out (--with-payloads)"
    output.note(f"secrets are replaced by ***{left_out}")
    parts = write_bundle(path, call.settings, environ=os.environ, with_payloads=with_payloads)
    missing = sum(part.bytes is None for part in parts)
    if missing or not output.is_quiet or output.format is Format.JSON:
        output.rows(PART_COLUMNS, lambda part: part._asdict(), parts)
    size = os.stat(path).st_size
    told = f"; {counted(missing, 'part')} could not be gathered" if missing else ""
    output.say(f"Wrote {path} ({size_shown(size)}){told}. Look into it before you send it.")
    counts = {"parts": len(parts) - missing, "missing": missing, "bytes": size}
    code = ExitCode.INCOMPLETE if missing else ExitCode.CLEAN
    return output.end(Ending(code, counts=counts, data=path_fields(path)))


PART_COLUMNS: Sequence[Column[Any]] = (
    Column(name="part", value=lambda part: part.name),
    Column(name="bytes", value=lambda part: part.bytes, shown=size_shown, is_number=True, title="size"),
    Column(name="holds", value=lambda part: part.holds, may_wrap=True, from_width=100),
    words("fault", lambda part: part.fault),
)
