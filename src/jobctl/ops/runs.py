"""The journal as values: which runs there were, and what each of their steps came to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from jobctl.errors import UnknownRun
from jobctl.model.backup import PutBack
from jobctl.model.plan import Action, Outcome
from jobctl.ops.site import Site
from jobctl.store import runs
from jobctl.store.restored import put_back_of


class RunSummary(NamedTuple):
    """One applied plan. ``state`` is loading, applying, finished or abandoned.

    ``restored``: of a run that put a backup in the store's place, which one.
    """

    run_id: str
    command: str
    state: str
    actor: str
    host: str
    plan_id: str | None
    undo_of: str | None
    counts: dict[str, int]
    exit_code: int | None
    actions: int
    started_at: datetime
    finished_at: datetime | None
    restored: PutBack | None


class StepTaken(NamedTuple):
    """One step of a run and what became of it."""

    action: Action
    outcome: Outcome
    note: str | None
    applied_at: datetime | None


def list_runs(site: Site, *, limit: int = 20) -> list[RunSummary]:
    """The latest runs, newest first."""
    with site.store.read() as connection:
        return [_summary(row) for row in runs.list_runs(connection, limit=limit)]


def get_run(site: Site, run_id: str) -> RunSummary:
    """One run. Raises ``UnknownRun``."""
    with site.store.read() as connection:
        row = runs.get_run(connection, run_id)
    if row is None:
        raise UnknownRun(f"no run {run_id} is recorded", hint="run 'jobctl runs' to see them")
    return _summary(row)


def actions_of(site: Site, run_id: str) -> Iterator[StepTaken]:
    """The steps of a run, in order. Raises ``UnknownRun``."""
    get_run(site, run_id)
    with site.store.read() as connection:
        for row in runs.actions_of(connection, run_id):
            yield StepTaken(runs.to_action(row), Outcome(row.outcome), row.note, row.applied_at)


def _summary(row: Any) -> RunSummary:
    values = {name: getattr(row, name) for name in RunSummary._fields if name != "restored"}
    values["counts"] = values["counts"] or {}
    return RunSummary(**values, restored=put_back_of(row.header))
