"""``jobctl cleanup``: move files without a purpose into quarantine."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from jobctl.cli.allowance import allow_again, parse_allowed
from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import call_of
from jobctl.cli.jitter import wait_a_little
from jobctl.cli.limits import duration_of, size_of
from jobctl.cli.options import (
    AllowOption,
    DryRunOption,
    ExplainOption,
    JitterOption,
    MaxBytesOption,
    OlderThanOption,
    RootOption,
    SavePlanOption,
    WaitOption,
    YesOption,
)
from jobctl.cli.recording import recorded
from jobctl.cli.space import telling_space
from jobctl.core.custody import CATEGORIES
from jobctl.errors import ExitCode, JobctlError, UsageError
from jobctl.model.finding import FindingKind

_KINDS = [kind.value for kind in CATEGORIES]


def cleanup(
    context: typer.Context,
    *,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    root: RootOption = None,
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", metavar="KIND", help=f"One of {', '.join(_KINDS)}; repeatable."),
    ] = None,
    older_than: OlderThanOption = None,
    max_bytes: MaxBytesOption = None,
    allow: AllowOption = None,
    include_pinned: Annotated[
        bool, typer.Option("--include-pinned", help="Also files that were given back from quarantine.")
    ] = False,
    explain: ExplainOption = False,
    wait: WaitOption = False,
    jitter: JitterOption = None,
) -> ExitCode:
    """Move leftovers, orphans and broken files into quarantine."""
    from jobctl.ops.cleanup import CleanupOptions, plan_cleanup  # noqa: PLC0415 - help stays quick
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    options = CleanupOptions(
        findings=frozenset(_kind(name) for name in finding or ()),
        older_than=duration_of("--older-than", older_than),
        max_bytes=size_of("--max-bytes", max_bytes),
        allowed=parse_allowed(allow or (), _KINDS),
        include_pinned=include_pinned,
    )
    again = ["jobctl", "cleanup", *(["--root", root] if root else []), *allow_again(options.allowed)]
    for name in finding or ():
        again += ["--finding", name]
    again += ["--older-than", older_than] if older_than else []
    again += ["--max-bytes", max_bytes] if max_bytes else []
    again += ["--include-pinned"] if include_pinned else []
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan, explains=explain)
    consent.check()
    wait_a_little(duration_of("--jitter", jitter))
    troubles: list[JobctlError] = []
    wait_s = math.inf if wait else 0.0
    with (
        call.open_site() as site,
        recorded(site, "cleanup", is_real=not consent.only_shows) as record,
        hold_roots(site, command="cleanup", only=root, wait_s=wait_s) as hold,
    ):
        with call.progress() as progress:
            proposed = plan_cleanup(hold, options, progress=progress, troubles=troubles)
        with proposed, telling_space(call, hold, proposed):
            return record(carry_out(call, hold, proposed, consent, troubles=troubles))


def _kind(name: str) -> FindingKind:
    if name not in _KINDS:
        raise UsageError(
            f"--finding {name!r} is nothing that cleanup takes away", hint=f"findings: {', '.join(_KINDS)}"
        )
    return next(kind for kind in CATEGORIES if kind.value == name)
