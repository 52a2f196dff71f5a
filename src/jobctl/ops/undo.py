"""Undo: the plan of inverses of a run, applied like any other plan."""

from __future__ import annotations

from typing import Any

from jobctl.core.backups import how_to_take_back
from jobctl.core.inverse import invert
from jobctl.errors import UnknownRun, UsageError
from jobctl.model.plan import MOVES, Outcome, PlanHeader
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.hold import Hold
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import Plan, PlanWriter
from jobctl.ops.site import Site
from jobctl.store import runs
from jobctl.store.engine import Connection
from jobctl.store.restored import put_back_of

_FINAL = {
    "quarantine restore": "itself a taking back; what may go, 'jobctl cleanup --include-pinned' takes again",
    "quarantine purge": "a purge, and what it removed is gone for good",
}


def roots_of_run(site: Site, run_id: str) -> list[str]:
    """The ids of the roots a run worked on. Raises the errors of ``plan_undo``."""
    with site.store.read() as connection:
        return sorted(_undoable(connection, run_id).header["roots"])


def plan_undo(hold: Hold, run_id: str) -> Plan:
    """Plan to take back what a run did and nobody has taken back since.

    Raises ``UnknownRun``, and ``UsageError`` for a run that no undo takes back.
    """
    catch_up(hold)
    site = hold.site
    with site.store.read() as connection:
        run = _undoable(connection, run_id)
        header = PlanHeader(
            command="undo",
            store_id=site.store.store_id,
            roots=dict.fromkeys(run.header["roots"], 0),
            created_at=format_timestamp(site.store.now(connection)),
            configuration=site.settings.digest(),
            undo_of=run_id,
        )
        writer = PlanWriter(header)
        undone = runs.undone_steps(connection, run_id)
        # Records first, then files, each as they lie in quarantine: those are read once, in order.
        for moves in (False, True):
            for row in runs.actions_of(connection, run_id, newest_first=not moves):
                is_done = row.outcome == Outcome.DONE and (row.job_id, row.root_id, row.path) not in undone
                if is_done and (row.verb in MOVES) == moves:
                    writer.add(invert(runs.to_action(row), seq=0, run_id=run_id))
    return writer.finish()


def _undoable(connection: Connection, run_id: str) -> Any:
    """The run. Raises ``UnknownRun``, and ``UsageError`` where no undo takes it back."""
    run = runs.get_run(connection, run_id)
    if run is None:
        raise UnknownRun(f"no run {run_id} is recorded", hint="run 'jobctl runs' to see them")
    if run.command in _FINAL:
        raise UsageError(
            f"run {run_id} cannot be taken back: it was {_FINAL[run.command]}", hint="see: jobctl runs"
        )
    put_back = put_back_of(run.header)
    if put_back is not None:
        raise UsageError(
            f"run {run_id} has no steps to take back: it put a backup in the store's place",
            hint=how_to_take_back(put_back),
        )
    if run.undo_of is not None:
        raise UsageError(
            f"run {run_id} is itself an undo, of run {run.undo_of}",
            hint="to recover again what it took back: jobctl recover --include-declined",
        )
    return run
