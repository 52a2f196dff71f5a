"""Steps: the way through the transition table that a job's own service takes."""

from __future__ import annotations

from typing import NamedTuple

from jobctl.model.status import TRANSITIONS, Cause, Status, check_transition

_OF_A_SERVICE = (Cause.CLAIM, Cause.EXECUTOR, Cause.RETRY, Cause.OPERATOR, Cause.POLICY)


class Step(NamedTuple):
    """One change of status, and who may bring it about."""

    to: Status
    cause: Cause


def steps(job_id: str, old: Status, new: Status, *, error_code: str | None = None) -> list[Step]:
    """The changes that lead from one status to another; none where it is the same.

    A queued job that is said to be completed was begun by who says so. Raises ``IllegalTransition``.
    """
    if old is new:
        return []
    direct = _cause(old, new)
    if direct is None and old is Status.QUEUED and _cause(Status.PROCESSING, new) is Cause.EXECUTOR:
        return [Step(Status.PROCESSING, Cause.CLAIM), Step(new, Cause.EXECUTOR)]
    cause = direct or Cause.EXECUTOR
    check_transition(job_id, old, new, cause, error_code)
    return [Step(new, cause)]


def _cause(old: Status, new: Status) -> Cause | None:
    """By whom a service takes a job from one status to another."""
    allowed = TRANSITIONS.get((old, new), frozenset())
    return next((cause for cause in _OF_A_SERVICE if cause in allowed), None)
