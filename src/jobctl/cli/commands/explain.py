"""``jobctl explain``: where each field of a job comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.report.envelope import Ending
from jobctl.report.listings import FIELD_COLUMNS


def explain(
    context: typer.Context,
    *,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the beginning of it.")],
) -> ExitCode:
    """Tell where each field of a job comes from."""
    from jobctl.ops.explain import explain as explain_job  # noqa: PLC0415 - help stays quick
    from jobctl.ops.lookup import job_named  # noqa: PLC0415

    call = call_of(context)
    output = call.output
    with call.open_site() as site:
        job = job_named(site, job)
        explanation = explain_job(site, job)
    rows = [{"field": name, **entry} for name, entry in explanation.fields.items()]
    if output.is_terminal:
        from jobctl.report.job_screen import explanation_screen  # noqa: PLC0415 - rich is only for terminals

        output.screen(explanation_screen(job, rows, explanation.notes, width=output.width))
    else:
        output.blocks((FIELD_COLUMNS, rows))
        for note in explanation.notes:
            output.say(note)
    data = {"job_id": job, "fields": explanation.fields, "notes": explanation.notes}
    return output.end(Ending(data=data))
