"""One recovery in a process of its own, which can be ended when its time is over: ``python -m`` this.

It is told on the command line which root (or none: all), and until when by this boot's clock it may wait
for another run, and says on standard output, in one line of JSON, what it came to.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from typing import Any

from jobctl import clock
from jobctl.errors import ExitCode, JobctlError, Locked
from jobctl.ops.apply import apply_plan
from jobctl.ops.hold import Hold, hold_roots
from jobctl.ops.lastruns import end, last_runs
from jobctl.ops.recover import plan_recover
from jobctl.ops.site import Site, open_site, store_now
from jobctl.settings import load_settings

COMMAND = "recover"


def main() -> None:
    """Recover, and say what it came to."""
    signal.signal(signal.SIGTERM, _unwind)
    only, until = sys.argv[1] or None, float(sys.argv[2])
    try:
        with open_site(load_settings(environ=os.environ)) as site:
            told = recover_or_wait(site, only, until=until)
    except JobctlError as error:
        told = _told(error.exit_code, problems=[f"{error.message}; {error.hint}"])
    print(json.dumps(told))  # noqa: T201 - this is its answer


def recover_or_wait(site: Site, only: str | None, *, until: float) -> dict[str, Any]:
    """Recover at once, or be content with what another run of this host does meanwhile.

    Only a run of this host can tell that processes of this host are dead. Raises ``Locked`` where
    the other one takes longer than ``until``, and the errors of recovering.
    """
    started = store_now(site)
    try:
        with hold_roots(site, command=COMMAND, only=only) as hold:
            return _recover(hold, started)
    except Locked:
        wait_s = max(0.0, until - clock.monotonic())
        with hold_roots(site, command=COMMAND, only=only, wait_s=wait_s) as hold:
            if only is None and _was_done(site, started):
                return _told(ExitCode.CLEAN, by_another=True)
            return _recover(hold, started)


def _recover(hold: Hold, started: datetime) -> dict[str, Any]:
    troubles: list[JobctlError] = []
    with plan_recover(hold, troubles=troubles) as plan:
        report = apply_plan(hold, plan)
    code = ExitCode.INCOMPLETE if troubles and report.exit_code is ExitCode.CLEAN else report.exit_code
    # While the lock is held: who waits for it reads this.
    end(hold.site, COMMAND, started=started, code=code, error=None)
    problems = [f"{each.message}; {each.hint}" for each in troubles]
    if code is not ExitCode.CLEAN and not problems:
        problems = [f"part of it was not done, see 'jobctl run show {report.run_id}'"]
    return _told(code, run_id=report.run_id, done=report.counts.get("done", 0), problems=problems)


def _was_done(site: Site, since: datetime) -> bool:
    return any(
        each.command == COMMAND
        and each.host == site.host
        and each.finished_at >= since
        and each.exit_code == ExitCode.CLEAN
        for each in last_runs(site)
    )


def _told(code: ExitCode, **more: Any) -> dict[str, Any]:
    return {"code": int(code), "run_id": None, "done": 0, "problems": [], "by_another": False, **more}


def _unwind(*_: object) -> None:
    sys.exit(ExitCode.TERMINATED)


if __name__ == "__main__":
    main()
