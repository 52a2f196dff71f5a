"""Runs: a plan loaded into the store, each of its steps journalled, and what has become of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, case, func, insert, select, update

from jobctl.model.files import FileIdentity
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import MOVES, Action, Outcome, Relied, Verb
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp
from jobctl.store.dialect import Dialect
from jobctl.store.run_rules import is_one_of, job_exists, still_pending
from jobctl.store.schema import artifact, job, run, run_action
from jobctl.store.statements import bulk_insert

JOB_COLUMNS = [column for column in job.c if column.name not in {"version", "updated_at"}]
ARTIFACT_COLUMNS = [column for column in artifact.c if column.name not in {"version", "run_id"}]

# Taking something back rests on records alone: it works as well when the file is gone.
_RESTS_ON_FILE = frozenset({Verb.CREATE, Verb.COMPLETE, Verb.LINK})

NO_JOB = ""
"""The job id of a step on a file whose name tells none."""

NO_FILE = ""
"""What a declined mark names in place of root and path where a record rested on no file."""


class FileToCheck(NamedTuple):
    """A pending step's file: what must still be there for the step to be taken."""

    seq: int
    root_id: str
    path: str
    identity: FileIdentity


class Mark(NamedTuple):
    """The outcome of a step that is not taken, and why."""

    seq: int
    outcome: Outcome
    note: str


def begin_run(
    connection: Connection,
    *,
    run_id: str,
    command: str,
    plan_id: str,
    undo_of: str | None,
    header: dict[str, Any],
    actor: str,
    host: str,
    at: datetime,
) -> None:
    """Record a run that is about to be loaded; nothing is changed by it yet."""
    values = {
        "run_id": run_id,
        "command": command,
        "state": "loading",
        "actor": actor,
        "host": host,
        "plan_id": plan_id,
        "undo_of": undo_of,
        "header": header,
        "started_at": at,
    }
    connection.execute(insert(run), values)


def load_actions(connection: Connection, dialect: Dialect, run_id: str, actions: Iterable[Action]) -> None:
    """Journal the steps of a run as pending intents."""
    names = ["run_id", "outcome", *_ACTION_FIELDS]
    rows = ((run_id, Outcome.PENDING.value, *_journal_values(action)) for action in actions)
    bulk_insert(connection, dialect, "run_action", names, rows)


def last_loaded(connection: Connection, run_id: str) -> int:
    """The highest step number journalled so far; 0 for none."""
    highest = select(func.coalesce(func.max(run_action.c.seq), 0)).where(run_action.c.run_id == run_id)
    return int(connection.execute(highest).scalar_one())


def begin_applying(connection: Connection, run_id: str, *, actions: int, generations: dict[str, int]) -> None:
    """Record that all intents are journalled, and the root generations this run bears."""
    values = {"state": "applying", "actions": actions, "generations": generations}
    connection.execute(update(run).where(run.c.run_id == run_id).values(values))


def finish_run(
    connection: Connection, run_id: str, *, state: str, exit_code: int, counts: dict[str, int], at: datetime
) -> None:
    """Record how a run ended: ``finished``, or ``abandoned`` where another takes its place."""
    values = {"state": state, "exit_code": exit_code, "counts": counts, "finished_at": at}
    connection.execute(update(run).where(run.c.run_id == run_id).values(values))


def abandon_pending(connection: Connection, run_id: str, *, note: str) -> None:
    """Mark what an interrupted run had still to do as skipped."""
    pending = and_(run_action.c.run_id == run_id, run_action.c.outcome == Outcome.PENDING)
    values = {"outcome": Outcome.SKIPPED.value, "note": note}
    connection.execute(update(run_action).where(pending).values(values))


def get_run(connection: Connection, run_id: str) -> Row[Any] | None:
    """The run with this id."""
    return connection.execute(select(run).where(run.c.run_id == run_id)).one_or_none()


def list_runs(connection: Connection, *, limit: int) -> Sequence[Row[Any]]:
    """Runs, newest first."""
    newest = select(run).order_by(run.c.started_at.desc(), run.c.run_id.desc()).limit(limit)
    return connection.execute(newest).all()


def unfinished_runs(connection: Connection) -> Sequence[Row[Any]]:
    """Runs that were interrupted, oldest first."""
    unfinished = run.c.state.in_(("loading", "applying"))
    return connection.execute(select(run).where(unfinished).order_by(run.c.started_at)).all()


def is_unfinished(connection: Connection, command: str, job_id: str) -> bool:
    """Whether a run of this command has a step of the job's still to take, or was interrupted in it."""
    pending = (
        select(run_action.c.seq)
        .join(run, run.c.run_id == run_action.c.run_id)
        .where(
            run.c.state.in_(("loading", "applying")),
            run.c.command == command,
            run_action.c.job_id == job_id,
            run_action.c.outcome == Outcome.PENDING,
        )
    )
    return connection.execute(pending.limit(1)).first() is not None


