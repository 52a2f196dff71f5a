"""What must still hold for a step of a run to be taken, as conditions on its row in the journal.

The first rule that fits a step names its outcome and the reason.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, or_, select

from jobctl.core.expiry import CATEGORY as EXPIRE
from jobctl.model.files import STILL_NAMED
from jobctl.model.plan import Outcome, Verb
from jobctl.model.status import Status
from jobctl.store.schema import artifact, job, lease, run_action, tombstone

Rule = tuple[ColumnElement[bool], Outcome, str]
"""A condition under which a step is not taken, its outcome then, and why."""

makes_artifact = and_(run_action.c.artifact_before.is_(None), run_action.c.artifact_after.is_not(None))
changes_artifact = and_(run_action.c.artifact_before.is_not(None), run_action.c.artifact_after.is_not(None))
removes_artifact = and_(run_action.c.artifact_before.is_not(None), run_action.c.artifact_after.is_(None))


def is_one_of(verbs: frozenset[Verb]) -> ColumnElement[bool]:
    """Whether a step has one of these verbs."""
    return run_action.c.verb.in_(sorted(verb.value for verb in verbs))


def still_pending(run_id: str, low: int, high: int) -> ColumnElement[bool]:
    """Whether it is one of the steps ``low`` ≤ seq < ``high`` of a run that are still to be taken."""
    return and_(
        run_action.c.run_id == run_id,
        run_action.c.seq >= low,
        run_action.c.seq < high,
        run_action.c.outcome == Outcome.PENDING.value,
    )


def job_exists(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a step's job has a record, and these hold for it."""
    return exists().where(job.c.job_id == run_action.c.job_id, *conditions)


def same_artifact() -> ColumnElement[bool]:
    """Whether an artifact's row is of the file a step is about."""
    return and_(
        artifact.c.job_id == run_action.c.job_id,
        artifact.c.root_id == run_action.c.root_id,
        artifact.c.path == run_action.c.path,
    )


def _artifact_as_expected() -> ColumnElement[bool]:
    version = run_action.c.artifact_before["version"].as_integer()
    return exists().where(same_artifact(), artifact.c.version == version)


def _artifact_conflicts(outcome_if_there: Outcome) -> list[Rule]:
    return [
        (
            and_(run_action.c.artifact_before.is_not(None), ~_artifact_as_expected()),
            Outcome.CONFLICT,
            "its artifact was changed since",
        ),
        (
            and_(makes_artifact, exists().where(same_artifact())),
            outcome_if_there,
            "the file is linked to the job already",
        ),
    ]


def conflicts_of_creating() -> list[Rule]:
    """Why a record may not be made."""
    buried = exists().where(tombstone.c.job_id == run_action.c.job_id, tombstone.c.closed_at.is_(None))
    return [
        (buried, Outcome.CONFLICT, "the job was deleted since"),
        (job_exists(job.c.status == run_action.c.to_status), Outcome.ALREADY, "it is recorded already"),
        (job_exists(), Outcome.CONFLICT, "another record of this job was made since"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]


def conflicts_of_importing() -> list[Rule]:
    """Why a record may not be imported."""
    buried, *_ = conflicts_of_creating()
    return [buried, (job_exists(), Outcome.CONFLICT, "a record of this job was made since")]


def conflicts_of_ending() -> list[Rule]:
    """Why an attempt may not be ended in its worker's place."""
    held = select(lease.c.job_id).where(lease.c.job_id == job.c.job_id, lease.c.attempt == job.c.attempt)
    is_held = job_exists(job.c.status == Status.PROCESSING.value, held.exists())
    return [(is_held, Outcome.CONFLICT, "a worker's lease holds it: only its end or its rescue counts")]


def conflicts_of_changing() -> list[Rule]:
    """Why a record may not be changed."""
    as_expected = job_exists(job.c.version == run_action.c.expect_version)
    return [
        (~job_exists(), Outcome.CONFLICT, "the record is gone"),
        (
            and_(~as_expected, job_exists(job.c.status == run_action.c.to_status)),
            Outcome.ALREADY,
            "its record says so already",
        ),
        (~as_expected, Outcome.CONFLICT, "the record was changed since"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]


def conflicts_of_linking() -> list[Rule]:
    """Why a file may not be linked to its record, or its row be changed."""
    return [
        (~job_exists(), Outcome.CONFLICT, "its job has no record"),
        *_artifact_conflicts(Outcome.ALREADY),
    ]


def conflicts_of_moving() -> list[Rule]:
    """Why a file may not be moved: someone refers to it now, or its record is another than was planned on."""
    takes_away = run_action.c.verb != Verb.RESTORE.value
    takes_now = run_action.c.verb == Verb.QUARANTINE.value
    is_here = and_(artifact.c.root_id == run_action.c.root_id, artifact.c.path == run_action.c.path)
    is_present = and_(is_here, artifact.c.state == "present")
    is_named = and_(is_here, artifact.c.state.in_(sorted(STILL_NAMED)))
    is_own = artifact.c.job_id == run_action.c.job_id
    is_live = and_(job.c.job_id == artifact.c.job_id, job.c.status != Status.EXPIRED.value)
    refers = or_(and_(is_own, run_action.c.artifact_before.is_(None)), and_(~is_own, exists().where(is_live)))
    needs_video = job_exists(job.c.status == Status.COMPLETED.value)
    is_its_video = and_(is_present, is_own, artifact.c.role == "video")
    is_unplanned = and_(run_action.c.expect_version.is_(None), job_exists())
    is_changed = and_(
        run_action.c.expect_version.is_not(None),
        ~job_exists(job.c.version == run_action.c.expect_version),
    )
    # One version more than was planned on is not enough: another writer may have made it.
    goes_with_job = and_(takes_now, run_action.c.category == EXPIRE)
    is_alive = ~job_exists(job.c.status == Status.EXPIRED.value)
    return [
        (and_(takes_now, exists().where(is_named, refers)), Outcome.CONFLICT, "a record refers to it now"),
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


def conflicts_of_removing(
    was_imported: ColumnElement[bool],
) -> list[Rule]:
    """Why a record may not be removed."""
    as_expected = job_exists(job.c.version == run_action.c.expect_version)
    other_files = exists().where(
        artifact.c.job_id == run_action.c.job_id,
        or_(artifact.c.root_id != run_action.c.root_id, artifact.c.path != run_action.c.path),
    )
    return [
        (~job_exists(), Outcome.ALREADY, "the record is gone already"),
        (~as_expected, Outcome.CONFLICT, "the record was changed since"),
        (and_(~was_imported, other_files), Outcome.CONFLICT, "other files were linked to the job since"),
        *_artifact_conflicts(Outcome.CONFLICT),
    ]
