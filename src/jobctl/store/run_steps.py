"""The steps of a run, taken chunk by chunk.

A chunk is taken set by set inside one transaction: steps whose conditions no longer hold are
marked first, the rest is written from the documents the plan carries, and the outcome is
recorded with it. Killed anywhere, a chunk is either wholly there or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from jobctl.model.plan import MOVES, Outcome, Verb
from jobctl.model.status import Status
from jobctl.store import transfer
from jobctl.store.document import DocumentReader
from jobctl.store.run_rules import (
    Rule,
    changes_artifact,
    conflicts_of_changing,
    conflicts_of_creating,
    conflicts_of_ending,
    conflicts_of_importing,
    conflicts_of_linking,
    conflicts_of_moving,
    conflicts_of_removing,
    is_one_of,
    job_exists,
    makes_artifact,
    removes_artifact,
    same_artifact,
    still_pending,
)
from jobctl.store.runs import ARTIFACT_COLUMNS, JOB_COLUMNS, NO_FILE, NO_JOB, Mark, mark_steps
from jobctl.store.schema import Document, artifact, declined, event, job, job_body, pin, run_action, tombstone

_BODY = Column("body", Document)
_BATCH = 200

# What each verb does to the job's row; to its artifact's row it does what the documents say.
_MAKES_JOB = frozenset({Verb.CREATE})
_CHANGES_JOB = frozenset({Verb.COMPLETE, Verb.FAIL, Verb.REQUEUE, Verb.EXPIRE, Verb.REVERT})
# These rest on its worker being dead: a heartbeat since proves that it is not.
_BURIES_ATTEMPT = frozenset({Verb.FAIL, Verb.REQUEUE})
_ENDS_ATTEMPT = _BURIES_ATTEMPT | {Verb.COMPLETE}
_ENDS_FOR_GOOD = frozenset({Verb.EXPIRE})
_REMOVES_JOB = frozenset({Verb.FORGET})
_IMPORTS_JOB = frozenset({Verb.IMPORT})
_LEAVES_JOB = frozenset({Verb.LINK, Verb.NOTE_MISSING, Verb.UNLINK, Verb.UNNOTE})

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


def apply_chunk(
    connection: Connection, run_id: str, low: int, high: int, *, actor: str, at: datetime
) -> None:
    """Take the pending steps ``low`` ≤ seq < ``high`` of a run. The caller commits."""
    chunk = _Chunk(connection, run_id, still_pending(run_id, low, high), actor=actor, at=at)
    verbs = chunk.verbs()
    if verbs - _MAKES_JOB - _IMPORTS_JOB:
        chunk.hold_jobs()
    if verbs & _MAKES_JOB:
        chunk.resolve(_MAKES_JOB, conflicts_of_creating())
        chunk.insert_jobs()
    if verbs & _IMPORTS_JOB:
        chunk.resolve(_IMPORTS_JOB, conflicts_of_importing())
        chunk.import_jobs()
    if verbs & _CHANGES_JOB:
        chunk.resolve(_ENDS_ATTEMPT, conflicts_of_ending())
        chunk.resolve(_BURIES_ATTEMPT, chunk.conflicts_of_burying())
        chunk.resolve(_CHANGES_JOB, conflicts_of_changing())
        chunk.update_jobs()
        chunk.write_tombstones()
    if verbs & (_MAKES_JOB | _CHANGES_JOB):
        chunk.write_artifacts(_MAKES_JOB | _CHANGES_JOB)
    if verbs & _LEAVES_JOB:
        chunk.resolve(_LEAVES_JOB, conflicts_of_linking())
        chunk.write_artifacts(_LEAVES_JOB)
    if verbs & MOVES:
        chunk.resolve(MOVES, conflicts_of_moving())
        chunk.write_artifacts(MOVES)
        chunk.write_pins()
    if verbs & _REMOVES_JOB:
        chunk.resolve(_REMOVES_JOB, conflicts_of_removing(chunk.was_imported()))
        chunk.keep_changed_imports()
        chunk.remove_artifacts(_REMOVES_JOB)
        chunk.remove_jobs()
    chunk.record_events()
    if verbs & _DECLINING:
        chunk.decline_files()
    chunk.finish()


def refuse_moves(connection: Connection, run_id: str, low: int, high: int, *, at: datetime) -> None:
    """Mark the pending moves ``low`` ≤ seq < ``high`` whose records no longer are as planned."""
    chunk = _Chunk(connection, run_id, still_pending(run_id, low, high), actor="", at=at)
    chunk.resolve(MOVES, conflicts_of_moving())


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

    def hold_jobs(self) -> None:
        """Let no other writer come between what is checked of a record and what is written to it."""
        if self.connection.dialect.name == "sqlite":
            return
        steps = select(run_action.c.job_id).where(self.pending)
        held = select(job.c.job_id).where(job.c.job_id.in_(steps)).order_by(job.c.job_id).with_for_update()
        self.connection.execute(select(func.count()).select_from(held.subquery()))

    def verbs(self) -> set[str]:
        """The verbs among the pending steps."""
        found = select(run_action.c.verb).where(self.pending).distinct()
        return set(self.connection.execute(found).scalars())

    def resolve(self, verbs: frozenset[Verb], rules: Sequence[Rule]) -> int:
        """Mark the steps whose conditions no longer hold, by the first rule that fits; how many they are."""
        marked = 0
        for condition, outcome, note in rules:
            values = {"outcome": outcome.value, "note": note, "applied_at": self.at}
            steps = update(run_action).where(self.pending, is_one_of(verbs), condition)
            marked += self.connection.execute(steps.values(values)).rowcount
        return marked

    def insert_jobs(self) -> None:
        fields = [self.read.field(run_action.c.job_after, column) for column in JOB_COLUMNS]
        rows = self._steps(_MAKES_JOB, *fields, literal(1), literal(self.at, job.c.updated_at.type))
        names = [column.name for column in JOB_COLUMNS]
        made = insert(job).from_select([*names, "version", "updated_at"], rows)
        while True:
            try:
                with self.connection.begin_nested():
                    self.connection.execute(made)
            except IntegrityError:
                # Somebody made one of these records meanwhile: nothing holds what is not there.
                if not self.resolve(_MAKES_JOB, conflicts_of_creating()):
                    raise
            else:
                return

    def update_jobs(self) -> None:
        values = {column.name: self.read.field(run_action.c.job_after, column) for column in JOB_COLUMNS}
        changed = (
            update(job)
            .where(self.pending, is_one_of(_CHANGES_JOB), job.c.job_id == run_action.c.job_id)
            .values(**values, version=job.c.version + 1, updated_at=self.at)
        )
        self.connection.execute(changed)

    def conflicts_of_burying(self) -> list[Rule]:
        beat = self.read.field(run_action.c.job_before, job.c.last_heartbeat)
        came_back = job_exists(job.c.last_heartbeat.is_distinct_from(beat))
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
        is_idle = or_(run_action.c.artifact_after.is_(None), job_exists(job.c.status == Status.EXPIRED.value))
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
        fields = [self.read.field(run_action.c.artifact_after, column) for column in ARTIFACT_COLUMNS]
        rows = self._steps(verbs, *fields, literal(self.run_id), literal(1)).where(makes_artifact)
        names = [column.name for column in ARTIFACT_COLUMNS]
        self.connection.execute(insert(artifact).from_select([*names, "run_id", "version"], rows))

    def _update_artifacts(self, verbs: frozenset[Verb]) -> None:
        values = {
            column.name: self.read.field(run_action.c.artifact_after, column) for column in ARTIFACT_COLUMNS
        }
        changed = (
            update(artifact)
            .where(self.pending, is_one_of(verbs), changes_artifact, same_artifact())
            .values(**values, version=artifact.c.version + 1)
        )
        self.connection.execute(changed)

    def remove_artifacts(self, verbs: frozenset[Verb]) -> None:
        gone = self._steps(verbs, run_action.c.job_id, run_action.c.root_id, run_action.c.path).where(
            removes_artifact
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
                error_code=case(
                    (
                        run_action.c.to_status == Status.FAILED.value,
                        self.read.field(run_action.c.job_after, job.c.error_code),
                    )
                ),
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
        return select(*columns).select_from(run_action).where(self.pending, is_one_of(verbs))
