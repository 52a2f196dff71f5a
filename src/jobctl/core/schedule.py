"""Schedules: what cron or systemd is to run, as the text they read. Pure.

Formats: crontab(5), cron(8) for ``/etc/cron.d``; systemd.service(5), systemd.timer(5),
systemd.time(7), systemd.exec(5).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

MARK = "# Written by 'jobctl schedule'; changed by running it again."
END_MARK = "# End of what 'jobctl schedule' wrote."

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class When(NamedTuple):
    """How often, and from which minute past midnight on; ``jitter`` is a random delay before it."""

    every: timedelta
    minute: int = 0
    jitter: timedelta = _MINUTE


class Task(NamedTuple):
    """One command that runs by itself. ``name`` names its unit."""

    name: str
    words: tuple[str, ...]
    when: When
    meaning: str


TASKS = (
    Task("recover", ("recover",), When(_HOUR, minute=7), "rebuild lost job records"),
    Task("expire", ("expire",), When(5 * _MINUTE), "end stale and outdated jobs"),
    Task(
        "cleanup", ("cleanup",), When(_DAY, minute=197, jitter=30 * _MINUTE), "move leftovers into quarantine"
    ),
    Task(
        "purge",
        ("quarantine", "purge"),
        When(_DAY, minute=257, jitter=30 * _MINUTE),
        "remove what was in quarantine long enough",
    ),
)
"""What an outputs directory needs to look after itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where it runs: the program with its options, who runs it, and what it may write to."""

    program: tuple[str, ...]
    user: str | None
    writable: Sequence[str]
    homes_visible: bool
    shares_tmp: bool
    uses_network: bool
    environment_file: str | None = None


class File(NamedTuple):
    """One file to write; ``path`` is a name within the place it belongs to."""

    path: str
    text: str


def why_no_period(every: timedelta) -> str | None:
    """Why a period cannot be written in both formats, or ``None``."""
    for unit, most in ((_MINUTE, 60), (_HOUR, 24)):
        count = every / unit
        if 1 <= count < most:
            return None if count.is_integer() and most % count == 0 else f"it does not divide {most} evenly"
    return None if every == _DAY else "it is neither minutes, hours nor one day"


def crontab(tasks: Iterable[Task], setting: Setting, *, names_user: bool) -> str:
    """The lines for a crontab between two marks; ``names_user``: as ``/etc/cron.d`` wants them."""
    lines = [MARK]
    for task in tasks:
        user = [setting.user or "root"] if names_user else []
        jitter = f"{int(task.when.jitter.total_seconds())}s"
        words = [*setting.program, *task.words, "--yes", "--quiet", "--jitter", jitter]
        lines.append(" ".join([_cron_time(task.when), *user, _cron_quoted(words)]))
    return "\n".join([*lines, END_MARK, ""])


def units(tasks: Iterable[Task], setting: Setting) -> list[File]:
    """A service and a timer for each task."""
    files = []
    for task in tasks:
        files.append(File(f"jobctl-{task.name}.service", _service(task, setting)))
        files.append(File(f"jobctl-{task.name}.timer", _timer(task)))
    return files


def without_block(text: str) -> str:
    """A crontab without what an earlier schedule wrote between its marks."""
    kept, is_ours = [], False
    for line in text.removesuffix("\n").split("\n") if text else ():
        is_ours = is_ours or line == MARK
        if not is_ours:
            kept.append(line)
        is_ours = is_ours and line != END_MARK
    return "".join(f"{line}\n" for line in kept)


def _cron_time(when: When) -> str:
    minute, hour = when.minute % 60, when.minute // 60
    if when.every < _HOUR:
        return f"*/{int(when.every / _MINUTE)} * * * *" if when.every > _MINUTE else "* * * * *"
    if when.every < _DAY:
        step = int(when.every / _HOUR)
        return f"{minute} {'*' if step == 1 else f'*/{step}'} * * *"
    return f"{minute} {hour} * * *"


def _calendar(when: When) -> str:
    minute, hour = when.minute % 60, when.minute // 60
    if when.every < _HOUR:
        return f"*:0/{int(when.every / _MINUTE)}"
    if when.every < _DAY:
        return f"0/{int(when.every / _HOUR)}:{minute:02}"
    return f"*-*-* {hour:02}:{minute:02}:00"


def _cron_quoted(words: Sequence[str]) -> str:
    # cron turns an unescaped % into a line end before any shell sees it.
    return shlex.join(words).replace("%", "\\%")


def _unit_quoted(word: str) -> str:
    """A word of a command line, where ``%`` begins a specifier and ``$`` a variable."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if word and not set(word) & set(" \t'\";\\") else f'"{escaped}"'


def _path_quoted(path: str) -> str:
    """A path in a list of paths: quoted, and no specifier; ``$`` means nothing there."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if set(path) & set(" \t'\"\\") else escaped


def _service(task: Task, setting: Setting) -> str:
    words = [*setting.program, *task.words, "--yes", "--quiet"]
    lines = [
        MARK,
        "[Unit]",
        f"Description=jobctl: {task.meaning}",
        "Documentation=man:systemd.timer(5)",
        *(["Wants=network-online.target", "After=network-online.target"] if setting.uses_network else []),
        "",
        "[Service]",
        "Type=oneshot",
        *([f"User={setting.user}"] if setting.user else []),
        *([f"EnvironmentFile={_path_quoted(setting.environment_file)}"] if setting.environment_file else []),
        f"ExecStart={' '.join(map(_unit_quoted, words))}",
        "TimeoutStartSec=6h",
        "UMask=0077",
        "Nice=10",
        "IOSchedulingClass=idle",
        "NoNewPrivileges=yes",
        f"PrivateTmp={'no' if setting.shares_tmp else 'yes'}",
        "PrivateDevices=yes",
        "ProtectSystem=strict",
        f"ProtectHome={'no' if setting.homes_visible else 'yes'}",
        *(f"ReadWritePaths={_path_quoted(path)}" for path in setting.writable),
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "RestrictAddressFamilies=" + ("AF_UNIX AF_INET AF_INET6" if setting.uses_network else "AF_UNIX"),
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "",
    ]
    return "\n".join(lines)


def _timer(task: Task) -> str:
    lines = [
        MARK,
        "[Unit]",
        f"Description=jobctl: {task.meaning}, from time to time",
        "",
        "[Timer]",
        f"OnCalendar={_calendar(task.when)}",
        f"RandomizedDelaySec={int(task.when.jitter.total_seconds())}s",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
        "",
    ]
    return "\n".join(lines)
