"""``jobctl workers``: who takes jobs, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.report.columns import WIDE, Column
from jobctl.report.envelope import Ending
from jobctl.report.units import age_of, local_time

if TYPE_CHECKING:
    from jobctl.model.attempts import WorkerRow
    from jobctl.ops.queue import Workers


def workers(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that ended.")] = False,
) -> ExitCode:
    """List the workers and what they run."""
    from jobctl.ops.queue import look_at_workers  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        seen = look_at_workers(site, every=every)
    call.output.rows(worker_columns(seen), lambda row: _item(seen, row), seen.rows)
    for row in seen.rows:
        for trouble in row.troubles if row.ended_at is None else ():
            call.output.warn(f"worker {row.worker_id} goes without a module: {trouble}")
    if not seen.rows:
        call.output.say("No worker runs. Start one: jobctl worker --tasks MODULE")
    counts = {"workers": len(seen.rows), "running": sum(seen.busy.values())}
    return call.output.end(Ending(counts=counts))


def worker_columns(seen: Workers) -> Sequence[Column[WorkerRow]]:
    """What is listed of each worker."""
    return (
        Column(name="worker", value=lambda row: row.worker_id),
        Column(name="state", value=seen.state),
        Column(name="host", value=lambda row: row.executor.host, from_width=WIDE),
        Column(name="pid", value=lambda row: row.executor.pid, is_number=True, from_width=WIDE),
        Column(name="queues", value=lambda row: ",".join(row.queues), shown=_apart, may_wrap=True),
        Column(name="busy", value=lambda row: f"{seen.busy_slots(row)}/{row.slots}"),
        Column(name="done", value=lambda row: int(row.counters.get("completed", 0)), is_number=True),
        Column(name="failed", value=lambda row: int(row.counters.get("failed", 0)), is_number=True),
        Column(
            name="up_since",
            title="since",
            value=lambda row: row.started_at,
            shown=local_time,
            from_width=WIDE,
        ),
        Column(name="beat", value=lambda row: age_of(row.seen_at, seen.now)),
        Column(
            name="tasks",
            value=lambda row: ",".join(row.tasks),
            shown=_apart,
            may_wrap=True,
            from_width=WIDE,
        ),
    )


def _item(seen: Workers, row: WorkerRow) -> dict[str, Any]:
    fields = row._asdict()
    return {
        **fields,
        "state": seen.state(row),
        "executor": row.executor._asdict(),
        "specs": dict(row.specs),
        "troubles": list(row.troubles),
        "busy": seen.busy_slots(row),
    }


def _apart(names: str) -> str:
    return names.replace(",", ", ")
