"""``jobctl serve``: the status API over HTTP."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.cli.limits import duration_of, size_of
from jobctl.errors import ExitCode, UsageError
from jobctl.model.amounts import counted
from jobctl.report.envelope import Ending

if TYPE_CHECKING:
    from jobctl.web.tokens import Tokens

_LONGEST_GRACE_S = 24 * 60 * 60


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen on this address.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65_535, help="Listen on this port; 0 takes any free one."
        ),
    ] = 8080,
    tokens_file: Annotated[
        str | None,
        typer.Option(
            "--tokens-file",
            metavar="FILE",
            help="Who bears one of its tokens may ask; mode 0600, one a line.",
        ),
    ] = None,
    no_tokens: Annotated[
        bool, typer.Option("--no-tokens", help="Let everybody ask who reaches the address.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="ORIGIN",
            help="Let pages of this origin, such as https://app.example, read the answers; repeatable.",
        ),
    ] = None,
    task: Annotated[
        str, typer.Option("--task", metavar="TASK", help="What a POST enqueues.")
    ] = "presentation",
    max_body: Annotated[
        str | None, typer.Option("--max-body", metavar="SIZE", help="The largest body of a POST, such as 1M.")
    ] = None,
    max_waiters: Annotated[
        int,
        typer.Option(
            "--max-waiters", metavar="N", min=1, max=10_000, help="How many clients may wait at once."
        ),
    ] = 500,
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="DURATION", help="How long requests may go on once asked to stop."),
    ] = None,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="What a proxy in front takes off the paths.")
    ] = "",
) -> ExitCode:
    """Serve the status API: enqueue jobs, tell how they stand, hand out their videos."""
    from jobctl.web import Limits, expect_extra  # noqa: PLC0415 - help stays quick

    expect_extra()
    from jobctl.web.api import Api  # noqa: PLC0415 - FastAPI is an extra
    from jobctl.web.origins import ORIGINS, origins_from_text  # noqa: PLC0415
    from jobctl.web.server import Serving  # noqa: PLC0415
    from jobctl.web.server import serve as serve_api  # noqa: PLC0415

    call = call_of(context)
    tokens = _tokens(host, tokens_file, is_open=no_tokens)
    limits = Limits(body_bytes=size_of("--max-body", max_body) or Limits().body_bytes, waiters=max_waiters)
    grace_age = duration_of("--grace", grace)
    serving = Serving(
        host=host,
        port=port,
        root_path=root_path.rstrip("/"),
        logs_requests=call.output.is_verbose,
        own_name_only=tokens is None and not no_tokens,
        cors_origins=cors_origin or origins_from_text(os.environ.get(ORIGINS, "")),
        **({} if grace_age is None else {"grace_s": min(int(grace_age.total_seconds()), _LONGEST_GRACE_S)}),
    )
    api = Api(call.settings(), task=task, tokens=tokens, limits=limits)
    call.output.detail(f"store: {api.site().store.url}")
    if serving.own_name_only:
        call.output.note("no tokens: everybody on this machine may ask")
    try:
        answered = serve_api(api, serving, note=call.output.note)
    finally:
        api.close()
    call.output.say(f"Answered {counted(answered, 'request')}.")
    return call.output.end(Ending(counts={"requests": answered}))


def _tokens(host: str, path: str | None, *, is_open: bool) -> Tokens | None:
    """Who may ask. Beyond this machine nobody is let in by mistake."""
    from jobctl.ops.metrics_server import is_loopback  # noqa: PLC0415 - help stays quick
    from jobctl.web.routes import TOKENS  # noqa: PLC0415 - FastAPI is an extra
    from jobctl.web.tokens import TokensFile, tokens_from_text  # noqa: PLC0415

    if path is not None and is_open:
        raise UsageError("--tokens-file and --no-tokens exclude each other", hint="leave one of them out")
    if path is not None:
        return TokensFile(path)
    text = os.environ.get(TOKENS, "")
    if text.strip() and not is_open:
        return tokens_from_text(text, source=f"the environment variable {TOKENS}")
    if not is_open and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines, and no tokens are given; nothing was served",
            hint=f"name a file with --tokens-file, set {TOKENS}, or let everybody in with --no-tokens",
        )
    return None
