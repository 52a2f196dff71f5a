"""Publish a finished video: stamped, on the disk, and under its name in one step, or not at all.

A reader of the final name sees no file or the whole file. After a crash there is at most a
hidden temporary file, which no layout takes for a result.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from jobctl.core.layout import TEMPORARY_END
from jobctl.core.sidecar import own_document
from jobctl.errors import PublishRefused
from jobctl.model.commands import shell_word
from jobctl.model.files import Stamp, Tier, Verdict
from jobctl.outputs import container, effects
from jobctl.outputs.settle import writer_state
from jobctl.outputs.stamp import box_of, digest_of, is_stampable, read_stamp, sha256_of, verify_stamp

_HEAD = 64
_LONGEST_NAME = 255
_SOURCE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CANNOT_RENAME = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


class Published(NamedTuple):
    """A published file: its path, its size in bytes and the SHA-256 of all of them, in hex.

    ``duration_s``: how long a video says that it is; ``None`` where it does not, and for other files.
    """

    path: str
    size: int
    sha256: str
    duration_s: float | None = None


BeforeRename = Callable[[Published], None]
MakeRoom = Callable[[], None]


def publish(
    temporary: str | os.PathLike[str],
    final: str | os.PathLike[str],
    *,
    job_id: str,
    sidecar: Mapping[str, Any] | None = None,
    is_video: bool = True,
    make_room: MakeRoom | None = None,
    before_rename: BeforeRename | None = None,
) -> Published:
    """Give the finished file ``temporary`` its final name in the same directory.

    mp4 and mov files are stamped with the job id first. ``sidecar`` are facts that are written
    beside it as ``<final>.json``, with its checksum: owner, title, created_at, started_at,
    completed_at. A file that is no video is published as it is, unchecked and unstamped.

    ``before_rename`` is called once the file is on the disk and before anything of it can be
    seen; ``make_room`` then, where the name is taken, to move away what has no right to it. An
    error that either raises stops the publication, and what stands there keeps its own sidecar.

    Raises ``PublishRefused`` where the file is not whole or still written to, the name is
    taken, the directories differ or the job id cannot be carried, ``ValueError`` for a fact
    that no sidecar can tell, and ``OSError`` where the disk fails. The temporary file is kept
    then, and can be published again.
    """
    source, target = os.path.abspath(temporary), os.path.abspath(final)
    _expect_publishable(source, target, job_id)
    with _directory_of(target) as directory_fd:
        if make_room is None:
            _expect_free(directory_fd, source, target, job_id)
        published = _make_ready(directory_fd, source, target, job_id, is_video=is_video)
        if before_rename is not None:
            before_rename(published)
        if sidecar is not None:
            _free(directory_fd, source, target, job_id, make_room)
            _write_sidecar(directory_fd, source, published, job_id, sidecar)
        _move(directory_fd, source, target, job_id, make_room)
        effects.fsync_directory(directory_fd)
    return published


@contextmanager
def publishing(
    final: str | os.PathLike[str],
    *,
    job_id: str,
    sidecar: Mapping[str, Any] | None = None,
    is_video: bool = True,
    before_rename: BeforeRename | None = None,
) -> Iterator[str]:
    """Give the path of a hidden temporary file to write to; publish it at the end of the block.

    Where the block raises, the temporary file is removed and nothing is published. Where the
    block made its file and only publishing failed, the file is kept: the error names it.
    """
    temporary = hidden_beside(final)
    try:
        yield temporary
    except BaseException:
        _discard(temporary)
        raise
    publish(temporary, final, job_id=job_id, sidecar=sidecar, is_video=is_video, before_rename=before_rename)


def hidden_beside(final: str | os.PathLike[str]) -> str:
    """A path for what is to become ``final``; what a crash leaves there is known as a part of that."""
    directory, name = os.path.split(os.path.abspath(final))
    end = f".{secrets.token_hex(6)}{TEMPORARY_END}"
    kept = os.fsdecode(os.fsencode(name)[: _LONGEST_NAME - len(end) - 1])
    return os.path.join(directory, f".{kept}{end}")


def _write_sidecar(
    directory_fd: int, source: str, published: Published, job_id: str, facts: Mapping[str, Any]
) -> None:
    """Before the video has its name: a video without its sidecar would lose what only that knows."""
    document = own_document(job_id, size=published.size, sha256=published.sha256, facts=facts)
    content = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
    mode = stat.S_IMODE(os.stat(os.path.basename(source), dir_fd=directory_fd).st_mode)
    effects.write_file_atomically(directory_fd, f"{os.path.basename(published.path)}.json", content, mode)


def _discard(path: str) -> None:
    with suppress(OSError), _directory_of(path) as directory_fd:
        effects.unlink(directory_fd, os.path.basename(path))


@contextmanager
def _directory_of(path: str) -> Iterator[int]:
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _refused(source: str, why: str, hint: str) -> PublishRefused:
    return PublishRefused(f"{source} was not published: {why}; it was left where it is", hint=hint)


def _taken(source: str, target: str, job_id: str) -> PublishRefused:
    return _refused(
        source, f"{target} is there already", f"see whose it is: jobctl scan --job {shell_word(job_id)}"
    )


def _expect_publishable(source: str, target: str, job_id: str) -> None:
    if source == target:
        raise _refused(
            source, "it has its final name already", "write it under another name, and publish that"
        )
    if os.path.dirname(source) != os.path.dirname(target):
        raise _refused(source, f"it is not in the directory of {target}", "write it beside the final file")
    if not is_stampable(job_id):
        why = f"no stamp can carry the job id {job_id!r}"
        raise _refused(source, why, "use 1 to 200 printable characters")


def _expect_free(directory_fd: int, source: str, target: str, job_id: str) -> None:
    """Refuse a taken name before anything is touched; the rename makes sure of it once more."""
    try:
        there = os.stat(os.path.basename(target), dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    with suppress(FileNotFoundError):
        ours = os.stat(os.path.basename(source), dir_fd=directory_fd, follow_symlinks=False)
        # Both names on one file: a crash between link and unlink; the move completes it.
        if os.path.samestat(there, ours):
            return
    raise _taken(source, target, job_id)


def _free(directory_fd: int, source: str, target: str, job_id: str, make_room: MakeRoom | None) -> None:
    """See that the name is free, and so that its sidecar is nobody's."""
    try:
        _expect_free(directory_fd, source, target, job_id)
    except PublishRefused:
        if make_room is None:
            raise
        make_room()


