"""What every command is handed: the shared options, the output, and the way to the store."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from jobctl.cli.output import Format, Output

if TYPE_CHECKING:
    from jobctl.ops.site import ProgressSink, Site
    from jobctl.settings import Settings


@dataclass(slots=True)
class Call:
    """One call of the program."""

    output: Output
    database: str | None = None
    config: str | None = None
    as_root: bool = False

    def settings(self) -> Settings:
        """Flags over environment over file over defaults. Raises ``ConfigurationError``."""
        from jobctl.settings import load_settings  # noqa: PLC0415 - only once a command runs

        settings = load_settings(config=self.config, database=self.database, environ=os.environ)
        return replace(settings, as_root=True) if self.as_root else settings

    def open_site(self) -> Site:
        """Open the store. Raises the errors of ``open_store``."""
        from jobctl.ops.site import open_site  # noqa: PLC0415 - SQLAlchemy is slow to import

        # A command looks many times, and PostgreSQL takes as long to let one in as for a look.
        site = open_site(self.settings(), pooled=True)
        self.output.detail(f"store: {site.store.url}")
        return site

    @property
    def can_ask(self) -> bool:
        """Whether a person both sees what is proposed and can answer."""
        return self.output.format is Format.TEXT and sys.stdin.isatty() and sys.stdout.isatty()

    @contextmanager
    def progress(self) -> Iterator[ProgressSink | None]:
        """Show progress while the block runs, where a person watches."""
        if self.output.is_quiet or not sys.stderr.isatty():
            yield None
            return
        from jobctl.cli.progress import progress_bars  # noqa: PLC0415 - rich is only for terminals

        with progress_bars() as sink:
            yield sink


def call_of(context: typer.Context) -> Call:
    """The call a command runs in."""
    call = context.find_object(Call)
    if call is None:
        raise RuntimeError("a command ran outside of the program")
    return call
