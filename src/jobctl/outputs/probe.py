"""Probe: one safe look at one video, as deep as asked, with a reasoned verdict.

Nothing but a regular file is ever read; a file that is open for writing is never judged;
a file that was exchanged while it was looked at is unsettled.
"""

from __future__ import annotations

import errno
import os
import stat

from jobctl.model.files import Check, Media, Probe, Stamp, Tier, Verdict
from jobctl.outputs import container
from jobctl.outputs.decode import Decoder
from jobctl.outputs.identity import identity_of
from jobctl.outputs.settle import why_unsettled, writer_state
from jobctl.outputs.stamp import read_stamp, sha256_of, stamp_of_comment, verify_stamp

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


def probe(
    directory_fd: int,
    name: str,
    depth: Tier,
    *,
    decoder: Decoder | None,
    is_shared: bool,
    now_ns: int | None,
    quiet_s: float,
) -> Probe:
    """Look at one file. ``now_ns`` is the clock of its own file system; tiers 2 and 3 need a decoder."""
    try:
        fd = os.open(name, _FLAGS, dir_fd=directory_fd)
    except OSError as error:
        return Probe(_why_not_opened(error))
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return Probe(Check(Verdict.NOT_MEDIA, Tier.STAT, "it is no regular file; it was not read"))
        pending = why_unsettled(
            found, writers=writer_state(fd), is_shared=is_shared, now_ns=now_ns, quiet_s=quiet_s
        )
        if pending:
            return Probe(Check(Verdict.UNSETTLED, Tier.STAT, pending), identity_of(found))
        probed = _look(fd, found, depth, decoder)
        changed = _why_changed(fd, found, depth)
        return Probe(Check(Verdict.UNSETTLED, Tier.STAT, changed)) if changed else probed
    except OSError as error:
        return Probe(Check(Verdict.UNREADABLE, Tier.STAT, f"it cannot be read: {error.strerror}"))
    finally:
        os.close(fd)


def _look(fd: int, found: os.stat_result, depth: Tier, decoder: Decoder | None) -> Probe:
    size, identity = found.st_size, identity_of(found)
    check = container.check(fd, size, min(depth, Tier.PAYLOAD))
    if check.verdict is not Verdict.WHOLE or depth < Tier.DEMUX:
        return Probe(check, identity)
    if decoder is None:
        raise ValueError(f"tier {depth} needs a decoder")
    deep, media = decoder.check(fd, size, depth)
    if deep.verdict is not Verdict.WHOLE:
        return Probe(deep, identity, media)
    digest = sha256_of(fd, size)
    stamp = read_stamp(fd, size) or _commented_stamp(media, size, digest)
    is_verified = None if stamp is None else stamp.sha256 == digest or verify_stamp(fd, stamp)
    return Probe(deep._replace(warnings=check.warnings), identity, media, stamp, is_verified, digest)


def _commented_stamp(media: Media | None, size: int, digest: str) -> Stamp | None:
    """The stamp of a comment tag. It names the job and vouches for no checksum."""
    job_id = stamp_of_comment(media.comment if media else None)
    return None if job_id is None else Stamp(job_id, size, digest)


def _why_changed(fd: int, before: os.stat_result, depth: Tier) -> str | None:
    """Why what was read is not what the file holds now, or ``None``."""
    if identity_of(os.fstat(fd)) != identity_of(before):
        return "it was changed while it was looked at"
    # The deep checks take long enough for a writer to come who has not written yet.
    if depth >= Tier.DEMUX and writer_state(fd) == "open":
        return "it was opened for writing while it was looked at"
    return None


def _why_not_opened(error: OSError) -> Check:
    if error.errno == errno.ELOOP:
        return Check(Verdict.UNSUPPORTED, Tier.STAT, "a symbolic link; it is not followed")
    if error.errno == errno.ENXIO:
        return Check(Verdict.NOT_MEDIA, Tier.STAT, "a socket or device, not a file")
    return Check(Verdict.UNREADABLE, Tier.STAT, f"it cannot be opened: {error.strerror}")
