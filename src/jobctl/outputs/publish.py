"""Publish a finished video: stamped, on the disk, and under its name in one step, or not at all.

A reader of the final name sees no file or the whole file. After a crash there is at most a
hidden temporary file, which no layout takes for a result.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from jobctl.errors import PublishRefused
from jobctl.model.files import Tier, Verdict
from jobctl.outputs import container, effects
from jobctl.outputs.stamp import make_stamp, sha256_of

_HEAD = 64
_LEFT = "the file was left where it is"


class Published(NamedTuple):
    """A published file: its path, its size in bytes and the SHA-256 of all of them, in hex."""

    path: str
    size: int
    sha256: str


def publish(
    temporary: str | os.PathLike[str],
    final: str | os.PathLike[str],
    *,
    job_id: str,
    before_rename: Callable[[Published], None] | None = None,
) -> Published:
    """Give the finished file ``temporary`` its final name in the same directory.

    mp4 and mov files are stamped with the job id first. ``before_rename`` is called once the
    file is on the disk and before it can be seen; an error it raises stops the publication.

    Raises ``PublishRefused`` where the file is not whole, the name is taken or the directories
    differ; the final name is untouched then.
    """
    source, target = os.path.abspath(temporary), os.path.abspath(final)
    directory, name = os.path.split(target)
    if os.path.dirname(source) != directory:
        raise PublishRefused(
            f"{source} is not in the directory of {target}; {_LEFT}",
            hint="write the temporary file beside the final one, for instance with publishing()",
        )
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        published = _make_ready(directory_fd, os.path.basename(source), target, job_id)
        if before_rename is not None:
            before_rename(published)
        try:
            effects.rename_noreplace(directory_fd, os.path.basename(source), directory_fd, name)
        except FileExistsError:
            raise PublishRefused(
                f"{target} is there already; {_LEFT}", hint=f"see whose it is: jobctl scan --job {job_id}"
            ) from None
        effects.fsync_directory(directory_fd)
    finally:
        os.close(directory_fd)
    return published


@contextmanager
def publishing(final: str | os.PathLike[str], *, job_id: str) -> Iterator[str]:
    """Give the path of a hidden temporary file to write to; publish it at the end of the block.

    Where the block raises, the temporary file is removed and nothing is published.
    """
    directory, name = os.path.split(os.path.abspath(final))
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(6)}.part")
    try:
        yield temporary
        publish(temporary, final, job_id=job_id)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _make_ready(directory_fd: int, name: str, target: str, job_id: str) -> Published:
    """Check the file, stamp it, and wait until it is on the disk."""
    fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        size = os.fstat(fd).st_size
        check = container.check(fd, size, Tier.TABLES)
        if check.verdict is not Verdict.WHOLE:
            raise PublishRefused(
                f"{target} was not published, the file is {check.verdict}: {check.reason}",
                hint="let the encoder finish and close the file first",
            )
        if container.sniff(os.pread(fd, _HEAD, 0)) == "isobmff":
            _, box = make_stamp(fd, job_id)
            os.lseek(fd, size, os.SEEK_SET)
            effects.write_all(fd, box)
            size += len(box)
        effects.fsync_file(fd)
        return Published(target, size, sha256_of(fd, size))
    finally:
        os.close(fd)
