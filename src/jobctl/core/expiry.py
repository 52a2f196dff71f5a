"""Expiry: which jobs end for want of a worker, of a turn, or of a reason to be kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from jobctl.core.ages import Ages, shown_moment, shown_timestamp
from jobctl.core.case import Case
from jobctl.core.planning import Material, Proposal, propose
from jobctl.durations import spoken_duration
from jobctl.model.finding import FindingKind
from jobctl.model.plan import Action, Kept, Row, Verb
from jobctl.model.records import Ended
from jobctl.model.status import Cause, Status, check_transition
from jobctl.model.timestamps import parse_timestamp
from jobctl.policy import Policy

CATEGORY = "expire"
"""What a brake counts the end of jobs, and the files that go with it, under."""


def rescue(material: Material) -> Proposal:
    """Decide what becomes of a job that is open: completed, given back to the queue, or failed.

    As recover would, except that a job whose worker is dead has another try while it has any left.
    """
    proposal = propose(material)
    actions = [_instead_of_failing(material, action) for action in proposal.actions]
    return proposal._replace(actions=actions)


def _instead_of_failing(material: Material, action: Action) -> Action:
    job_row = action.job_before
    if action.verb is not Verb.FAIL or job_row is None:
        return action
    tries, most = int(job_row["attempt"]) - int(job_row["spared"]), int(job_row["max_attempts"])
    if tries >= most:
        return action
    check_transition(action.job_id, Status(job_row["status"]), Status.QUEUED, Cause.RESCUE, None)
    after = {**job_row, "status": Status.QUEUED.value, "executor": None}
    return Action(
        seq=0,
        verb=Verb.REQUEUE,
        job_id=action.job_id,
        reason=f"attempt {tries} of {most}: {material.case.liveness.reason}",
        from_status=action.from_status,
        to_status=Status.QUEUED.value,
        expect_version=action.expect_version,
        job_before=job_row,
        job_after=after,
    )


def why_left_open(case: Case) -> str:
    """Why nothing is done about a job that is being processed."""
    told = [finding.reason for finding in case.findings if finding.kind in _ABOUT_LIFE]
    if told:
        return told[0]
    last = case.record.last_heartbeat if case.record else None
    return f"processing, last heartbeat {shown_timestamp(last)}" if last else "processing"


_ABOUT_LIFE = frozenset(
    {FindingKind.ZOMBIE, FindingKind.INTERRUPTED, FindingKind.FINISHED_BUT_OPEN, FindingKind.CONFLICT}
)


def judge_queued(case: Case, job_row: Row, policy: Policy, ages: Ages) -> Action | Kept:
    """Whether a job has waited too long for its turn."""
    ttl = policy.of_kind(job_row["kind"]).queued_ttl
    if ttl is None:
        return _kept(case.key, "queued; no queued_ttl is set")
    run_at = _moment(job_row, "run_at")
    if run_at is not None and run_at > ages.now:
        return _kept(case.key, f"queued for later: it is due on {shown_moment(run_at)}")
    since = _latest(ages, _moment(job_row, "updated_at"), _moment(job_row, "created_at"), run_at)
    age = ages.of(since)
    if age is None:
        return _kept(case.key, "queued; how long cannot be told: its times make no sense")
    if age < ttl:
        said = f"queued for {spoken_duration(age)}{ages.note(since)}, less than {spoken_duration(ttl)}"
        return _kept(case.key, said)
    if case.references:
        return _kept(case.key, f"{case.references[0]} names it")
    if case.videos:
        return _kept(case.key, f"queued for {spoken_duration(age)}, but there is a video of it")
    reason = f"queued for {spoken_duration(age)}, longer than {spoken_duration(ttl)}"
    return expire(job_row, reason)


def judge_ended(job: Ended, policy: Policy, ages: Ages) -> str | Kept:
    """The reason why an ended job is kept no longer, or why it is.

    Its time counts from the latest of its end, its recovery and the last change of its record.
    """
    retain = policy.of_kind(job.kind).retain.get(job.status)
    if retain is None:
        return _kept(job.job_id, f"{job.status}; no retention is set for it")
    since = _latest(ages, job.updated_at, job.completed_at, job.recovered_at)
    age = ages.of(since)
    if age is None:
        return _kept(job.job_id, f"{job.status}; how long ago cannot be told: its times make no sense")
    said = f"{job.status}, unchanged for {spoken_duration(age)}"
    if age < retain:
        return _kept(job.job_id, f"{said}{ages.note(since)}, less than {spoken_duration(retain)}")
    return f"{said}, longer than {spoken_duration(retain)}"


def expire(job_row: Row, reason: str) -> Action:
    """The step that ends a job for good, leaving a tombstone. ``job_row`` bears its version."""
    old = Status(job_row["status"])
    check_transition(job_row["job_id"], old, Status.EXPIRED, Cause.RETENTION, job_row.get("error_code"))
    before = {name: value for name, value in job_row.items() if name not in _NOT_IN_PLANS}
    return Action(
        seq=0,
        verb=Verb.EXPIRE,
        job_id=job_row["job_id"],
        reason=reason,
        from_status=old.value,
        to_status=Status.EXPIRED.value,
        expect_version=int(job_row["version"]),
        job_before=before,
        job_after={**before, "status": Status.EXPIRED.value},
        category=CATEGORY,
    )


def shortest_retention(policy: Policy, status: str) -> timedelta | None:
    """The retention below which no job of a status expires, whatever its kind."""
    rules = [policy.rule, *(policy.of_kind(kind) for kind in policy.kinds)]
    return min((rule.retain[status] for rule in rules if status in rule.retain), default=None)


def shortest_wait(policy: Policy) -> timedelta | None:
    """How long a job is queued at least before it may expire; ``None``: for ever."""
    rules = [policy.rule, *(policy.of_kind(kind) for kind in policy.kinds)]
    return min((rule.queued_ttl for rule in rules if rule.queued_ttl is not None), default=None)


def _latest(ages: Ages, *moments: datetime | None) -> datetime | None:
    """The latest of the moments that are known; ``None`` where one lies where none can."""
    known = [moment for moment in moments if moment is not None]
    return None if any(ages.of(moment) is None for moment in known) else max(known)


def _kept(job_id: str, reason: str) -> Kept:
    return Kept(job_id, "", "", reason)


def _moment(row: Mapping[str, object], name: str) -> datetime | None:
    value = row.get(name)
    return parse_timestamp(str(value)) if value is not None else None


_NOT_IN_PLANS = frozenset({"version", "updated_at"})