def actions_of(connection: Connection, run_id: str, *, newest_first: bool = False) -> Iterator[Row[Any]]:
    """The steps of a run with their outcomes, in the order they were taken."""
    order = run_action.c.seq.desc() if newest_first else run_action.c.seq
    rows = select(run_action).where(run_action.c.run_id == run_id).order_by(order)
    return iter(connection.execution_options(yield_per=1000).execute(rows))


def to_action(row: Row[Any]) -> Action:
    """The action a journal row was made from."""
    columns = row._mapping
    fields = {name: columns[name] for name in _ACTION_FIELDS}
    fields["verb"] = Verb(fields["verb"])
    fields["path"] = None if fields["path"] is None else from_stored(fields["path"])
    fields["expect_file"] = FileIdentity(**fields["expect_file"]) if fields["expect_file"] else None
    fields["relies_on"] = _relied(fields["relies_on"]) if fields["relies_on"] else None
    return Action(**fields)


def ending_of(connection: Connection, run_id: str, job_id: str) -> Action | None:
    """The step by which a run ended a job for good, where the job is still as that step left it."""
    ending = and_(
        run_action.c.run_id == run_id,
        run_action.c.job_id == job_id,
        run_action.c.verb == Verb.EXPIRE.value,
        run_action.c.outcome == Outcome.DONE.value,
        job_exists(job.c.version == run_action.c.expect_version + 1, job.c.status == Status.EXPIRED.value),
    )
    row = connection.execute(select(run_action).where(ending)).one_or_none()
    return None if row is None else to_action(row)


def _relied(document: dict[str, Any]) -> Relied:
    identity = FileIdentity(**document["identity"])
    return Relied(document["root_id"], from_stored(document["path"]), identity)


def count_outcomes(connection: Connection, run_id: str) -> dict[str, int]:
    """How many steps of a run came to each outcome."""
    counted = (
        select(run_action.c.outcome, func.count())
        .where(run_action.c.run_id == run_id)
        .group_by(run_action.c.outcome)
    )
    return {outcome: count for outcome, count in connection.execute(counted)}  # noqa: C416 - typed rows


def next_pending(connection: Connection, run_id: str, *, start: int = 0) -> int | None:
    """The lowest step from ``start`` on that is still to be taken."""
    lowest = select(func.min(run_action.c.seq)).where(
        run_action.c.run_id == run_id, run_action.c.seq >= start, run_action.c.outcome == Outcome.PENDING
    )
    seq: int | None = connection.execute(lowest).scalar_one()
    return seq


def files_to_check(connection: Connection, run_id: str, low: int, high: int) -> list[FileToCheck]:
    """The files that the pending steps ``low`` ≤ seq < ``high`` rest on."""
    columns = select(
        run_action.c.seq, run_action.c.root_id, run_action.c.path, run_action.c.expect_file
    ).where(
        still_pending(run_id, low, high), is_one_of(_RESTS_ON_FILE), run_action.c.expect_file.is_not(None)
    )
    return [
        FileToCheck(seq, root_id, from_stored(path), FileIdentity(**identity))
        for seq, root_id, path, identity in connection.execute(columns)
    ]


def next_move(connection: Connection, run_id: str, *, start: int = 0) -> int | None:
    """The lowest step from ``start`` on that is still to move a file."""
    lowest = select(func.min(run_action.c.seq)).where(
        run_action.c.run_id == run_id,
        run_action.c.seq >= start,
        run_action.c.outcome == Outcome.PENDING,
        is_one_of(MOVES),
    )
    seq: int | None = connection.execute(lowest).scalar_one()
    return seq


def pending_moves(connection: Connection, run_id: str, start: int, *, limit: int) -> list[Action]:
    """The next pending steps from ``start`` on, as far as they do the same to files of one root."""
    pending = and_(
        run_action.c.run_id == run_id,
        run_action.c.seq >= start,
        run_action.c.outcome == Outcome.PENDING.value,
    )
    rows = connection.execute(select(run_action).where(pending).order_by(run_action.c.seq).limit(limit))
    steps: list[Action] = []
    for row in rows:
        step = to_action(row)
        if step.verb not in MOVES or (steps and _manner(step) != _manner(steps[0])):
            break
        steps.append(step)
    return steps


def _manner(step: Action) -> tuple[str, str | None, str]:
    return step.verb.value, step.root_id, (step.entry or "").partition("/")[0]


def pending_among(connection: Connection, run_id: str, low: int, high: int) -> set[int]:
    """The numbers of the steps ``low`` ≤ seq < ``high`` that are still to be taken."""
    found = select(run_action.c.seq).where(still_pending(run_id, low, high))
    return set(connection.execute(found).scalars())


def jobs_to_expire(connection: Connection, run_id: str, low: int, high: int) -> list[tuple[int, str]]:
    """Number and job id of the pending steps ``low`` ≤ seq < ``high`` that end a job for good."""
    columns = select(run_action.c.seq, run_action.c.job_id)
    rows = connection.execute(
        columns.where(still_pending(run_id, low, high), run_action.c.verb == Verb.EXPIRE.value)
    )
    return [(seq, job_id) for seq, job_id in rows]


