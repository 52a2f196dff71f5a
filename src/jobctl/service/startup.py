"""Recovery as a service starts: what ``jobctl recover --yes`` does, in time for the first request."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from jobctl import clock
from jobctl.durations import parse_duration, took_said
from jobctl.errors import ExitCode, JobctlError, UsageError
from jobctl.evidence.executor import liveness
from jobctl.model.amounts import counted
from jobctl.ops.hold import visible_roots
from jobctl.ops.site import Site, open_site
from jobctl.settings import Settings, load_settings
from jobctl.store import locks

_log = logging.getLogger("jobctl.startup")
_END_S = 0.5
_GRACE_S = 2.0
_LONGEST_TOLD = 2_000
_PROGRAM = (sys.executable, "-m", "jobctl.service.recovering")


class Outcome(StrEnum):
    """What became of a recovery at the start."""

    RECOVERED = "recovered"
    NOTHING = "nothing-to-do"
    BY_ANOTHER = "by-another"
    INCOMPLETE = "incomplete"
    TIMED_OUT = "timed-out"
    ROOT_AWAY = "root-away"
    STORE_AWAY = "store-away"
    FAILED = "failed"


class Recovery(NamedTuple):
    """What a recovery at the start came to.

    ``done``: how many records were rebuilt or mended. ``runs``: undone by ``jobctl undo RUN``.
    ``problems``: what could not be done, and why. ``seconds``: how long it took.
    """

    outcome: Outcome
    done: int = 0
    runs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all that could be lost has been looked for."""
        return self.outcome in {Outcome.RECOVERED, Outcome.NOTHING, Outcome.BY_ANOTHER}

    def __str__(self) -> str:
        done = f"{counted(self.done, 'record')} in {took_said(self.seconds)}"
        return f"{self.outcome}: {done}{_listed(self.problems)}"


def recover_on_start(
    url: str | None = None, *, within: float | timedelta | str = 60.0, config: str | None = None
) -> Recovery:
    """Heal what a restart lost: to be called once as a service starts, before its first request.

    It does what ``jobctl recover --yes`` does, in a process of its own. Where another server is at it, it
    waits; jobs of other servers are left alone. After ``within`` (seconds, or ``"90s"``) it is ended, and
    goes on with the next call. ``url`` and ``config`` as in ``--database`` and ``--config``. What goes
    wrong (a root or the store that is away) is told in what it returns and in one line of the log
    ``jobctl.startup``; raises only ``UsageError``, for settings that cannot be used.
    """
    began = clock.monotonic()
    settings = load_settings(config=config, database=url, environ=os.environ)
    deadline = began + _seconds(within)
    try:
        with open_site(replace(settings, as_root=True)) as site:
            found = _Start(site, settings, config, deadline).recover()
    except UsageError:
        raise
    except JobctlError as error:
        outcome = _OUTCOMES.get(error.exit_code, Outcome.FAILED)
        found = Recovery(outcome, problems=(f"{error.message}; {error.hint}",))
    found = found._replace(seconds=clock.monotonic() - began)
    _log.log(logging.INFO if found.is_whole else logging.WARNING, "recovery at the start: %s", found)
    return found


class _Start:
    """One recovery, which ends at ``deadline`` by this boot's clock."""

    def __init__(self, site: Site, settings: Settings, config: str | None, deadline: float) -> None:
        self._site = site
        self._deadline = deadline
        self._environment = {
            **os.environ,
            # Not on the command line, which 'ps' shows to everybody.
            "JOBCTL_DATABASE_URL": settings.database,
            **({"JOBCTL_CONFIG": config} if config else {}),
        }

    def recover(self) -> Recovery:
        """Recover below every root; below those that are there, where some are away."""
        roots = [row.root_id for row in visible_roots(self._site)]
        found = self._recover("")
        if found.outcome is not Outcome.ROOT_AWAY or len(roots) == 1:
            return found
        return _together([self._recover(root_id) for root_id in roots])

    def _recover(self, root_id: str) -> Recovery:
        """Recover below a root, or all of them, to the end or to ours."""
        left_s = max(0.0, self._deadline - clock.monotonic())
        words = [*_PROGRAM, root_id, f"{self._deadline - _END_S:.3f}"]
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(
                words, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
            ) as program:
                try:
                    told, _ = program.communicate(timeout=left_s)
                except subprocess.TimeoutExpired:
                    _end(program)
                    return Recovery(Outcome.TIMED_OUT, problems=(self._why_late(),))
                except BaseException:
                    _end(program)
                    raise
            said.seek(max(0, said.seek(0, os.SEEK_END) - _LONGEST_TOLD))
            return _outcome(told, said.read().decode(errors="replace"))

    def _why_late(self) -> str:
        """Who kept us waiting, as far as that can be told."""
        with self._site.store.read() as connection:
            held = locks.held_locks(connection)
        living = [each for each in held if liveness(each.executor, host=self._site.host) != "dead"]
        if not living:
            return "its time was over; the next one goes on"
        named = [f"pid {each.executor.pid} on {each.executor.host} holds {each.name}" for each in living]
        return f"its time was over while {', '.join(named)}"


def _end(program: subprocess.Popen[bytes]) -> None:
    """End a run so that the next one goes on where it was."""
    program.terminate()
    try:
        program.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        program.kill()


_OUTCOMES: Mapping[int, Outcome] = {
    ExitCode.CLEAN: Outcome.NOTHING,
    ExitCode.INCOMPLETE: Outcome.INCOMPLETE,
    ExitCode.BRAKE: Outcome.INCOMPLETE,
    ExitCode.LOCKED: Outcome.TIMED_OUT,
    ExitCode.ROOT: Outcome.ROOT_AWAY,
    ExitCode.OLD_STORE: Outcome.ROOT_AWAY,
    ExitCode.STORE: Outcome.STORE_AWAY,
}


def _outcome(answer: bytes, complaints: str) -> Recovery:
    """What the answer of a recovery means. ``complaints``: the end of what it said besides."""
    try:
        told = json.loads(answer)
    except ValueError:
        lines = complaints.strip().splitlines()
        why = lines[-1] if lines else "it said nothing"
        return Recovery(Outcome.FAILED, problems=(f"it broke off: {why}",))
    outcome = _OUTCOMES.get(told["code"], Outcome.FAILED)
    if told["by_another"]:
        outcome = Outcome.BY_ANOTHER
    elif outcome is Outcome.NOTHING and told["done"]:
        outcome = Outcome.RECOVERED
    runs = (told["run_id"],) if told["run_id"] else ()
    return Recovery(outcome, told["done"], runs, tuple(told["problems"]))


def _together(parts: Iterable[Recovery]) -> Recovery:
    """What recoveries of several roots came to: the one that is not whole decides."""
    found = list(parts)
    worst = next((each for each in found if not each.is_whole), None)
    done = sum(each.done for each in found)
    best = Outcome.RECOVERED if done else Outcome.NOTHING
    return Recovery(
        worst.outcome if worst else best,
        done,
        tuple(run_id for each in found for run_id in each.runs),
        tuple(problem for each in found for problem in each.problems),
    )


def _seconds(within: float | timedelta | str) -> float:
    if isinstance(within, str):
        try:
            within = parse_duration(within)
        except ValueError as error:
            raise UsageError(str(error), hint='write within=60 or within="90s"') from None
    return within.total_seconds() if isinstance(within, timedelta) else within


def _listed(problems: Iterable[str]) -> str:
    told = "; ".join(problems)
    return f"; {told}" if told else ""
