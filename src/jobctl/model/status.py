"""The life of a job: its statuses and the one table of allowed changes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from jobctl.errors import IllegalTransition
from jobctl.model.commands import show_command


class Status(StrEnum):
    """Where a job stands. Zombie, orphan and interrupted are findings, never statuses."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
OPEN = frozenset({Status.QUEUED, Status.PROCESSING})


class Cause(StrEnum):
    """Who or what may bring a status change about."""

    CLAIM = "claim"
    EXECUTOR = "executor"
    OPERATOR = "operator"
    POLICY = "policy"
    PROOF_OF_DEATH = "proof-of-death"
    RECOVER = "recover"
    RESCUE = "rescue"
    HAND_BACK = "hand-back"
    RETRY = "retry"
    RETENTION = "retention"


class ErrorCode(StrEnum):
    """Why a job failed, where jobctl itself knows. Handlers may record others."""

    INTERRUPTED = "interrupted"
    LEASE_LAPSED = "lease-lapsed"


# A failure that only says "nobody saw the end" may turn out to have been a success.
OPEN_ENDED_FAILURES = frozenset({ErrorCode.INTERRUPTED.value, ErrorCode.LEASE_LAPSED.value})

TRANSITIONS: Mapping[tuple[Status, Status], frozenset[Cause]] = MappingProxyType(
    {
        (Status.QUEUED, Status.PROCESSING): frozenset({Cause.CLAIM}),
        (Status.QUEUED, Status.COMPLETED): frozenset({Cause.RECOVER, Cause.RESCUE}),
        (Status.QUEUED, Status.FAILED): frozenset({Cause.POLICY}),
        (Status.QUEUED, Status.CANCELLED): frozenset({Cause.OPERATOR}),
        (Status.QUEUED, Status.EXPIRED): frozenset({Cause.RETENTION}),
        (Status.PROCESSING, Status.COMPLETED): frozenset({Cause.EXECUTOR, Cause.RECOVER, Cause.RESCUE}),
        (Status.PROCESSING, Status.FAILED): frozenset({Cause.EXECUTOR, Cause.PROOF_OF_DEATH}),
        (Status.PROCESSING, Status.CANCELLED): frozenset({Cause.OPERATOR}),
        (Status.PROCESSING, Status.QUEUED): frozenset({Cause.RESCUE, Cause.HAND_BACK, Cause.RETRY}),
        (Status.FAILED, Status.COMPLETED): frozenset({Cause.RECOVER, Cause.EXECUTOR}),
        (Status.FAILED, Status.QUEUED): frozenset({Cause.OPERATOR}),
        (Status.CANCELLED, Status.QUEUED): frozenset({Cause.OPERATOR}),
        (Status.COMPLETED, Status.EXPIRED): frozenset({Cause.RETENTION}),
        (Status.FAILED, Status.EXPIRED): frozenset({Cause.RETENTION}),
        (Status.CANCELLED, Status.EXPIRED): frozenset({Cause.RETENTION}),
    }
)


def check_transition(job_id: str, old: Status, new: Status, cause: Cause, error_code: str | None) -> None:
    """Raise ``IllegalTransition`` unless ``cause`` may take a job from ``old`` to ``new``.

    ``error_code`` is that of the recorded failure; a failure with a known cause is final
    and is not turned into a success.
    """
    causes = TRANSITIONS.get((old, new), frozenset())
    refused = cause not in causes
    if (old, new) == (Status.FAILED, Status.COMPLETED) and error_code not in OPEN_ENDED_FAILURES:
        refused = True
    if refused:
        raise IllegalTransition(
            f"job {job_id}: {old} to {new} by {cause} is not allowed; the record was left as it was",
            hint=f"run '{show_command(job_id)}' to see its history",
        )