def _make_ready(directory_fd: int, source: str, target: str, job_id: str, *, is_video: bool) -> Published:
    """Check the file, stamp it, and wait until it is on the disk."""
    fd = _open_closed(directory_fd, source)
    try:
        size, duration_s = os.fstat(fd).st_size, None
        if is_video:
            duration_s = _expect_whole(fd, size, source)
            size, sha256 = _stamped(fd, size, job_id)
        else:
            sha256 = sha256_of(fd, size)
        effects.fsync_file(fd)
        return Published(target, size, sha256, duration_s)
    finally:
        os.close(fd)


def _expect_whole(fd: int, size: int, source: str) -> float | None:
    """Also gives its length, as far as the check came upon it."""
    check, duration_s = container.examine(fd, size, Tier.TABLES)
    if check.verdict is not Verdict.WHOLE:
        raise _refused(
            source,
            f"the file is {check.verdict}: {check.reason}",
            "let the encoder finish and close the file first",
        )
    return duration_s


def _open_closed(directory_fd: int, source: str) -> int:
    """Open a file that nobody else is writing, for reading and writing."""
    name = os.path.basename(source)
    try:
        reading = os.open(name, os.O_RDONLY | _SOURCE, dir_fd=directory_fd)
    except OSError as error:
        hint = "write it first, as a regular file the service's user owns"
        raise _refused(source, f"it cannot be opened ({error.strerror})", hint) from None
    try:
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise _refused(source, "it is no regular file", "write a regular file")
        if writer_state(reading) == "open":
            raise _refused(source, "somebody still has it open for writing", "let the encoder close it first")
        writing = os.open(name, os.O_RDWR | _SOURCE, dir_fd=directory_fd)
        if not os.path.sameopenfile(reading, writing):
            os.close(writing)
            raise _refused(source, "it was exchanged just now", "let nobody else write there, and try again")
        return writing
    finally:
        os.close(reading)


def _stamped(fd: int, size: int, job_id: str) -> tuple[int, str]:
    """Append the stamp where the container can carry one; size and SHA-256 of all bytes then."""
    if container.sniff(os.pread(fd, _HEAD, 0)) != "isobmff":
        return size, sha256_of(fd, size)
    earlier = read_stamp(fd, size)
    if earlier is not None and earlier.job_id == job_id and verify_stamp(fd, earlier):
        return size, sha256_of(fd, size)
    digest = digest_of(fd, size)
    box = box_of(Stamp(job_id, size, digest.hexdigest()))
    os.lseek(fd, size, os.SEEK_SET)
    try:
        effects.write_all(fd, box)
    except OSError:
        # A torn stamp would make the finished video look cut, and it could not be published again.
        effects.truncate(fd, size)
        raise
    digest.update(box)
    return size + len(box), digest.hexdigest()


def _move(
    directory_fd: int, source: str, target: str, job_id: str, make_room: MakeRoom | None = None
) -> None:
    try:
        effects.rename_noreplace(
            directory_fd, os.path.basename(source), directory_fd, os.path.basename(target)
        )
    except FileExistsError:
        if make_room is None:
            raise _taken(source, target, job_id) from None
        make_room()
        _move(directory_fd, source, target, job_id)
    except OSError as error:
        if error.errno not in _CANNOT_RENAME:
            raise
        why = f"its file system cannot give it a name without replacing ({error.strerror})"
        raise _refused(source, why, "publish to a file system that can rename or link") from None
