"""Settling: what becomes of a job once an attempt of it has ended. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from jobctl.core.backoff import delay_after
from jobctl.durations import spoken_duration
from jobctl.model.attempts import AttemptId, Claim, Lease, Settlement
from jobctl.model.job import Job
from jobctl.model.status import Cause, ErrorCode, Status
from jobctl.sizes import format_size
from jobctl.work import TaskSpec


class Stop(StrEnum):
    """Why an attempt was asked to stop."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DRAIN = "drain"


class Returned(NamedTuple):
    """The handler returned. ``result`` is JSON text."""

    result: str | None


class Raised(NamedTuple):
    """The handler raised. ``is_final``: another attempt would fail as well."""

    error: str
    code: str
    traceback: str
    is_final: bool


class Died(NamedTuple):
    """Its process ended without a word: by a signal, or with an exit code.

    ``peak_bytes`` is the most memory it had; ``was_oom``: the kernel killed for want of memory meanwhile.
    """

    signal_name: str | None
    exit_code: int
    peak_bytes: int
    was_oom: bool


class Lost(NamedTuple):
    """The process that ran it and others ended, and nobody knows which of them brought that about."""

    how: str


class NotBegun(NamedTuple):
    """It was taken and never begun, or ended for the sake of another one. The pause is in seconds."""

    why: str
    pause_s: float = 0.0


Ending = Returned | Raised | Died | Lost | NotBegun


def settle(
    claim: Claim,
    ending: Ending,
    *,
    spec: TaskSpec | None,
    stop: Stop | None = None,
    has_published: bool = False,
    luck: float = 1.0,
) -> Settlement:
    """Decide what becomes of the job. ``luck`` between 0 and 1 spreads retries over time.

    An attempt that was asked to stop and finished all the same has finished. Only one that was
    cancelled, and published nothing, is cancelled whatever it returned. One that was lost with others
    costs its job nothing the first time, and an attempt from then on: what brings that about again
    and again ends failed.
    """
    if isinstance(ending, NotBegun):
        if stop is Stop.CANCEL:
            return Settlement(*claim.id, Status.CANCELLED, Cause.OPERATOR, error="cancelled before it began")
        return _hand_back(claim.id, ending.why, ending.pause_s)
    if isinstance(ending, Returned) and (stop is not Stop.CANCEL or has_published):
        return Settlement(
            *claim.id, Status.COMPLETED, Cause.EXECUTOR, result=ending.result, is_delivered=has_published
        )
    if isinstance(ending, Died | Lost) and has_published:
        detail = {"reason": "its process ended after it had published the video"}
        return Settlement(*claim.id, Status.COMPLETED, Cause.EXECUTOR, detail=detail, is_delivered=True)
    if stop is Stop.CANCEL:
        return Settlement(*claim.id, Status.CANCELLED, Cause.OPERATOR, error="cancelled while it ran")
    if stop is Stop.DRAIN:
        return _hand_back(claim.id, "its worker was asked to stop")
    if isinstance(ending, Lost) and stop is None and claim.attempt == 1:
        return _hand_back(claim.id, _said_of_loss(ending))
    return _fail(claim, _failure(ending, spec, stop), spec, luck)


def if_cancelled(meant: Settlement) -> Settlement | None:
    """What becomes of a job that was asked to be cancelled before its worker could hear of it.

    ``None`` where that makes no difference: the video is published, or it is cancelled anyway. What
    the attempt came to is kept in the history.
    """
    if meant.is_delivered or meant.to is Status.CANCELLED:
        return None
    came_to = {"reason": meant.error} if meant.error else {}
    error = "cancelled while a worker had it" if meant.cause is Cause.HAND_BACK else "cancelled while it ran"
    detail = {**came_to, **(meant.detail or {})}
    return Settlement(*meant.id, Status.CANCELLED, Cause.OPERATOR, error=error, detail=detail)


