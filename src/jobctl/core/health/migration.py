"""Whether a service that writes a dict and a store may go on to the next phase."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_line
from jobctl.model.health import Diagnosis, fail, ok, together, unknown, warn
from jobctl.model.shadow import ShadowState

_NAMED = 5
_LATE_S = 900.0


def judge_migration(states: Sequence[ShadowState], directory: str, now: datetime) -> Diagnosis:
    """What the journals of all processes tell together, at ``now`` by this host's clock."""
    if not states:
        return unknown(
            f"no process that writes a dict and a store keeps a journal in {directory}",
            "name where it is with shadow_journal in jobctl.toml, or JOBCTL_SHADOW_JOURNAL",
        )
    living = [state for state in states if not state.is_lost]
    looked_at = sum(state.compared.jobs for state in living if state.compared)
    reads = " and ".join(sorted({f"the {_source(state)}" for state in living})) or "nothing"
    at_work = counted(len(living), "process", "processes")
    well = f"{at_work} at work, {counted(looked_at, 'job')} the same; read is {reads}"
    return together([_judge(state, now) for state in states], well=well)


def _judge(state: ShadowState, now: datetime) -> Diagnosis:
    pid = state.executor.pid
    if state.is_lost:
        return _judge_lost(state)
    if state.dirty:
        return warn(
            f"{counted(len(state.dirty), 'job')} of pid {pid} not in the store yet: {_named(state.dirty)}",
            "bring the store back; they are replayed then. Do not restart the service before",
        )
    compared, at = state.compared, state.compared_at
    if compared is None or at is None:
        return warn(f"pid {pid} has not compared dict and store yet", "wait for its first comparison")
    if compared.differing:
        told = [f"{each.job_id} ({each.why})" for each in compared.differing]
        differences = counted(len(told), "difference")
        return warn(
            f"{differences} between the dict of pid {pid} and the store: {_listed(told)}",
            "see what is recorded with 'jobctl show JOB', and mend the code that changes it past the dict",
        )
    if state.refused:
        return warn(
            f"the store refused {counted(state.refused, 'change')} that the dict of pid {pid} took",
            "its log 'jobctl.shadow' names each; mend what asks for it, and restart",
        )
    if (now - at).total_seconds() > _LATE_S:
        said = f"pid {pid} last compared dict and store {age_said((now - at).total_seconds())} ago"
        return warn(said, "see its log 'jobctl.shadow'")
    return ok(f"pid {pid}: {counted(compared.jobs, 'job')} the same")


def _judge_lost(state: ShadowState) -> Diagnosis:
    if not state.dirty:
        return ok(f"pid {state.executor.pid} ended with nothing left to record")
    return fail(
        f"{counted(len(state.dirty), 'job')} not in the store yet when pid {state.executor.pid} ended, "
        f"and what changed last is lost: {_named(state.dirty)}",
        "see what is known of them with 'jobctl explain JOB'; then remove the journal",
        shell_line(["rm", state.path]),
    )


def _source(state: ShadowState) -> str:
    return "store" if state.reads == "store" else "dict"


def _named(job_ids: Iterable[str]) -> str:
    return _listed(sorted(job_ids))


def _listed(told: Sequence[str]) -> str:
    more = f" and {len(told) - _NAMED:,} more" if len(told) > _NAMED else ""
    return ", ".join(told[:_NAMED]) + more
