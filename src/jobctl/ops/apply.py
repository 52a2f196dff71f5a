"""Apply: exactly the plan, chunk by chunk, each step checked again and journalled.

The only code that changes records outside the runner. Killed anywhere, the same command
run again completes: a chunk is one transaction, and a run knows what it has still to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from jobctl import clock
from jobctl.errors import ExitCode, PlanStale
from jobctl.model.commands import planning_command
from jobctl.model.plan import INVERSE, MOVES, Outcome, PlanHeader, Verb
from jobctl.model.quarantine import DESPITE_ERROR
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.hold import Hold, lock_names
from jobctl.ops.moves import Mover, files_held
from jobctl.ops.plan import Plan
from jobctl.ops.references import References, read_references
from jobctl.ops.runid import new_run_id
from jobctl.ops.site import Progress, ProgressSink, Site, no_progress
from jobctl.ops.unchanged import changed_files
from jobctl.outputs.root import write_generation
from jobctl.store import roots, run_steps, runs
from jobctl.store.engine import Connection
from jobctl.store.runs import Mark
from jobctl.store.statements import refresh_statistics

_FIRST_CHUNK = 2_000
_LARGEST_CHUNK = 50_000
_CHUNK_TARGET_S = 0.5
_LOAD_CHUNK = 20_000
_LOAD_CHUNK_OF_RECORDS = 500  # an imported record may carry a large payload
TAKES_AWAY = frozenset({Verb.EXPIRE, Verb.QUARANTINE, Verb.PURGE})
_FAULTS = (Outcome.SKIPPED, Outcome.CONFLICT, Outcome.FAILED)


@dataclass(slots=True)
class RunReport:
    """What became of a plan. ``run_id`` is ``None`` where there was nothing to do."""

    run_id: str | None
    plan_id: str
    command: str
    counts: dict[str, int]
    exit_code: ExitCode
    undo_command: str | None


class Reached(NamedTuple):
    """How far a run came that has not ended."""

    run_id: str
    taken: int
    steps: int


def how_far(site: Site, plan: Plan) -> Reached | None:
    """How far the run of a plan came that broke off; ``None`` where it took no step."""
    with site.store.read() as connection:
        for run in runs.unfinished_runs(connection):
            if run.plan_id == plan.plan_id:
                outcomes = runs.count_outcomes(connection, run.run_id)
                pending = outcomes.pop(Outcome.PENDING.value, 0)
                taken = sum(outcomes.values())
                return Reached(run.run_id, taken, taken + pending) if run.state != "loading" else None
    return None


def apply_plan(hold: Hold, plan: Plan, *, progress: ProgressSink | None = None) -> RunReport:
    """Apply a plan under a hold.

    Raises ``PlanStale`` before anything is changed, ``LockLost`` when another run took over.
    """
    site = hold.site
    check_fresh(hold, plan)
    if not plan.total:
        with _files_of(hold, plan):
            _settle_without_steps(hold, plan)
        return _report(plan, None, {})
    with _files_of(hold, plan), _references_for(site, plan) as references:
        run_id = _load(hold, plan)
        _write_markers(hold, run_id)
        _take_steps(hold, plan, run_id, references, progress or no_progress)
        return _finish(site, hold, plan, run_id)


@contextmanager
def _files_of(hold: Hold, plan: Plan) -> Iterator[None]:
    """Hold the files, where this plan, or an interrupted run that it ends, moves any."""
    with hold.site.store.read() as connection:
        unended = [old.run_id for old in _interrupted_runs(connection, hold, plan)]
        moving = [run_id for run_id in unended if runs.next_move(connection, run_id) is not None]
    with ExitStack() as stack:
        if moving or not MOVES.isdisjoint(plan.counts):
            stack.enter_context(files_held(hold))
        for run_id in moving:
            Mover(hold, run_id).catch_up()
        yield


@contextmanager
def _references_for(site: Site, plan: Plan) -> Iterator[References | None]:
    """Which jobs other tables name now; ``None`` for a plan that takes nothing away."""
    if TAKES_AWAY.isdisjoint(plan.counts):
        yield None
        return
    with read_references(site) as references:
        yield references


def check_fresh(hold: Hold, plan: Plan) -> None:
    """Raise ``PlanStale`` unless the plan was made for this store, these roots and settings, lately."""
    why = _why_stale(hold, plan)
    if why is not None:
        again = " ".join(filter(None, [planning_command(plan.header.command), plan.header.undo_of]))
        raise PlanStale(f"{why}; nothing was changed", hint=f"make a new plan: {again} --plan FILE")


def _why_stale(hold: Hold, plan: Plan) -> str | None:
    site, header = hold.site, plan.header
    if header.store_id != site.store.store_id:
        return "the plan was made for another store"
    if not {root.root_id for root in hold.roots}.issuperset(header.roots):
        return "the plan names a root that is not held"
    if header.configuration != site.settings.digest():
        return "the configuration changed since the plan was made"
    planned_at = parse_timestamp(header.created_at)
    with site.store.read() as connection:
        age = site.store.now(connection) - planned_at
        put_back = _put_back_since(hold, connection, header, planned_at)
    if not timedelta(0) <= age + timedelta(minutes=5) <= timedelta(hours=site.settings.plan_max_age_h):
        return f"the plan is {age} old"
    if put_back:
        return f"an older store or tree was put back since the plan was made: {', '.join(put_back)}"
    return None


def _put_back_since(
    hold: Hold, connection: Connection, header: PlanHeader, planned_at: datetime
) -> list[str]:
    """The roots of the plan whose tree, or whose records, are older now than those it was made on."""
    suspended = {row.root_id: row.negatives_suspended_at for row in roots.get_roots(connection)}
    return [
        root.path
        for root in hold.roots
        if root.root_id in header.roots
        and (
            root.marker_generation < header.roots[root.root_id]
            or (suspended[root.root_id] or planned_at) > planned_at
        )
    ]


def _load(hold: Hold, plan: Plan) -> str:
    """Journal every step as an intent, or go on with the run that began to; return its id."""
    site = hold.site
    with site.store.write() as connection:
        hold.renew(connection)
        run_id = _begin_or_resume(hold, connection, plan)
        loaded = runs.last_loaded(connection, run_id)
    # Numbers are not without gaps: what a brake holds is in the plan, and not in the run.
    remaining = (action for action in plan if action.seq > loaded)
    size = _LOAD_CHUNK_OF_RECORDS if Verb.IMPORT in plan.counts else _LOAD_CHUNK
    while batch := list(islice(remaining, size)):
        with site.store.write() as connection:
            hold.renew(connection)
            runs.load_actions(connection, site.store.dialect, run_id, batch)
    with site.store.write() as connection:
        hold.renew(connection)
        run = runs.get_run(connection, run_id)
        if run is not None and run.state == "loading":
            refresh_statistics(connection, site.store.dialect, "run_action")
            generations = {
                root_id: roots.advance_generation(connection, root_id) for root_id in plan.header.roots
            }
            runs.begin_applying(connection, run_id, actions=plan.total, generations=generations)
    return run_id


def _begin_or_resume(hold: Hold, connection: Connection, plan: Plan) -> str:
    site = hold.site
    now = site.store.now(connection)
    run_id = new_run_id(now)
    for old in _interrupted_runs(connection, hold, plan):
        if old.plan_id == plan.plan_id:
            return str(old.run_id)
        _close(connection, old.run_id, note=f"interrupted; run {run_id} planned anew", at=now)
    runs.begin_run(
        connection,
        run_id=run_id,
        command=plan.header.command,
        plan_id=plan.plan_id,
        undo_of=plan.header.undo_of,
        header=asdict(plan.header),
        actor=site.actor,
        host=site.host,
        at=now,
    )
    return run_id


def _interrupted_runs(connection: Connection, hold: Hold, plan: Plan) -> list[Any]:
    """Runs under the same locks that did not end: these are ours now, so they can take no further step.

    Not those that were moving files below a root which is not held: what they did cannot be seen.
    """
    names, held = lock_names(plan.header.roots), {root.root_id for root in hold.roots}
    return [
        run
        for run in runs.unfinished_runs(connection)
        if names & lock_names(run.header["roots"])
        and (held.issuperset(run.header["roots"]) or runs.next_move(connection, run.run_id) is None)
    ]


def _close(connection: Connection, run_id: str, *, note: str, at: datetime) -> None:
    """End an interrupted run: finished where only its last word was missing, else abandoned."""
    is_done = runs.next_pending(connection, run_id) is None and runs.last_loaded(connection, run_id) > 0
    runs.abandon_pending(connection, run_id, note=note)
    counts = runs.count_outcomes(connection, run_id)
    state, code = ("finished", ExitCode.CLEAN) if is_done else ("abandoned", ExitCode.INTERRUPTED)
    runs.finish_run(connection, run_id, state=state, exit_code=code, counts=counts, at=at)


def _write_markers(hold: Hold, run_id: str) -> None:
    """Store first, then the marker: a marker ahead of its store means that the store is an old copy."""
    with hold.site.store.read() as connection:
        run = runs.get_run(connection, run_id)
    generations: dict[str, int] = run.generations if run is not None else {}
    for root in hold.roots:
        if generations.get(root.root_id, 0) > root.marker_generation:
            write_generation(root, store_id=hold.site.store.store_id, generation=generations[root.root_id])


def _take_steps(
    hold: Hold, plan: Plan, run_id: str, references: References | None, progress: ProgressSink
) -> None:
    store, size, start = hold.site.store, _FIRST_CHUNK, 0
    mover = _mover(hold, run_id, references)
    while True:
        with store.read() as connection:
            low = runs.next_pending(connection, run_id, start=start)
            move = runs.next_move(connection, run_id, start=start)
        if low is None:
            return
        if low == move:
            start = mover.take(low) or low
        else:
            high = low + size if move is None else min(low + size, move)
            began = clock.monotonic()
            _change_records(hold, run_id, low, high, references)
            size = _next_size(size, clock.monotonic() - began)
            start = high
        progress(Progress("apply", min(start - 1, plan.total), plan.total))


def _change_records(hold: Hold, run_id: str, low: int, high: int, references: References | None) -> None:
    """Take the steps ``low`` ≤ seq < ``high``, which change records alone."""
    store = hold.site.store
    with store.read() as connection:
        files = runs.files_to_check(connection, run_id, low, high)
        ending = runs.jobs_to_expire(connection, run_id, low, high) if references else []
    refused = [*changed_files(hold.roots, files), *_referred_to(ending, references)]
    with store.write() as connection:
        hold.renew(connection)
        runs.mark_steps(connection, run_id, refused)
        run_steps.apply_chunk(connection, run_id, low, high, actor=hold.site.actor, at=store.now(connection))


def _referred_to(ending: list[tuple[int, str]], references: References | None) -> Iterator[Mark]:
    """The steps that would end a job which some table names now."""
    for seq, job_id in ending:
        where = references.to_job(job_id) if references else None
        if where is not None:
            yield Mark(seq, Outcome.CONFLICT, f"{where} names the job now")


def _mover(hold: Hold, run_id: str, references: References | None) -> Mover:
    return Mover(hold, run_id, references, purge_after=hold.site.settings.policy.quarantine)


def _next_size(size: int, seconds: float) -> int:
    """Aim at half a second of write lock, so that other writers hardly wait."""
    wanted = int(size * _CHUNK_TARGET_S / max(seconds, 0.001))
    return max(100, min(_LARGEST_CHUNK, 2 * size, wanted))


def _finish(site: Site, hold: Hold, plan: Plan, run_id: str) -> RunReport:
    with site.store.write() as connection:
        hold.renew(connection)
        counts = runs.count_outcomes(connection, run_id)
        report = _report(plan, run_id, counts)
        if runs.has_note(connection, run_id, DESPITE_ERROR) and report.exit_code is ExitCode.CLEAN:
            report.exit_code = ExitCode.INCOMPLETE
        now = site.store.now(connection)
        runs.finish_run(
            connection, run_id, state="finished", exit_code=report.exit_code, counts=report.counts, at=now
        )
        _resume_negatives(connection, plan)
    return report


def _settle_without_steps(hold: Hold, plan: Plan) -> None:
    """With nothing left to do, end what was interrupted; a complete recover lifts suspensions."""
    store = hold.site.store
    with store.read() as connection:
        interrupted = _interrupted_runs(connection, hold, plan)
        suspended = any(row.negatives_suspended_at for row in roots.get_roots(connection))
    if not interrupted and not suspended:
        return
    with store.write() as connection:
        hold.renew(connection)
        for old in interrupted:
            _close(
                connection, old.run_id, note="interrupted; nothing was left to do", at=store.now(connection)
            )
        _resume_negatives(connection, plan)


def _resume_negatives(connection: Connection, plan: Plan) -> None:
    """Trust absence again where a complete recover was applied that was planned after the trust was lost."""
    if plan.header.command == "recover" and not plan.is_incomplete:
        planned_at = parse_timestamp(plan.header.created_at)
        for root_id in plan.header.roots:
            roots.resume_negatives(connection, root_id, suspended_by=planned_at)


def _report(plan: Plan, run_id: str | None, outcomes: dict[str, int]) -> RunReport:
    counts = {"planned": plan.total}
    counts.update({outcome.value: outcomes.get(outcome.value, 0) for outcome in Outcome})
    del counts[Outcome.PENDING.value]
    has_faults = plan.is_incomplete or any(counts[fault.value] for fault in _FAULTS)
    has_inverse = plan.header.undo_of is None and not INVERSE.keys().isdisjoint(plan.counts)
    can_undo = run_id is not None and has_inverse and counts[Outcome.DONE.value] > 0
    return RunReport(
        run_id=run_id,
        plan_id=plan.plan_id,
        command=plan.header.command,
        counts=counts,
        exit_code=ExitCode.INCOMPLETE if has_faults else ExitCode.CLEAN,
        undo_command=f"jobctl undo {run_id}" if can_undo else None,
    )
