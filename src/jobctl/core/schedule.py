"""Schedules: what cron or systemd is to run, as the text they read. Pure.

Formats: crontab(5), cron(8) for ``/etc/cron.d``; systemd.service(5), systemd.timer(5),
systemd.time(7), systemd.exec(5).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from jobctl.model.names import is_utf8

_OURS = "# Written by jobctl schedule"
MARK = f"{_OURS}; run it again to change this, with --remove to take it away."
END_MARK = "# End of what jobctl schedule wrote."

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
NETWORK = ("Wants=network-online.target", "After=network-online.target")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - named, not used


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
    asks: bool = True
    """Whether it must be told to go on without a yes."""


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
    Task(
        "backup", ("backup",), When(_DAY, minute=137, jitter=30 * _MINUTE), "copy the job store", asks=False
    ),
)
"""What an outputs directory needs to look after itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where it runs: the program, its options, who runs it, and what it may write to.

    ``user``: ``None`` for whoever's crontab or service manager it is. ``writes_homes``: something
    it writes lies in a home. ``shares_tmp``: something it needs lies in a directory for temporary
    files, so that it cannot be given one of its own.
    """

    program: str
    options: tuple[str, ...] = ()
    user: str | None
    writable: Sequence[str]
    writes_homes: bool
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


def why_not_crontab(setting: Setting) -> str | None:
    """Why a crontab cannot hold this, or ``None``."""
    if setting.environment_file:
        return "cron reads no file with environment variables"
    return _why_no_words([setting.program, *setting.options, setting.user or ""], setting.user)


def why_no_units(setting: Setting) -> str | None:
    """Why systemd's units cannot hold this, or ``None``."""
    # systemd takes no such program, however it is quoted.
    if set(setting.program) & set("'\"\\"):
        return f"systemd runs no program whose path holds a quote or a backslash: {setting.program!r}"
    file = setting.environment_file or ""
    # It is taken as it stands to the end of the line, and as a pattern of names.
    if set(file) & set("*?[\\") or file != file.strip():
        return f"systemd reads no environment file of this name: {file!r}"
    words = [setting.program, *setting.options, *setting.writable, file, setting.user or ""]
    return _why_no_words(words, setting.user)


def why_no_path(path: str) -> str | None:
    """Why a setting that takes a path to the end of the line cannot hold this one, or ``None``."""
    if path != path.strip():
        return f"systemd reads no path that begins or ends with a space: {path!r}"
    return _why_no_words([path], None)


def crontab(tasks: Iterable[Task], setting: Setting) -> str:
    """The lines for a crontab between two marks; with a user, as ``/etc/cron.d`` wants them."""
    lines = [MARK]
    for task in tasks:
        user = [setting.user] if setting.user else []
        jitter = f"{int(task.when.jitter.total_seconds())}s"
        words = [*_command(task, setting), "--jitter", jitter]
        lines.append(" ".join([_cron_time(task.when), *user, *map(_cron_quoted, words)]))
    return "\n".join([*lines, END_MARK, ""])


def unit_names(tasks: Iterable[Task]) -> list[str]:
    """The service's and the timer's name of each task."""
    return [f"jobctl-{task.name}.{kind}" for task in tasks for kind in ("service", "timer")]


def units(tasks: Sequence[Task], setting: Setting) -> list[File]:
    """A service and a timer for each task: for the machine, or without a user for a user's own manager."""
    texts = [text for task in tasks for text in (_service(task, setting), _timer(task))]
    return [File(name, text) for name, text in zip(unit_names(tasks), texts, strict=True)]


def is_ours(line: str) -> bool:
    """Whether a file or a block that begins with this line was written from here."""
    return line.startswith(_OURS)


def without_block(text: str) -> str:
    """A crontab without what an earlier schedule wrote between its marks.

    Raises ``ValueError`` where a block has no end: what follows it may be somebody else's.
    """
    kept, inside = [], False
    for line in text.removesuffix("\n").split("\n") if text else ():
        if is_ours(line):
            if inside:
                break
            inside = True
        elif inside:
            inside = line != END_MARK
        else:
            kept.append(line)
    if inside:
        raise ValueError("a block has no end")
    return "".join(f"{line}\n" for line in kept)


def _why_no_words(words: Iterable[str], user: str | None) -> str | None:
    if user is not None and not _USER.fullmatch(user):
        return f"{user!r} is no user's name"
    for word in words:
        if not is_utf8(word) or _CONTROL.search(word):
            return f"{word!r} holds what a line of text cannot"
    return None


def _command(task: Task, setting: Setting) -> list[str]:
    # Options follow the command.
    yes = ["--yes"] if task.asks else []
    return [setting.program, *task.words, *yes, "--quiet", *setting.options]


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


def _cron_quoted(word: str) -> str:
    r"""A word for the shell that cron gives it to, after cron has read it in a way of its own.

    An unescaped ``%`` ends the command there. Some crons make one of two backslashes, and some
    know no ``%`` at all: so ``\%`` stands outside of quotes, where a shell, too, takes it for
    ``%``, and no backslash stands before another one or before ``%``.
    """
    if not word:
        return "''"
    return "\\%".join(shlex.quote(part).replace("\\", "\\''") if part else "" for part in word.split("%"))


def _unit_quoted(word: str) -> str:
    """A word of a list of words, where ``%`` begins a specifier."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if word and not set(word) & set(" \t'\";\\") else f'"{escaped}"'


def environment_lines(setting: Setting) -> list[str]:
    """Where systemd reads variables from. The path is not a list of words: it is never quoted."""
    file = setting.environment_file
    return [f"EnvironmentFile={file.replace('%', '%%')}"] if file else []


def exec_start(words: Sequence[str]) -> str:
    """A program and its arguments as ``ExecStart`` takes them."""
    # "$$" would stay as it is in the program's path; a colon turns variables off for all of it.
    is_plain = not any("$" in word for word in words)
    return " ".join([("" if is_plain else ":") + _unit_quoted(words[0]), *map(_unit_quoted, words[1:])])


def _service(task: Task, setting: Setting) -> str:
    sections = [
        MARK,
        "[Unit]",
        f"Description=jobctl: {task.meaning}",
        *(NETWORK if setting.uses_network and setting.user else ()),
        "",
        "[Service]",
        "Type=oneshot",
        *([f"User={setting.user}"] if setting.user else ()),
        *environment_lines(setting),
        f"ExecStart={exec_start(_command(task, setting))}",
        "TimeoutStartSec=6h",
        "UMask=0077",
        "Nice=10",
        "IOSchedulingClass=idle",
        *(_own_view(setting) if setting.user else ()),
        "NoNewPrivileges=yes",
        "RestrictAddressFamilies=" + ("AF_UNIX AF_INET AF_INET6" if setting.uses_network else "AF_UNIX"),
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        # Refused like any other permission, instead of a kill in the middle of things.
        "SystemCallErrorNumber=EPERM",
        "",
    ]
    return "\n".join(sections)


def _own_view(setting: Setting) -> list[str]:
    """A view of the machine of its own, which a user's manager has no privilege to make.

    There such settings are ignored, or end the service before it begins (218/CAPABILITIES).
    """
    # With all else read-only, shared places for temporary files would be so too.
    shared = _TEMPORARY if setting.shares_tmp else ()
    return [
        "ProtectSystem=strict",
        f"ProtectHome={'no' if setting.writes_homes else 'read-only'}",
        *(f"ReadWritePaths={_unit_quoted(path)}" for path in (*setting.writable, *shared)),
        f"PrivateTmp={'no' if setting.shares_tmp else 'yes'}",
        "PrivateDevices=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
    ]


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
