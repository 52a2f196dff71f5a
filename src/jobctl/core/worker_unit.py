"""A worker as a service of systemd: systemd.service(5), systemd.kill(5), sd_notify(3). Pure."""

from __future__ import annotations

from math import ceil

from jobctl.core.schedule import MARK, NETWORK, File, Setting, environment_lines, exec_start

NAME = "jobctl-worker.service"

_ATTEMPTS_ARE_ENDED_S = 30.0
"""How long a worker may take to hand back, after its grace, what did not finish."""


def worker_unit(setting: Setting, *, directory: str, grace_s: float) -> File:
    """The unit of a worker that is started in ``directory``, from where its modules are imported.

    It runs handlers, which are somebody else's code: nothing is forbidden to them but new privileges.
    """
    lines = [
        MARK,
        "[Unit]",
        "Description=jobctl: take jobs and run them",
        *(NETWORK if setting.uses_network and setting.user else ()),
        # A database that is away for an hour is no reason to give up.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        *([f"User={setting.user}"] if setting.user else ()),
        *environment_lines(setting),
        # Not a list of words: it is never quoted.
        f"WorkingDirectory={directory.replace('%', '%%')}",
        f"ExecStart={exec_start([setting.program, 'worker', *setting.options])}",
        "ExecReload=kill -HUP $MAINPID",
        "Restart=always",
        "RestartSec=2s",
        "TimeoutStartSec=5min",
        "WatchdogSec=60s",
        # The worker itself ends what it runs; what is left after that is killed.
        "KillMode=mixed",
        f"TimeoutStopSec={ceil(grace_s + _ATTEMPTS_ARE_ENDED_S)}s",
        # An attempt that was killed for its memory is told of; the worker and the others go on.
        "OOMPolicy=continue",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if setting.user else 'default.target'}",
        "",
    ]
    return File(NAME, "\n".join(lines))
