"""The command line."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the program and leave with its exit code.

    What needs neither options nor a store is answered before anything slow is imported.
    """
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from jobctl import __version__  # noqa: PLC0415 - the quick way

        print(f"jobctl {__version__}")  # noqa: T201 - the quick way
        return
    if "_JOBCTL_COMPLETE" in os.environ:
        from jobctl.cli.completion import complete_command  # noqa: PLC0415 - the quick way

        if complete_command(os.environ):
            return
    if "worker" in arguments:
        _hold_back_reloads()
    try:
        from jobctl.cli.app import make_app  # noqa: PLC0415 - slow to import

        make_app()(arguments)
    except KeyboardInterrupt:
        sys.exit(130)


def _hold_back_reloads() -> None:
    """Keep a SIGHUP for the worker, which is not yet there to hear it: it would end the program."""
    import signal  # noqa: PLC0415 - the others have no need of it

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
