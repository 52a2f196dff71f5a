"""Unchanged: whether the files that steps rest on are still those the plan was made on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from jobctl.model.files import FileIdentity
from jobctl.model.plan import Outcome
from jobctl.outputs.directories import open_directory, stat_below
from jobctl.outputs.identity import identity_of
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.stats import signed64, within64
from jobctl.store.runs import FileToCheck, Mark


def changed_files(opened: Sequence[OpenRoot], files: Sequence[FileToCheck]) -> list[Mark]:
    """The steps whose file is not the one the plan was made on."""
    by_id = {root.root_id: root for root in opened}
    marks: list[Mark] = []
    with ExitStack() as stack:
        look = _look(stack)
        for file in files:
            note = _what_changed(look, by_id.get(file.root_id), file)
            if note:
                marks.append(Mark(file.seq, Outcome.SKIPPED, note))
    return marks


def _look(stack: ExitStack) -> Callable[[OpenRoot, str], int]:
    """Opens each directory once per chunk, never through a symlink."""
    last: dict[str, Any] = {"key": None, "fd": -1}

    def directory(root: OpenRoot, path: str) -> int:
        key = (root.root_id, path)
        if last["key"] != key:
            last["fd"] = open_directory(root.fd, path)
            last["key"] = key
            stack.callback(os.close, last["fd"])
        return int(last["fd"])

    return directory


def _what_changed(
    look: Callable[[OpenRoot, str], int], root: OpenRoot | None, file: FileToCheck
) -> str | None:
    if root is None:
        return f"root {file.root_id} is not held"
    directory, name = os.path.split(file.path)
    try:
        found = os.stat(name, dir_fd=look(root, directory), follow_symlinks=False)
    except OSError as error:
        return f"the file cannot be looked at: {error.strerror}"
    planned = file.identity
    seen = (signed64(found.st_ino), found.st_size, within64(found.st_mtime_ns), found.st_ctime_ns)
    # The change time too: a file overwritten in place can be dated back, but not made to look unchanged.
    if seen != (planned.inode, planned.size, planned.mtime_ns, planned.ctime_ns):
        return "the file was changed or replaced since the plan"
    return None


def identity_there(
    root: OpenRoot, path: str, *, size: int | None, mtime_ns: int | None
) -> FileIdentity | None:
    """What makes the regular file of this size and time at a path; ``None`` where there is no such."""
    try:
        found = stat_below(root.fd, path)
    except OSError:
        return None
    there = identity_of(found)
    as_recorded = stat.S_ISREG(found.st_mode) and (there.size, there.mtime_ns) == (size, mtime_ns)
    return there if as_recorded else None
