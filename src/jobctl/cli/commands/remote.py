"""``jobctl remote``: the remote renderer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import call_of
from jobctl.cli.options import RootOption, WaitOption, YesOption
from jobctl.cli.output import Output
from jobctl.errors import ApprovalNeeded, ExitCode, most_severe
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_line
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields
from jobctl.report.listings import render_columns
from jobctl.report.units import size_shown

if TYPE_CHECKING:
    from jobctl.core.matching import Doubt
    from jobctl.model.renders import KnownRender

_DOUBTS_TOLD = 10


def list_(
    context: typer.Context,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only what it told when it was last asked.")
    ] = False,
) -> ExitCode:
    """Ask the renderer what it has, and match it to jobs."""
    from jobctl.ops.remote import RemoteReport, ask, known_renders  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site, call.progress() as progress:
        report = RemoteReport(known_renders(site)) if offline else ask(site, progress=progress)
        now = store_now(site)
    call.output.rows(render_columns(now), _item, report.renders)
    _warn_of_doubts(call.output, report.doubts)
    if not report.renders:
        call.output.say("No render is known.")
    doubts = [
        {**doubt._asdict(), "proof": doubt.proof.value, "reason": doubt.sentence} for doubt in report.doubts
    ]
    code = most_severe(error.exit_code for error in report.errors)
    counts = report.count_by_state()
    return call.output.end(Ending(code, counts=counts, errors=report.errors, data={"doubts": doubts}))


def download(
    context: typer.Context,
    *,
    named: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or a render's.")],
    job: Annotated[
        str | None, typer.Option("--job", metavar="JOB", help="The render is this job's, whatever fits.")
    ] = None,
    as_video: Annotated[
        bool, typer.Option("--as-video", help="It is the job's finished video, not a part of it.")
    ] = False,
    root: RootOption = None,
    yes: YesOption = False,
    wait: WaitOption = False,
) -> ExitCode:
    """Bring a finished render home, checked and whole."""
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick
    from jobctl.ops.remote_download import bring_home, render_named  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    wait_s = math.inf if wait else 0.0
    with call.open_site() as site:
        known = render_named(site, named, job_id=job)
        if not yes and not call.can_ask:
            raise _approval_needed(known, again=_again(named, job, root, as_video=as_video))
        if not yes and not is_confirmed(f"Download {_described(known)}?"):
            call.output.say("Nothing was downloaded.")
            return ExitCode.APPROVAL
        with (
            hold_roots(site, command="remote download", only=root, wait_s=wait_s) as hold,
            call.progress() as progress,
        ):
            brought = bring_home(hold, known, as_video=as_video, progress=progress)
    further = ". To make its record: jobctl recover" if as_video else "; the job's video is composed from it"
    call.output.say(f"Downloaded {brought.path}, {size_shown(brought.size)}{further}")
    return call.output.end(Ending(data={**brought._asdict(), **path_fields(brought.path)}))


def _described(known: KnownRender) -> str:
    """A render in the words of a question: how it stands, whose it is and why."""
    why = f", as {known.matched_by.meaning}" if known.matched_by else ""
    return f"render {known.render.remote_id} ({known.render.state}) of job {known.job_id}{why}"


def _again(named: str, job: str | None, root: str | None, *, as_video: bool) -> str:
    chosen = [
        word for option, value in (("--job", job), ("--root", root)) if value for word in (option, value)
    ]
    chosen += ["--as-video"] if as_video else []
    return shell_line(["jobctl", "remote", "download", named, *chosen, "--yes"])


def _approval_needed(known: KnownRender, *, again: str) -> ApprovalNeeded:
    return ApprovalNeeded(
        f"to download {_described(known)} needs a yes, and there is no terminal to ask on; "
        "nothing was downloaded",
        hint=again,
    )


def _warn_of_doubts(output: Output, doubts: Sequence[Doubt]) -> None:
    for doubt in doubts[:_DOUBTS_TOLD]:
        output.warn(doubt.sentence)
    rest = len(doubts) - _DOUBTS_TOLD
    if rest > 0:
        output.warn(
            f"{counted(rest, 'more is', 'more are')} in doubt; all of them: jobctl remote list --json"
        )


def _item(known: KnownRender) -> Mapping[str, Any]:
    render = known.render
    return {
        "remote_id": render.remote_id,
        "renderer": known.renderer,
        "state": render.state.value,
        "said": render.said,
        "name": render.name,
        "tags": list(render.tags),
        "created_at": render.created_at,
        "duration_s": render.duration_s,
        "error": render.error,
        "job_id": known.job_id,
        "matched_by": known.matched_by.value if known.matched_by else None,
        "seen_at": known.seen_at,
    }
