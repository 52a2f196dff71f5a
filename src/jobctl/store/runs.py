"""Runs: a plan loaded into the store, applied chunk by chunk, each step journalled.

A chunk is applied set by set inside one transaction: steps whose conditions no longer
hold are marked first, the rest is written from the documents the plan carries, and the
outcome is recorded with it. Killed anywhere, a chunk is either wholly there or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from jobctl.core.expiry import CATEGORY as EXPIRE
from jobctl.model.files import FileIdentity
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import MOVES, Action, Outcome, Relied, Verb
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp
from jobctl.store import transfer
from jobctl.store.dialect import Dialect, bulk_insert
from jobctl.store.document import DocumentReader
from jobctl.store.schema import (
    Document,
    artifact,
    declined,
    event,
    job,
    job_body,
    pin,
    run,
    run_action,
    tombstone,
)

_JOB_COLUMNS = [column for column in job.c if column.name not in {"version", "updated_at"}]
_ARTIFACT_COLUMNS = [column for column in artifact.c if column.name not in {"version", "run_id"}]

_BODY = Column("body", Document)
_BATCH = 200

# What each verb does to the job's row; to its artifact's row it does what the documents say.
_MAKES_JOB = frozenset({Verb.CREATE})
_CHANGES_JOB = frozenset({Verb.COMPLETE, Verb.FAIL, Verb.REQUEUE, Verb.EXPIRE, Verb.REVERT})
# These rest on its worker being dead: a heartbeat since proves that it is not.
_BURIES_ATTEMPT = frozenset({Verb.FAIL, Verb.REQUEUE})
_ENDS_FOR_GOOD = frozenset({Verb.EXPIRE})
_REMOVES_JOB = frozenset({Verb.FORGET})
_IMPORTS_JOB = frozenset({Verb.IMPORT})
_LEAVES_JOB = frozenset({Verb.LINK, Verb.NOTE_MISSING, Verb.UNLINK, Verb.UNNOTE})
_makes_artifact = and_(run_action.c.artifact_before.is_(None), run_action.c.artifact_after.is_not(None))
_changes_artifact = and_(run_action.c.artifact_before.is_not(None), run_action.c.artifact_after.is_not(None))
_removes_artifact = and_(run_action.c.artifact_before.is_not(None), run_action.c.artifact_after.is_(None))

# Taking something back rests on records alone: it works as well when the file is gone.
_RESTS_ON_FILE = frozenset({Verb.CREATE, Verb.COMPLETE, Verb.LINK})
# Taking these back leaves a mark, so that the next recover does not do them again.
_DECLINING = frozenset({Verb.FORGET, Verb.REVERT, Verb.UNLINK})

_EVENT_KINDS = {
    Verb.CREATE: "recovered",
    Verb.COMPLETE: "status",
    Verb.FAIL: "status",
    Verb.LINK: "artifact",
    Verb.NOTE_MISSING: "artifact",
    Verb.IMPORT: "imported",
    Verb.REQUEUE: "status",
    Verb.EXPIRE: "status",
    Verb.QUARANTINE: "quarantined",
    Verb.RESTORE: "restored",
    Verb.PURGE: "purged",
    Verb.FORGET: "undone",
    Verb.REVERT: "undone",
    Verb.UNLINK: "undone",
    Verb.UNNOTE: "undone",
}

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
        _job_exists(job.c.version == run_action.c.expect_version + 1, job.c.status == Status.EXPIRED.value),
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
    ).where(_pending(run_id, low, high), _is_one_of(_RESTS_ON_FILE), run_action.c.expect_file.is_not(None))
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
        _is_one_of(MOVES),
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


def refuse_moves(connection: Connection, run_id: str, low: int, high: int, *, at: datetime) -> None:
    """Mark the pending moves ``low`` ≤ seq < ``high`` whose records no longer are as planned."""
    chunk = _Chunk(connection, run_id, _pending(run_id, low, high), actor="", at=at)
    chunk.resolve(MOVES, _conflicts_of_moving())


def pending_among(connection: Connection, run_id: str, low: int, high: int) -> set[int]:
    """The numbers of the steps ``low`` ≤ seq < ``high`` that are still to be taken."""
    found = select(run_action.c.seq).where(_pending(run_id, low, high))
    return set(connection.execute(found).scalars())


def jobs_to_expire(connection: Connection, run_id: str, low: int, high: int) -> list[tuple[int, str]]:
    """Number and job id of the pending steps ``low`` ≤ seq < ``high`` that end a job for good."""
    columns = select(run_action.c.seq, run_action.c.job_id)
    rows = connection.execute(columns.where(_pending(run_id, low, high), _is_one_of(_ENDS_FOR_GOOD)))
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
        _job_exists(job.c.status == Status.EXPIRED.value, job.c.version == run_action.c.expect_version),
    )
    yield from map(to_action, connection.execute(steps.order_by(run_action.c.run_id, run_action.c.seq)))


def done_in_like_runs(connection: Connection, command: str, category: str, *, runs: int) -> list[int]:
    """How many steps of a category each of the last ``runs`` runs of a command took, if any."""
    recent = (
        select(run.c.run_id)
        .where(run.c.command == command, run.c.state == "finished")
        .order_by(run.c.started_at.desc())
        .limit(runs)
    )
    counted = (
        select(func.count())
        .where(
            run_action.c.run_id.in_(recent),
            run_action.c.category == category,
            run_action.c.outcome == Outcome.DONE.value,
        )
        .group_by(run_action.c.run_id)
    )
    return list(connection.execute(counted).scalars())


def mark_steps(connection: Connection, run_id: str, marks: Iterable[Mark]) -> None:
    """Record the outcome of steps that are not taken."""
    for mark in marks:
        step = and_(run_action.c.run_id == run_id, run_action.c.seq == mark.seq)
        values = {"outcome": mark.outcome.value, "note": mark.note}
        connection.execute(update(run_action).where(step).values(values))


def apply_chunk(
    connection: Connection, run_id: str, low: int, high: int, *, actor: str, at: datetime
) -> None:
    """Take the pending steps ``low`` ≤ seq < ``high`` of a run. The caller commits."""
    chunk = _Chunk(connection, run_id, _pending(run_id, low, high), actor=actor, at=at)
    verbs = chunk.verbs()
    if verbs & _MAKES_JOB:
        chunk.resolve(_MAKES_JOB, _conflicts_of_creating())
        chunk.insert_jobs()
    if verbs & _IMPORTS_JOB:
        chunk.resolve(_IMPORTS_JOB, _conflicts_of_importing())
        chunk.import_jobs()
    if verbs & _CHANGES_JOB:
        chunk.resolve(_BURIES_ATTEMPT, chunk.conflicts_of_burying())
        chunk.resolve(_CHANGES_JOB, _conflicts_of_changing())
        chunk.update_jobs()
        chunk.write_tombstones()
    if verbs & (_MAKES_JOB | _CHANGES_JOB):
        chunk.write_artifacts(_MAKES_JOB | _CHANGES_JOB)
    if verbs & _LEAVES_JOB:
        chunk.resolve(_LEAVES_JOB, _conflicts_of_linking())
        chunk.write_artifacts(_LEAVES_JOB)
    if verbs & MOVES:
        chunk.resolve(MOVES, _conflicts_of_moving())
        chunk.write_artifacts(MOVES)
        chunk.write_pins()
    if verbs & _REMOVES_JOB:
        chunk.resolve(_REMOVES_JOB, _conflicts_of_removing(chunk.was_imported()))
        chunk.keep_changed_imports()
        chunk.remove_artifacts(_REMOVES_JOB)
        chunk.remove_jobs()
    chunk.record_events()
    if verbs & _DECLINING:
        chunk.decline_files()
    chunk.finish()


def job_documents(
    connection: Connection, job_ids: Sequence[str], *, with_version: bool = False
) -> dict[str, dict[str, Any]]:
    """Whole job rows in the form plans carry; ``with_version``: and the version they have now."""
    if not job_ids:
        return {}
    columns = [*_JOB_COLUMNS, job.c.version] if with_version else _JOB_COLUMNS
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
        select(*_ARTIFACT_COLUMNS, artifact.c.version).where(artifact.c.job_id.in_(job_ids))
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


class _Chunk:
    """The statements that take one range of steps, all in the caller's transaction."""

    def __init__(
        self, connection: Connection, run_id: str, pending: ColumnElement[bool], *, actor: str, at: datetime
    ) -> None:
        self.connection = connection
        self.run_id = run_id
        self.pending = pending
        self.actor = actor
        self.at = at
        self.read = DocumentReader(connection)

    def verbs(self) -> set[str]:
        """The verbs among the pending steps."""
        found = select(run_action.c.verb).where(self.pending).distinct()
        return set(self.connection.execute(found).scalars())

    def resolve(
        self, verbs: frozenset[Verb], rules: Sequence[tuple[ColumnElement[bool], Outcome, str]]
    ) -> None:
        """Mark the steps whose conditions no longer hold; the first rule that fits names the reason."""
        for condition, outcome, note in rules:
            values = {"outcome": outcome.value, "note": note, "applied_at": self.at}
            self.connection.execute(
                update(run_action).where(self.pending, _is_one_of(verbs), condition).values(values)
            )

    def insert_jobs(self) -> None:
        fields = [self.read.field(run_action.c.job_after, column) for column in _JOB_COLUMNS]
        rows = self._steps(_MAKES_JOB, *fields, literal(1), literal(self.at, job.c.updated_at.type))
        names = [column.name for column in _JOB_COLUMNS]
        self.connection.execute(insert(job).from_select([*names, "version", "updated_at"], rows))

    def update_jobs(self) -> None:
        values = {column.name: self.read.field(run_action.c.job_after, column) for column in _JOB_COLUMNS}
        changed = (
            update(job)
            .where(self.pending, _is_one_of(_CHANGES_JOB), job.c.job_id == run_action.c.job_id)
            .values(**values, version=job.c.version + 1, updated_at=self.at)
        )
        self.connection.execute(changed)

    def conflicts_of_burying(self) -> list[tuple[ColumnElement[bool], Outcome, str]]:
        beat = self.read.field(run_action.c.job_before, job.c.last_heartbeat)
        came_back = _job_exists(job.c.last_heartbeat.is_distinct_from(beat))
        return [(came_back, Outcome.CONFLICT, "its worker showed a sign of life since")]

    def write_tombstones(self) -> None:
        """Bury the jobs that end for good; unbury those that are put back."""
        gone = self._steps(_ENDS_FOR_GOOD, run_action.c.job_id)
        back = self._steps(frozenset({Verb.REVERT}), run_action.c.job_id).where(
            run_action.c.from_status == Status.EXPIRED.value
        )
        self.connection.execute(delete(tombstone).where(tombstone.c.job_id.in_(gone)))
        self.connection.execute(
            delete(tombstone).where(tombstone.c.job_id.in_(back), tombstone.c.cause == Status.EXPIRED.value)
        )
        at, cause = literal(self.at, tombstone.c.at.type), literal(Status.EXPIRED.value)
        rows = self._steps(_ENDS_FOR_GOOD, run_action.c.job_id, at, cause, literal(self.actor))
        self.connection.execute(insert(tombstone).from_select(["job_id", "at", "cause", "actor"], rows))

    def write_pins(self) -> None:
        """A file that is given back without its record stays: else the next cleanup would take it again."""
        is_idle = or_(
            run_action.c.artifact_after.is_(None), _job_exists(job.c.status == Status.EXPIRED.value)
        )
        place = self._steps(frozenset({Verb.RESTORE}), run_action.c.root_id, run_action.c.path).where(is_idle)
        self.connection.execute(delete(pin).where(tuple_(pin.c.root_id, pin.c.path).in_(place)))
        identity = [
            self.read.field(run_action.c.expect_file, column)
            for column in (pin.c.inode, pin.c.size, pin.c.mtime_ns)
        ]
        rows = self._steps(
            frozenset({Verb.RESTORE}),
            run_action.c.root_id,
            run_action.c.path,
            *identity,
            literal(self.at, pin.c.at.type),
            literal(self.run_id),
        ).where(is_idle, run_action.c.expect_file.is_not(None))
        names = ["root_id", "path", "inode", "size", "mtime_ns", "at", "run_id"]
        self.connection.execute(insert(pin).from_select(names, rows))

    def write_artifacts(self, verbs: frozenset[Verb]) -> None:
        self._insert_artifacts(verbs)
        self._update_artifacts(verbs)
        self.remove_artifacts(verbs)

    def _insert_artifacts(self, verbs: frozenset[Verb]) -> None:
        fields = [self.read.field(run_action.c.artifact_after, column) for column in _ARTIFACT_COLUMNS]
        rows = self._steps(verbs, *fields, literal(self.run_id), literal(1)).where(_makes_artifact)
        names = [column.name for column in _ARTIFACT_COLUMNS]
        self.connection.execute(insert(artifact).from_select([*names, "run_id", "version"], rows))

    def _update_artifacts(self, verbs: frozenset[Verb]) -> None:
        values = {
            column.name: self.read.field(run_action.c.artifact_after, column) for column in _ARTIFACT_COLUMNS
        }
        changed = (
            update(artifact)
            .where(self.pending, _is_one_of(verbs), _changes_artifact, _same_artifact())
            .values(**values, version=artifact.c.version + 1)
        )
        self.connection.execute(changed)

    def remove_artifacts(self, verbs: frozenset[Verb]) -> None:
        gone = self._steps(verbs, run_action.c.job_id, run_action.c.root_id, run_action.c.path).where(
            _removes_artifact
        )
        places = tuple_(artifact.c.job_id, artifact.c.root_id, artifact.c.path)
        self.connection.execute(delete(artifact).where(places.in_(gone)))

    def was_imported(self) -> ColumnElement[bool]:
        """Whether a step takes an import back: only an imported record carries a body."""
        return self.read.field(run_action.c.job_before, _BODY).is_not(None)

    def import_jobs(self) -> None:
        """Write imported records, some at a time: their payloads may be large."""
        document = run_action.c.job_after
        for batch in self._batches(_IMPORTS_JOB, run_action.c.job_id, document):
            written = transfer.insert_records(self.connection, [row.job_after for row in batch], at=self.at)
            taken = [row.seq for row in batch if row.job_id not in written]
            note = "its id or its idempotency key was taken since"
            mark_steps(self.connection, self.run_id, [Mark(seq, Outcome.CONFLICT, note) for seq in taken])

    def keep_changed_imports(self) -> None:
        """Mark the steps that would take back a record whose files are no longer those imported."""
        files = run_action.c.job_before["body"]["artifacts"].label("files")
        for batch in self._batches(_REMOVES_JOB, run_action.c.job_id, files, only=self.was_imported()):
            imported = {
                (row.job_id, file["root_id"], file["path"], 1) for row in batch for file in row.files or []
            }
            columns = (artifact.c.job_id, artifact.c.root_id, artifact.c.path, artifact.c.version)
            there = select(*columns).where(artifact.c.job_id.in_([row.job_id for row in batch]))
            changed = {file.job_id for file in self.connection.execute(there) if tuple(file) not in imported}
            note = "its files were changed since"
            marks = [Mark(row.seq, Outcome.CONFLICT, note) for row in batch if row.job_id in changed]
            mark_steps(self.connection, self.run_id, marks)

    def _batches(
        self, verbs: frozenset[Verb], *columns: ColumnElement[Any], only: ColumnElement[bool] | None = None
    ) -> Iterator[Sequence[Row[Any]]]:
        """The pending steps of these verbs, some at a time; a step that is marked meanwhile is passed."""
        last = -1
        while True:
            steps = self._steps(verbs, run_action.c.seq, *columns).where(run_action.c.seq > last)
            steps = steps if only is None else steps.where(only)
            batch = self.connection.execute(steps.order_by(run_action.c.seq).limit(_BATCH)).all()
            if not batch:
                return
            yield batch
            last = batch[-1].seq

    def remove_jobs(self) -> None:
        gone = self._steps(_REMOVES_JOB, run_action.c.job_id)
        imported = gone.where(self.was_imported())
        self.connection.execute(delete(artifact).where(artifact.c.job_id.in_(imported)))
        self.connection.execute(delete(job_body).where(job_body.c.job_id.in_(gone)))
        self.connection.execute(delete(job).where(job.c.job_id.in_(gone)))

    def record_events(self) -> None:
        known = case(
            (run_action.c.job_after.is_not(None), run_action.c.job_after), else_=run_action.c.job_before
        )
        rows = self._steps(
            frozenset(Verb),
            run_action.c.job_id,
            literal(self.at, event.c.at.type),
            case(dict(_EVENT_KINDS), value=run_action.c.verb),
            literal(self.actor),
            literal(self.run_id),
            self.read.field(known, event.c.attempt),
            run_action.c.from_status,
            run_action.c.to_status,
            self.read.make(
                verb=run_action.c.verb,
                reason=run_action.c.reason,
                root_id=run_action.c.root_id,
                path=run_action.c.path,
            ),
        ).where(run_action.c.job_id != NO_JOB)
        rows = rows.order_by(run_action.c.seq)
        names = ["job_id", "at", "kind", "actor", "run_id", "attempt", "from_status", "to_status", "detail"]
        self.connection.execute(insert(event).from_select(names, rows))

    def decline_files(self) -> None:
        """Leave a mark for each file, or record without one, whose recovery is being taken back."""
        is_marked = or_(
            run_action.c.expect_file.is_not(None),
            and_(run_action.c.verb == Verb.FORGET, ~self.was_imported()),
        )
        place = [
            run_action.c.job_id,
            func.coalesce(run_action.c.root_id, NO_FILE),
            func.coalesce(run_action.c.path, NO_FILE),
        ]
        places = tuple_(declined.c.job_id, declined.c.root_id, declined.c.path)
        marked = self._steps(_DECLINING, *place).where(is_marked)
        self.connection.execute(delete(declined).where(places.in_(marked)))
        identity = [
            func.coalesce(self.read.field(run_action.c.expect_file, column), 0)
            for column in (declined.c.inode, declined.c.size, declined.c.mtime_ns)
        ]
        moment = literal(self.at, declined.c.at.type)
        rows = self._steps(_DECLINING, *place, *identity, moment, literal(self.run_id)).where(is_marked)
        names = ["job_id", "root_id", "path", "inode", "size", "mtime_ns", "at", "run_id"]
        self.connection.execute(insert(declined).from_select(names, rows))

    def finish(self) -> None:
        values = {"outcome": Outcome.DONE.value, "applied_at": self.at}
        self.connection.execute(update(run_action).where(self.pending).values(values))

    def _steps(self, verbs: frozenset[Verb], *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).select_from(run_action).where(self.pending, _is_one_of(verbs))


