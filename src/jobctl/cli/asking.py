"""Ask the person at the terminal."""

from __future__ import annotations

import os
import select
import signal
import sys

import typer


def is_confirmed(question: str) -> bool:
    """Ask; no is the default. What ends the question ends its line too."""
    try:
        while True:
            typer.echo(f"{question} [y/N]: ", nl=False)
            answer = _line().strip().lower()
            if answer in {"y", "yes"}:
                return True
            if answer in {"", "n", "no"}:
                return False
            typer.echo("Answer with y or n.")
    except BaseException:
        typer.echo()
        raise


def _line() -> str:
    _await_line()
    if line := sys.stdin.readline():
        return line
    raise typer.Abort


def _await_line() -> None:
    """Wait until a line can be read; a signal that comes the moment before the wait ends it as well.

    A read alone would go on until the next key: Python looks for signals before it and after it.
    """
    keyboard = sys.stdin.fileno()
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    try:
        while keyboard not in select.select([keyboard, woken], [], [])[0]:
            os.read(woken, 512)
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wakes)
