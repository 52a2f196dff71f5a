"""A new file beside whatever else lies there: whole or not at all, and replacing nothing unless asked to."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from jobctl.errors import DiskFailed, UsageError
from jobctl.outputs import effects

PRIVATE = 0o600
FOR_ALL_TO_READ = 0o644
NAME_ANOTHER = "name another file"
_NAMED = 50
"""So much of its name a file has while it is written: no character takes more than four of 255 bytes."""


class Unnamed(NamedTuple):
    """A file that is being written: it has its name only once it is whole."""

    fd: int
    path: str


@contextmanager
def new_file(
    path: str, *, mode: int = PRIVATE, replaces: bool = False, hint: str = NAME_ANOTHER
) -> Iterator[Unnamed]:
    """Let the block write a file, and give it its name at the end: it is whole, or it is not there.

    ``replaces``: also where there is one, in one step. ``hint``: what to do where the name is taken.
    Raises ``UsageError`` where it is, or where the file cannot be made, ``DiskFailed`` where it cannot
    be written to its end: then what was there is there still, and nothing else.
    """
    with ExitStack() as stack:
        directory, name = _opened(path, stack)
        _expect_free(directory, path, name, replaces=replaces, hint=hint)
        hidden = f".{name[:_NAMED]}.{secrets.token_hex(4)}.part"
        try:
            fd = effects.create_file(directory, hidden, mode)
        except OSError as error:
            raise _unusable(path, error) from None
        stack.callback(os.close, fd)
        stack.callback(_remove, directory, hidden)
        try:
            yield Unnamed(fd, os.path.join(os.path.dirname(os.path.abspath(path)), hidden))
            effects.fsync_file(fd)
            if replaces:
                effects.replace(directory, hidden, name)
            else:
                effects.rename_noreplace(directory, hidden, directory, name)
            effects.fsync_directory(directory)
        except FileExistsError:
            raise _taken(path, hint) from None
        except OSError as error:
            raise DiskFailed(
                f"{path} could not be written: {error.strerror}; nothing was left of it",
                hint="make room, or name a file on another disk",
            ) from error


def write_new_file(
    path: str,
    content: bytes,
    *,
    mode: int = PRIVATE,
    replaces: bool = False,
    hint: str = NAME_ANOTHER,
) -> None:
    """Write a file of this content. As ``new_file``."""
    with new_file(path, mode=mode, replaces=replaces, hint=hint) as file:
        effects.write_all(file.fd, content)


def check_new_file(path: str, *, replaces: bool = False, hint: str = NAME_ANOTHER) -> None:
    """Raise ``UsageError`` where ``new_file`` would, before anything is worked out for it."""
    with ExitStack() as stack:
        directory, name = _opened(path, stack)
        _expect_free(directory, path, name, replaces=replaces, hint=hint)


def _opened(path: str, stack: ExitStack) -> tuple[int, str]:
    """The directory of a file, opened, and the file's name in it."""
    directory, name = os.path.split(os.path.abspath(path))
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(path, error) from None
    stack.callback(os.close, fd)
    return fd, name


def _expect_free(directory: int, path: str, name: str, *, replaces: bool, hint: str) -> None:
    with suppress(FileNotFoundError):
        found = os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
        if not replaces:
            raise _taken(path, hint)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is no regular file; it was left as it was", hint=NAME_ANOTHER)


def _taken(path: str, hint: str) -> UsageError:
    return UsageError(f"{path} exists already; it was left as it was", hint=hint)


def _unusable(path: str, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be made: {error.strerror}; nothing was written", hint=NAME_ANOTHER)


def _remove(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):
        effects.unlink(directory, name)