def _is_one_of(verbs: frozenset[Verb]) -> ColumnElement[bool]:
    return run_action.c.verb.in_(sorted(verb.value for verb in verbs))


def _pending(run_id: str, low: int, high: int) -> ColumnElement[bool]:
    return and_(
        run_action.c.run_id == run_id,
        run_action.c.seq >= low,
        run_action.c.seq < high,
        run_action.c.outcome == Outcome.PENDING.value,
    )


def _job_exists(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(job.c.job_id == run_action.c.job_id, *conditions)


def _same_artifact() -> ColumnElement[bool]:
    return and_(
        artifact.c.job_id == run_action.c.job_id,
        artifact.c.root_id == run_action.c.root_id,
        artifact.c.path == run_action.c.path,
    )


def _artifact_as_expected() -> ColumnElement[bool]:
    version = run_action.c.artifact_before["version"].as_integer()
    return exists().where(_same_artifact(), artifact.c.version == version)


def _artifact_conflicts(outcome_if_there: Outcome) -> list[tuple[ColumnElement[bool], Outcome, str]]:
    return [
        (
            and_(run_action.c.artifact_before.is_not(None), ~_artifact_as_expected()),
            Outcome.CONFLICT,
            "its artifact was changed since",
        ),
        (
            and_(_makes_artifact, exists().where(_same_artifact())),
            outcome_if_there,
            "the file is linked to the job already",
        ),
    ]


def _conflicts_of_creating() -> list[tuple[ColumnElement[bool], Outcome, str]]:
    buried = exists().where(tombstone.c.job_id == run_action.c.job_id, tombstone.c.closed_at.is_(None))
    return [
        (buried, Outcome.CONFLICT, "the job was deleted since"),
        (_job_exists(job.c.status == run_action.c.to_status), Outcome.ALREADY, "it is recorded already"),
        (_job_exists(), Outcome.CONFLICT, "another record of this job was made since"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]


def _conflicts_of_importing() -> list[tuple[ColumnElement[bool], Outcome, str]]:
    buried, *_ = _conflicts_of_creating()
    return [buried, (_job_exists(), Outcome.CONFLICT, "a record of this job was made since")]


def _conflicts_of_changing() -> list[tuple[ColumnElement[bool], Outcome, str]]:
    as_expected = _job_exists(job.c.version == run_action.c.expect_version)
    return [
        (~_job_exists(), Outcome.CONFLICT, "the record is gone"),
        (
            and_(~as_expected, _job_exists(job.c.status == run_action.c.to_status)),
            Outcome.ALREADY,
            "its record says so already",
        ),
        (~as_expected, Outcome.CONFLICT, "the record was changed since"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]


def _conflicts_of_linking() -> list[tuple[ColumnElement[bool], Outcome, str]]:
    return [
        (~_job_exists(), Outcome.CONFLICT, "its job has no record"),
        *_artifact_conflicts(Outcome.ALREADY),
    ]


def _conflicts_of_moving() -> list[tuple[ColumnElement[bool], Outcome, str]]:
    """Why a file may not be moved: someone refers to it now, or its record is another than was planned on."""
    takes_away = run_action.c.verb != Verb.RESTORE.value
    takes_now = run_action.c.verb == Verb.QUARANTINE.value
    is_here = and_(artifact.c.root_id == run_action.c.root_id, artifact.c.path == run_action.c.path)
    is_present = and_(is_here, artifact.c.state == "present")
    is_own = artifact.c.job_id == run_action.c.job_id
    is_live = and_(job.c.job_id == artifact.c.job_id, job.c.status != Status.EXPIRED.value)
    refers = or_(and_(is_own, run_action.c.artifact_before.is_(None)), and_(~is_own, exists().where(is_live)))
    needs_video = _job_exists(job.c.status == Status.COMPLETED.value)
    is_its_video = and_(is_present, is_own, artifact.c.role == "video")
    is_unplanned = and_(run_action.c.expect_version.is_(None), _job_exists())
    is_changed = and_(
        run_action.c.expect_version.is_not(None),
        ~_job_exists(job.c.version == run_action.c.expect_version),
    )
    # One version more than was planned on is not enough: another writer may have made it.
    goes_with_job = and_(takes_now, run_action.c.category == EXPIRE)
    is_alive = ~_job_exists(job.c.status == Status.EXPIRED.value)
    return [
        (and_(takes_now, exists().where(is_present, refers)), Outcome.CONFLICT, "a record refers to it now"),
        (
            and_(takes_now, needs_video, exists().where(is_its_video)),
            Outcome.CONFLICT,
            "it is the video of a completed record",
        ),
        (and_(takes_away, is_unplanned), Outcome.CONFLICT, "a record of its job was made since"),
        (and_(takes_away, is_changed), Outcome.CONFLICT, "its record was changed since"),
        (and_(goes_with_job, is_alive), Outcome.CONFLICT, "its job has not expired"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]


def _conflicts_of_removing(
    was_imported: ColumnElement[bool],
) -> list[tuple[ColumnElement[bool], Outcome, str]]:
    as_expected = _job_exists(job.c.version == run_action.c.expect_version)
    other_files = exists().where(
        artifact.c.job_id == run_action.c.job_id,
        or_(artifact.c.root_id != run_action.c.root_id, artifact.c.path != run_action.c.path),
    )
    return [
        (~_job_exists(), Outcome.ALREADY, "the record is gone already"),
        (~as_expected, Outcome.CONFLICT, "the record was changed since"),
        (and_(~was_imported, other_files), Outcome.CONFLICT, "other files were linked to the job since"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]


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
