"""``jobctl expire``: end the jobs that nobody works on, waits for, or keeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.allowance import allow_again, parse_allowed
from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import Call, call_of
from jobctl.cli.jitter import wait_a_little
from jobctl.cli.limits import duration_of
from jobctl.cli.options import (
    AllowOption,
    DryRunOption,
    ExplainOption,
    JitterOption,
    RootOption,
    SavePlanOption,
    WaitOption,
    YesOption,
)
from jobctl.cli.recording import recorded
from jobctl.errors import ApprovalNeeded, ExitCode, JobctlError, UsageError
from jobctl.model.amounts import counted
from jobctl.policy import Policy, parse_retain

if TYPE_CHECKING:
    from jobctl.ops.site import Site

_NORMAL_GAP_S = 713.0
"""A blocking step of 600 s behind a heartbeat that was 113 s late: what living jobs were seen to do."""


def expire(
    context: typer.Context,
    *,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    root: RootOption = None,
    stale_after: Annotated[
        str | None,
        typer.Option(
            "--stale-after", metavar="DURATION", help="How long without a heartbeat until a job is stale."
        ),
    ] = None,
    queued_ttl: Annotated[
        str | None,
        typer.Option("--queued-ttl", metavar="DURATION", help="How long a job may wait for its turn."),
    ] = None,
    retain: Annotated[
        list[str] | None,
        typer.Option(
            "--retain",
            metavar="STATUS=DURATION",
            help="How long ended jobs are kept: completed=30d,failed=7d.",
        ),
    ] = None,
    allow: AllowOption = None,
    explain: ExplainOption = False,
    wait: WaitOption = False,
    jitter: JitterOption = None,
) -> ExitCode:
    """End stale, forgotten and outdated jobs, by the policy."""
    from jobctl.core.expiry import CATEGORY  # noqa: PLC0415 - help stays quick
    from jobctl.ops.expire import ExpireOptions, plan_expire  # noqa: PLC0415 - help stays quick
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    stale = duration_of("--stale-after", stale_after)
    if stale is not None and stale.total_seconds() < _NORMAL_GAP_S:
        call.output.warn(
            f"--stale-after {stale_after} is short: living jobs were silent for up to 12 minutes"
        )
    allowed = parse_allowed(allow or (), [CATEGORY])
    again = ["jobctl", "expire", *(["--root", root] if root else []), *allow_again(allowed)]
    again += ["--stale-after", stale_after] if stale_after else []
    again += ["--queued-ttl", queued_ttl] if queued_ttl else []
    for text in retain or ():
        again += ["--retain", text]
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan, explains=explain)
    consent.check()
    wait_a_little(duration_of("--jitter", jitter))
    flags = _flags(queued_ttl, retain)
    troubles: list[JobctlError] = []
    with call.open_site() as site, recorded(site, "expire", is_real=not consent.only_shows) as record:
        options = ExpireOptions(
            policy=site.settings.policy.with_flags(
                queued_ttl=flags.rule.queued_ttl, retain=flags.rule.retain
            ),
            stale_after=stale,
            allowed=allowed,
            explains=explain,
        )
        troubles += _rescue(call, site, consent)
        with hold_roots(site, command="expire", only=root, wait_s=math.inf if wait else 0.0) as hold:
            with call.progress() as progress:
                proposed = plan_expire(hold, options, progress=progress, troubles=troubles)
            with proposed:
                return record(carry_out(call, hold, proposed, consent, troubles=troubles))


def _rescue(call: Call, site: Site, consent: Consent) -> list[JobctlError]:
    """Settle the jobs of workers that are lost, as any running worker would; why that was not done."""
    from jobctl.ops.lost import find_lost, rescue_from  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import Progress  # noqa: PLC0415

    with call.progress() as bars:
        show = bars or (lambda _: None)
        lost = find_lost(site, on_wait=lambda left_s: show(Progress("watch", int(left_s))))
    for each in lost:
        held = counted(each.holder.jobs, "job")
        call.output.warn(f"worker {each.holder.worker_id} is lost ({each.reason}); it held {held}")
    if not lost or consent.only_shows:
        return []
    count = counted(sum(each.holder.jobs for each in lost), "job")
    if not consent.yes and not call.can_ask:
        said = f"rescuing {count} of lost workers needs a yes, and there is no terminal to ask on"
        return [ApprovalNeeded(f"{said}; nothing was changed", hint=f"rescue them: {consent.again}")]
    if not consent.yes and not is_confirmed(f"Rescue {count} of lost workers?"):
        return []
    for job in rescue_from(site, lost, warn=call.output.warn):
        call.output.note(f"job {job.job_id}: attempt {job.attempt} is over; the job is {job.to}")
    return []


def _flags(queued_ttl: str | None, retain: list[str] | None) -> Policy:
    """What the flags alone say."""
    ages = {}
    for text in retain or ():
        try:
            ages.update(parse_retain(text))
        except ValueError as error:
            raise UsageError(f"--retain: {error}", hint="write --retain completed=30d,failed=7d") from None
    return Policy().with_flags(queued_ttl=duration_of("--queued-ttl", queued_ttl), retain=ages)