def note_steps(connection: Connection, run_id: str, notes: Iterable[tuple[int, str]]) -> None:
    """Say something of steps whose outcome is still to be recorded."""
    for seq, note in notes:
        step = and_(run_action.c.run_id == run_id, run_action.c.seq == seq)
        connection.execute(update(run_action).where(step).values(note=note))


def has_note(connection: Connection, run_id: str, note: str) -> bool:
    """Whether a step of a run bears this very note."""
    noted = select(run_action.c.seq).where(run_action.c.run_id == run_id, run_action.c.note == note)
    return connection.execute(noted.limit(1)).one_or_none() is not None


def unmoved(connection: Connection, command: str, *, runs: int) -> Iterator[Action]:
    """The files that the last ``runs`` runs of a command were to move into quarantine and could not."""
    recent = select(run.c.run_id).where(run.c.command == command).order_by(run.c.started_at.desc())
    still_there = run_action.c.outcome.in_(
        [Outcome.PENDING.value, Outcome.SKIPPED.value, Outcome.FAILED.value]
    )
    steps = select(run_action).where(
        run_action.c.run_id.in_(recent.limit(runs)),
        run_action.c.verb == Verb.QUARANTINE.value,
        still_there,
        job_exists(job.c.status == Status.EXPIRED.value, job.c.version == run_action.c.expect_version),
    )
    yield from map(to_action, connection.execute(steps.order_by(run_action.c.run_id, run_action.c.seq)))


def done_in_like_runs(connection: Connection, command: str, category: str, *, runs: int) -> list[int]:
    """How many items of a category each of the last ``runs`` runs of a command took, if any.

    A job that went with its file was two steps, and is one item.
    """
    recent = (
        select(run.c.run_id)
        .where(run.c.command == command, run.c.state == "finished")
        .order_by(run.c.started_at.desc())
        .limit(runs)
    )
    files = func.sum(case((is_one_of(MOVES), 1), else_=0))
    counted = (
        select(func.count(), files)
        .where(
            run_action.c.run_id.in_(recent),
            run_action.c.category == category,
            run_action.c.outcome == Outcome.DONE.value,
        )
        .group_by(run_action.c.run_id)
    )
    return [max(moved, steps - moved) for steps, moved in connection.execute(counted)]


def mark_steps(connection: Connection, run_id: str, marks: Iterable[Mark]) -> None:
    """Record the outcome of steps that are not taken."""
    for mark in marks:
        step = and_(run_action.c.run_id == run_id, run_action.c.seq == mark.seq)
        values = {"outcome": mark.outcome.value, "note": mark.note}
        connection.execute(update(run_action).where(step).values(values))


def job_documents(
    connection: Connection, job_ids: Sequence[str], *, with_version: bool = False
) -> dict[str, dict[str, Any]]:
    """Whole job rows in the form plans carry; ``with_version``: and the version they have now."""
    if not job_ids:
        return {}
    columns = [*JOB_COLUMNS, job.c.version] if with_version else JOB_COLUMNS
    rows = connection.execute(select(*columns).where(job.c.job_id.in_(job_ids)))
    return {row.job_id: _document(row) for row in rows}


def artifact_documents(
    connection: Connection, job_ids: Sequence[str]
) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    """Whole artifact rows in the form plans carry, by job, then by root id and stored path."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    if not job_ids:
        return found
    rows = connection.execute(
        select(*ARTIFACT_COLUMNS, artifact.c.version).where(artifact.c.job_id.in_(job_ids))
    )
    for row in rows:
        found.setdefault(row.job_id, {})[row.root_id, row.path] = _document(row)
    return found


def undone_steps(connection: Connection, run_id: str) -> set[tuple[str, str | None, str | None]]:
    """The steps of a run that earlier undos have taken back already, as job, root and stored path."""
    done = (
        select(run_action.c.job_id, run_action.c.root_id, run_action.c.path)
        .join(run, run.c.run_id == run_action.c.run_id)
        .where(run.c.undo_of == run_id, run_action.c.outcome == Outcome.DONE)
    )
    return {(job_id, root_id, path) for job_id, root_id, path in connection.execute(done)}


_ACTION_FIELDS = tuple(name for name in Action.__dataclass_fields__ if name in run_action.c)


def _journal_values(action: Action) -> Iterator[Any]:
    """The fields of an action as a driver takes them: JSON as text, the path in its stored form."""
    for name in _ACTION_FIELDS:
        value = getattr(action, name)
        if name == "path" and value is not None:
            value = to_stored(value)
        elif name == "expect_file" and value is not None:
            value = json.dumps(value._asdict())
        elif name == "relies_on" and value is not None:
            identity = value.identity._asdict()
            value = json.dumps(
                {"root_id": value.root_id, "path": to_stored(value.path), "identity": identity}
            )
        elif isinstance(value, dict):
            value = json.dumps(value)
        yield value


def _document(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    return {
        name: format_timestamp(value) if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
