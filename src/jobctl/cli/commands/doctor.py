"""``jobctl doctor``: look at everything jobctl rests on, and say what mends it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.limits import duration_of
from jobctl.cli.output import Format
from jobctl.errors import ExitCode, UsageError
from jobctl.model.health import Examined, Health
from jobctl.report.doctor_screen import (
    CHECK_COLUMNS,
    EXAMINED_COLUMNS,
    check_item,
    check_line,
    examined_item,
    summary,
    troubles_screen,
)
from jobctl.report.envelope import Ending

if TYPE_CHECKING:
    from jobctl.ops.doctor.check import HealthCheck
    from jobctl.ops.doctor.patient import Patient

_STORE_CHECKS = frozenset({"store", "schema"})


def doctor(
    context: typer.Context,
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Only this check; may be repeated.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="CHECK", help="Not this check; may be repeated.")
    ] = None,
    before_deploy: Annotated[
        bool, typer.Option("--before-deploy", help="Also tell which running jobs a deploy would interrupt.")
    ] = False,
    migration: Annotated[
        bool, typer.Option("--migration", help="Also compare what services write to a dict and to the store.")
    ] = False,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 4 where a check fails, with 10 where the store's does."),
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="Give up on a check after this, such as 5s."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the checks, and carry none out.")] = False,
) -> ExitCode:
    """Look at everything jobctl rests on; say what is not well, why it matters and what mends it."""
    from jobctl.ops.doctor.checks import MIGRATION, RUNNING_JOBS, all_checks, chosen  # noqa: PLC0415 - help
    from jobctl.ops.doctor.patient import Patient  # noqa: PLC0415

    call = call_of(context)
    patient = Patient(call.settings())
    also = [check for check, asked in ((RUNNING_JOBS, before_deploy), (MIGRATION, migration)) if asked]
    checks = chosen(all_checks(patient.database), only=only or (), skip=skip or (), also=also, every=list_)
    if list_:
        call.output.rows(CHECK_COLUMNS, check_item, checks)
        return call.output.end()
    examined = _examine(call, patient, checks, _limit_s(timeout))
    return _end(call, examined, tells=exit_code)


def _limit_s(timeout: str | None) -> float | None:
    limit = duration_of("--timeout", timeout)
    if limit is None:
        return None
    if not limit:
        raise UsageError("--timeout: in no time nothing can be looked at", hint="write --timeout 5s")
    return limit.total_seconds()


def _examine(
    call: Call, patient: Patient, checks: list[HealthCheck], limit_s: float | None
) -> list[Examined]:
    """Carry out the checks; each is told as soon as it is done."""
    from jobctl.ops.doctor.examine import examine  # noqa: PLC0415 - help stays quick

    output, found = call.output, []
    listing = output.listing(EXAMINED_COLUMNS, examined_item)
    name_width = max((len(check.name) for check in checks), default=0)
    for one in examine(patient, checks, limit_s=limit_s):
        placed = _placed(call, one)
        found.append(placed)
        if (
            not output.is_quiet
            or placed.diagnosis.health is not Health.OK
            or output.format is not Format.TEXT
        ):
            listing.add(placed)
            if output.is_terminal:
                output.screen([check_line(placed, name_width)])
    return found


def _placed(call: Call, one: Examined) -> Examined:
    """The commands it names work on the store and the configuration of this call."""
    return one._replace(diagnosis=call.output.placed_diagnosis(one.diagnosis))


def _end(call: Call, examined: list[Examined], *, tells: bool) -> ExitCode:
    output = call.output
    tally = Counter(one.diagnosis.health.value for one in examined)
    counts = {health.value: tally[health.value] for health in Health}
    if output.is_terminal:
        output.screen(troubles_screen(examined, output.width))
        if not output.is_quiet:
            output.screen([""])
    output.say(summary(counts))
    return output.end(Ending(_code(examined) if tells else ExitCode.CLEAN, counts=counts))


def _code(examined: list[Examined]) -> ExitCode:
    """What the checks came to. One that could not be told stands behind one that fails."""
    failed = {one.check for one in examined if one.diagnosis.health is Health.FAIL}
    if failed & _STORE_CHECKS:
        return ExitCode.STORE
    if failed:
        return ExitCode.FINDINGS
    is_incomplete = any(one.diagnosis.health is Health.UNKNOWN for one in examined)
    return ExitCode.INCOMPLETE if is_incomplete else ExitCode.CLEAN