def after_death(job: Job, lease: Lease, *, has_video: bool, luck: float) -> Settlement:
    """What becomes of a job whose worker died, or was cut off for a whole lease.

    ``has_video``: the attempt had published its video, whole. The first attempt is followed by
    another one at once, later ones by a pause: what kills its worker again and again ends failed.
    """
    detail = {"reason": f"worker {lease.worker} died or was cut off", "worker": lease.worker}
    if has_video:
        detail["reason"] += "; the video was published before"
        return Settlement(*lease.id, Status.COMPLETED, Cause.RESCUE, detail=detail)
    if lease.is_cancelled:
        return Settlement(
            *lease.id, Status.CANCELLED, Cause.OPERATOR, error="cancelled while it ran", detail=detail
        )
    if job.tries < job.max_attempts:
        delay_s = delay_after(job.tries - 1, base_s=10.0, most_s=600.0, luck=luck) if job.tries > 1 else 0.0
        return Settlement(*lease.id, Status.QUEUED, Cause.RESCUE, detail=detail, delay_s=delay_s)
    said = f"worker {lease.worker} died or was cut off in attempt {job.tries} of {job.max_attempts}"
    code = ErrorCode.LEASE_LAPSED.value
    return Settlement(
        *lease.id, Status.FAILED, Cause.PROOF_OF_DEATH, error=said, error_code=code, detail=detail
    )


class Failure(NamedTuple):
    """Why an attempt failed."""

    error: str
    code: str
    detail: dict[str, Any]
    is_final: bool


def _hand_back(of: AttemptId, why: str, pause_s: float = 0.0) -> Settlement:
    detail = {"reason": why}
    return Settlement(*of, Status.QUEUED, Cause.HAND_BACK, detail=detail, delay_s=pause_s, is_spared=True)


def _fail(claim: Claim, failure: Failure, spec: TaskSpec | None, luck: float) -> Settlement:
    failed = Settlement(
        *claim.id,
        Status.FAILED,
        Cause.EXECUTOR,
        error=failure.error,
        error_code=failure.code,
        detail=failure.detail,
    )
    if failure.is_final or claim.tries >= claim.max_attempts:
        return failed
    base_s, most_s = (spec.backoff_s, spec.backoff_max_s) if spec else (10.0, 3600.0)
    delay_s = delay_after(claim.tries, base_s=base_s, most_s=most_s, luck=luck)
    return failed._replace(to=Status.QUEUED, cause=Cause.RETRY, delay_s=delay_s)


def _failure(ending: Ending, spec: TaskSpec | None, stop: Stop | None) -> Failure:
    if stop is Stop.TIMEOUT and spec is not None and spec.timeout_s is not None:
        limit = spoken_duration(timedelta(seconds=spec.timeout_s))
        return Failure(f"it ran longer than its limit of {limit}", "timeout", {}, is_final=False)
    if isinstance(ending, Raised):
        detail = {"traceback": ending.traceback} if ending.traceback else {}
        return Failure(ending.error, ending.code, detail, ending.is_final)
    if isinstance(ending, Died):
        return Failure(*_said_of_death(ending, spec), {"peak_bytes": ending.peak_bytes}, is_final=False)
    if isinstance(ending, Lost):
        return Failure(_said_of_loss(ending), "killed", {}, is_final=False)
    raise TypeError(f"{ending!r} is no failure")


def _said_of_death(died: Died, spec: TaskSpec | None) -> tuple[str, str]:
    if died.signal_name is None:
        return f"its process ended without a result, with exit code {died.exit_code}", "died"
    said = f"killed by {died.signal_name}, peak {format_size(died.peak_bytes)}"
    at_limit = spec is not None and spec.memory is not None and died.peak_bytes >= 0.8 * spec.memory
    # The kernel kills for want of memory by this signal alone; at its limit a program may die by any.
    if at_limit or (died.was_oom and died.signal_name == "SIGKILL"):
        return f"{said}, likely out of memory", "out-of-memory"
    return said, "killed"


def _said_of_loss(lost: Lost) -> str:
    return f"the process that ran it and others {lost.how}"
