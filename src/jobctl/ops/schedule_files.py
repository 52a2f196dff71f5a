"""Where a schedule's files lie: what is there already, writing them, taking them away."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from jobctl import clock
from jobctl.core.schedule import END_MARK, is_ours, without_block
from jobctl.errors import ScheduleRefused
from jobctl.model.commands import shell_line
from jobctl.ops.schedule import Kind, Schedule, ScheduleOptions
from jobctl.outputs import effects

_FOR_ALL_TO_READ = 0o644
_WANTED = ("timers.target.wants", "multi-user.target.wants", "default.target.wants")
_FIRST_LINE_BYTES = 200
_NO_CRONTAB = ("no crontab", "no such file")
"""How crons say that a user has none yet, lower case."""


def check_place(options: ScheduleOptions) -> None:
    """Raise ``ScheduleRefused`` where something stands that was not written from here."""
    for path in options.paths if options.place else ():
        if os.path.lexists(path) and not _is_ours(path):
            moved = shell_line(["mv", "--", path, f"{path}.old"])
            raise ScheduleRefused(
                f"{path} was not written by jobctl; nothing was changed",
                hint=f"move it away: {moved}; or write elsewhere with --directory",
            )


def install(schedule: Schedule) -> None:
    """Write the files, each whole or not at all. Raises ``ScheduleRefused``."""
    options = schedule.options
    check_place(options)
    if not options.place:
        _set_crontab(_others_crontab(_own_crontab()) + schedule.files[0].text)
        return
    with _directory(options.place, create=True) as fd:
        for file in schedule.files:
            effects.write_file_atomically(fd, file.path, file.text.encode(), _FOR_ALL_TO_READ)


def remove(options: ScheduleOptions) -> list[str]:
    """Take away what was installed, and what enables it; gives what was. Raises ``ScheduleRefused``."""
    if not options.place:
        before = _own_crontab()
        after = _others_crontab(before)
        if after == before:
            return []
        _set_crontab(after)
        return ["crontab"]
    gone = [path for path in options.paths if _is_ours(path)]
    if not gone:
        return []
    links = [link for path in gone for link in _enabling_links(path)]
    for path in [*gone, *links]:
        with _directory(os.path.dirname(path)) as fd:
            effects.unlink(fd, os.path.basename(path))
            effects.fsync_directory(fd)
    return [*gone, *links]


def installed_for_s() -> float | None:
    """For how long the machine, or this user, has had files of a schedule; ``None``: there is none.

    Of a crontab nobody knows since when: it counts as new.
    """
    kinds = [ScheduleOptions(kind=kind, every={}, user=user) for kind in Kind for user in ("root", None)]
    paths = [path for options in kinds if options.place for path in options.paths if os.path.exists(path)]
    if paths:
        return max(0.0, clock.now().timestamp() - max(os.stat(path).st_mtime for path in paths))
    return 0.0 if _is_in_own_crontab() else None


def _is_in_own_crontab() -> bool:
    try:
        return any(map(is_ours, _own_crontab().splitlines()))
    except (ScheduleRefused, OSError):
        return False


@contextmanager
def _directory(path: str, *, create: bool = False) -> Iterator[int]:
    try:
        if create:
            os.makedirs(path, exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    except OSError as error:
        raise ScheduleRefused(
            f"{path} cannot be written to: {error.strerror}; what was not written was left as it was",
            hint="check who you are and what may be written there, or name another place with --directory",
        ) from None


def _is_ours(path: str) -> bool:
    """Whether a file bears our mark. A link is somebody's, such as the one that masks a unit."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        start = os.read(fd, _FIRST_LINE_BYTES)
    except OSError:
        return False
    finally:
        os.close(fd)
    return is_ours(start.decode(errors="replace").partition("\n")[0])


def _enabling_links(path: str) -> Iterator[str]:
    """The links by which 'systemctl enable' remembers a unit."""
    for wanted in _WANTED:
        link = os.path.join(os.path.dirname(path), wanted, os.path.basename(path))
        if os.path.islink(link) and os.path.realpath(link) == os.path.realpath(path):
            yield link


def _own_crontab() -> str:
    """The caller's crontab. Nothing but its absence is taken for an empty one: it is written back."""
    ended = _crontab("-l")
    said = ended.stderr.strip()
    if ended.returncode and not any(sign in said.lower() for sign in _NO_CRONTAB):
        raise _crontab_refused("cannot be read", said)
    return "" if ended.returncode else ended.stdout


def _others_crontab(text: str) -> str:
    try:
        return without_block(text)
    except ValueError:
        raise ScheduleRefused(
            "the block that jobctl wrote into the crontab has no end, so that nothing tells it from "
            "what follows; nothing was changed",
            hint=f"with 'crontab -e', write below the last of its lines: {END_MARK}",
        ) from None


def _set_crontab(text: str) -> None:
    ended = _crontab("-", text)
    if ended.returncode:
        raise _crontab_refused("was not accepted", ended.stderr.strip())


def _crontab(argument: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("crontab")
    if program is None:
        raise ScheduleRefused(
            "this machine has no crontab program; nothing was changed",
            hint="install cron, or choose --systemd",
        )
    # What others wrote into it may be of any encoding, and comes back byte by byte.
    return subprocess.run(
        [program, argument],
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )


def _crontab_refused(what: str, said: str) -> ScheduleRefused:
    reason = said.splitlines()[0] if said else "crontab gave no reason"
    return ScheduleRefused(
        f"the crontab {what}: {reason}; it was left as it was",
        hint="see whether 'crontab -l' works for you, or choose --systemd",
    )
