"""Whether a store stands well: silent jobs, failures, disks, scans, how commands ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from jobctl.core.health.places import Room, judge_room
from jobctl.durations import age_said
from jobctl.errors import ExitCode
from jobctl.model.amounts import counted
from jobctl.model.commands import planning_command
from jobctl.model.finding import FindingKind
from jobctl.model.health import Diagnosis, Health, fail, ok, unknown, warn
from jobctl.model.runs import LastRun
from jobctl.model.standing import Changes, RootRoom, ScanSeen, Silent, Trouble
from jobctl.model.status import Status

_FEW_DAYS, _ONE_DAY = 7.0, 1.0
_MANY_FAILURES = 10
_LONGEST_ERROR = 300
_TOLD = {
    FindingKind.BROKEN_VIDEO: ("broken video", "see them", "jobctl scan --finding broken-video"),
    FindingKind.ORPHAN_VIDEO: ("orphaned video", "bring their jobs back", "jobctl recover --dry-run"),
}
_MILD = frozenset(
    {
        *(ExitCode.INCOMPLETE, ExitCode.LOCKED, ExitCode.BRAKE),
        *(ExitCode.USAGE, ExitCode.APPROVAL, ExitCode.INTERRUPTED, ExitCode.TERMINATED),
    }
)
"""Endings after which most was done, or the next run does it; and those that somebody at a terminal brings
about: a word mistyped, a question not answered, Ctrl-C. Nothing is broken by them."""


def worst_first(found: Iterable[Trouble]) -> list[Trouble]:
    """What is not well of all that was found, the worst first."""
    ill = [each for each in found if each.diagnosis.health is not Health.OK]
    severity = list(Health)
    return sorted(ill, key=lambda each: severity.index(each.diagnosis.health), reverse=True)


def headline(troubles: Sequence[Trouble]) -> str:
    """All of it in one sentence: is it broken, and what is worst. ``troubles``: the worst first."""
    if not troubles:
        return "All is well."
    words = {Health.FAIL: "Broken", Health.WARN: "Works, but", Health.UNKNOWN: "Not all could be told"}
    worst = troubles[0].diagnosis
    more = f" (and {len(troubles) - 1:,} more)" if len(troubles) > 1 else ""
    return f"{words[worst.health]}: {worst.said}{more}."


def judge_silent(silent: Silent, now: datetime) -> Diagnosis:
    """Whether running jobs gave a sign of life."""
    if not silent.jobs or silent.since is None:
        return ok("every running job gives signs of life")
    count = counted(silent.jobs, "job")
    longest = "" if silent.jobs == 1 else "the longest: "
    said = (
        f"{'at least ' if silent.is_at_least else ''}{count} with a stale heartbeat "
        f"({longest}{silent.job_id} for {age_said((now - silent.since).total_seconds())})"
    )
    return warn(said, "see what is proven dead and what would become of it", "jobctl expire --dry-run")


def judge_failures(changes: Changes, now: datetime) -> Diagnosis:
    """Whether most of what ended of late failed."""
    failed, done = changes.arrived.get(Status.FAILED, 0), changes.arrived.get(Status.COMPLETED, 0)
    within = age_said((now - changes.since).total_seconds())
    if failed < _MANY_FAILURES or failed <= done:
        return ok(f"{counted(failed, 'job')} failed within {within}")
    said = f"{failed:,} of {counted(failed + done, 'job')} that ended within {within} failed"
    return fail(said, "see what they failed of", "jobctl list --status failed")


def judge_last_run(run: LastRun, now: datetime) -> Diagnosis:
    """Whether a command that cron runs ended well."""
    ago = age_said((now - run.finished_at).total_seconds())
    if not run.exit_code:
        return ok(f"{run.command} ended well {ago} ago")
    since = f"{age_said((now - run.succeeded_at).total_seconds())} ago" if run.succeeded_at else "never"
    how = (run.error or _meaning(run.exit_code))[:_LONGEST_ERROR]
    said = (
        f"{run.command} on {run.host} ended {ago} ago with exit code {run.exit_code}: {how} "
        f"(last success: {since})"
    )
    see = f"jobctl run show {run.run_id}" if run.run_id else _looking_closer(run.command)
    return (warn if run.exit_code in _MILD else fail)(said, "see what is in its way", see)


def _looking_closer(command: str) -> str:
    """What shows why a command cannot do its work."""
    # Copying the store has no plan that could be shown: to see what is in its way is to try again.
    return "jobctl backup" if command == "backup" else f"{planning_command(command)} --dry-run"


def _meaning(code: int) -> str:
    return next((each.meaning for each in ExitCode if each == code), "not all was done")


def judge_root_room(root: RootRoom) -> Diagnosis:
    """Whether a root is there, whether there is room below it, and for how long."""
    if root.mend:
        return fail(root.trouble, root.mend, "jobctl doctor --only roots")
    if root.now is None:
        return unknown(
            f"the room below {root.path} is not known: {root.trouble}", "see what is wrong", "jobctl doctor"
        )
    now = judge_room(Room(root.path, root.now.bytes, root.now.bytes_free, root.files, root.files_free))
    days = root.outlook.days
    if now.health is Health.FAIL or days is None or root.outlook.is_at_least or days >= _FEW_DAYS:
        return now
    said = f"{root.path} is {root.outlook.said}"
    fix = "see what may go, or add room"
    return (fail if days < _ONE_DAY else warn)(said, fix, "jobctl cleanup --dry-run")


def judge_scan(seen: ScanSeen) -> list[Diagnosis]:
    """Whether the last complete walk of a root found what somebody should look at.

    What was found before a run is not held against the root: that run may have mended it.
    """
    if seen.is_outdated:
        return []
    return [
        warn(f"{counted(count, what)} below {seen.path}", fix, command)
        for kind, (what, fix, command) in _TOLD.items()
        if (count := seen.findings.get(kind.value, 0))
    ]
