"""``jobctl backup``: a copy of the store, made while it is in use."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.cli.jitter import wait_a_little
from jobctl.cli.limits import duration_of
from jobctl.cli.options import JitterOption
from jobctl.cli.output import Format
from jobctl.cli.recording import recorded
from jobctl.errors import ExitCode
from jobctl.report.backup_screen import BACKUP_COLUMNS, backup_item, backup_said
from jobctl.report.envelope import Ending


def backup(
    context: typer.Context,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DIR|FILE",
            help="Into this directory, or, without --keep, to a name that is free. [backup.directory]",
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            metavar="N",
            min=1,
            help="Then remove this store's older backups there, but for the N newest. [backup.keep]",
        ),
    ] = None,
    jitter: JitterOption = None,
) -> ExitCode:
    """Copy the store while it is in use, check the copy, and keep it."""
    from jobctl.ops.backup import make_backup, target_of  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    wait_a_little(duration_of("--jitter", jitter))
    output = call.output
    with call.open_site() as site, recorded(site, "backup", is_real=True) as record:
        with call.progress() as progress:
            target = target_of(site, to, is_series=keep is not None)
            made = make_backup(site, target, keep=keep or site.settings.backup.keep, progress=progress)
        for warning in made.warnings:
            output.warn(warning)
        code = record(ExitCode.INCOMPLETE if made.warnings else ExitCode.CLEAN)
    item = backup_item(made)
    if output.format is Format.TEXT and not output.is_terminal and not output.is_quiet:
        output.blocks((BACKUP_COLUMNS, [item]))
    output.say(backup_said(made))
    counts = {"jobs": made.contents.total, "events": made.contents.events, "removed": len(made.removed)}
    return output.end(Ending(code, counts=counts, data=item))
