"""``jobctl requeue``: enqueue many failed or cancelled jobs again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import Call, call_of
from jobctl.cli.moments import moment_of
from jobctl.cli.options import DryRunOption, NewerOption, OlderOption, YesOption
from jobctl.core.reasons import gist_of
from jobctl.errors import ApprovalNeeded, ExitCode, JobctlError, UsageError
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_line
from jobctl.model.status import Status
from jobctl.report.columns import Column
from jobctl.report.envelope import Ending

if TYPE_CHECKING:
    from datetime import datetime

    from jobctl.ops.jobs import JobFilter
    from jobctl.ops.queue import Retried

_FIELDS = ("status", "kind", "queue", "owner", "error_code", "text")
_Cause = tuple[tuple[str, str, str], int]
_COLUMNS: Sequence[Column[_Cause]] = (
    Column(name="jobs", value=lambda each: each[1], is_number=True),
    Column(name="status", value=lambda each: each[0][0]),
    Column(name="error_code", value=lambda each: each[0][1], title="code"),
    Column(name="error", value=lambda each: each[0][2], may_wrap=True),
)


def requeue(
    context: typer.Context,
    *,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FIELD=VALUE",
            help=f"Which jobs, all conditions together: {', '.join(_FIELDS)}; may be repeated, "
            "for the same field only with status.",
        ),
    ] = None,
    older: OlderOption = None,
    newer: NewerOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> ExitCode:
    """Enqueue many failed or cancelled jobs again: tell which and why they failed, ask, do it."""
    from jobctl.ops.queue import find_retried, retry_all  # noqa: PLC0415
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    if yes and dry_run:
        raise UsageError(
            "--yes does it, --dry-run does not; nothing was changed", hint="leave one of them out"
        )
    if not where and older is None and newer is None:
        raise UsageError(
            "which jobs? without a condition every failed job would run again; nothing was changed",
            hint="say which: jobctl requeue --where error_code=timeout",
        )
    with call.open_site() as site:
        wanted = _filter(where or [], older, newer, store_now(site))
        found = find_retried(site, wanted, limit=limit)
        causes = Counter((each.status.value, each.error_code, gist_of(each.error)) for each in found)
        call.output.rows(_COLUMNS, _cause_item, causes.most_common())
        again = _again(where or [], older, newer, limit)
        if not found or dry_run:
            would = f"{counted(len(found), 'job')} would be enqueued again"
            call.output.say(f"{would if found else 'No such jobs'}; nothing was changed.")
            if found:
                call.output.say(f"To do it: {again}")
            return call.output.end(Ending(counts={"found": len(found), "done": 0, "failed": 0}))
        if not yes and not _is_wanted(call, found, again):
            return ExitCode.APPROVAL
        errors = [came for came in retry_all(site, found) if isinstance(came, JobctlError)]
    for error in errors:
        call.output.warn(error.message)
    done = len(found) - len(errors)
    call.output.say(f"{counted(done, 'job')} enqueued again.")
    code = ExitCode.INCOMPLETE if errors else ExitCode.CLEAN
    return call.output.end(Ending(code, counts={"found": len(found), "done": done, "failed": len(errors)}))


def _again(where: list[str], older: str | None, newer: str | None, limit: int | None) -> str:
    named: list[tuple[str, str | None]] = [("--where", each) for each in where]
    named += [("--older", older), ("--newer", newer), ("--limit", None if limit is None else str(limit))]
    given = [word for option, value in named if value is not None for word in (option, value)]
    return shell_line(["jobctl", "requeue", *given, "--yes"])


def _is_wanted(call: Call, found: list[Retried], again: str) -> bool:
    if not call.can_ask:
        raise ApprovalNeeded(
            f"enqueuing {counted(len(found), 'job')} again needs a yes, and there is no terminal to ask on; "
            "nothing was changed",
            hint=f"do it: {again}",
        )
    if is_confirmed(f"\nEnqueue {counted(len(found), 'job')} again?"):
        return True
    call.output.say("Nothing was changed.")
    return False


def _filter(where: list[str], older: str | None, newer: str | None, now: datetime) -> JobFilter:
    from jobctl.ops.jobs import JobFilter  # noqa: PLC0415 - help stays quick

    wanted = JobFilter(
        created_after=moment_of("--newer", newer, now), created_before=moment_of("--older", older, now)
    )
    for condition in where:
        field, sign, value = condition.partition("=")
        if field not in _FIELDS or not sign or not value:
            raise UsageError(
                f"--where {condition!r} cannot be read; nothing was changed",
                hint=f"write FIELD=VALUE with one of {', '.join(_FIELDS)}",
            )
        if field == "status":
            wanted.statuses |= {_status(value)}
        elif getattr(wanted, field):
            raise UsageError(
                f"--where {field}= was said twice, and no job has both; nothing was changed",
                hint="requeue the ones, then the others",
            )
        else:
            setattr(wanted, field, value)
    return wanted


def _status(value: str) -> Status:
    try:
        return Status(value)
    except ValueError:
        raise UsageError(
            f"--where status={value!r} names no status; nothing was changed", hint="write failed or cancelled"
        ) from None


def _cause_item(each: _Cause) -> dict[str, object]:
    (status, error_code, error), count = each
    return {"jobs": count, "status": status, "error_code": error_code or None, "error": error or None}
