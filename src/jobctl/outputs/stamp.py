"""Stamps: a finished video carries whose it is, and a checksum of its own bytes.

An ISO-BMFF file (mp4, mov) may end in top-level boxes that players do not know; ISO/IEC
14496-12 (4.2, 11.1) has the box type ``uuid`` for private ones. The stamp is such a box:
32-bit size, ``uuid``, our 16-byte type, then JSON with a version, job id, size and SHA-256
of all bytes before the box. Written once, by whoever publishes the file.

Matroska and WebM have no such boxes: there a ``comment`` tag names the job.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from typing import Any

from jobctl.model.files import Stamp

BOX_TYPE = bytes.fromhex("6a6f6263746c41f5b3d2c07a1e5f9d84")
_VERSION = 1
_HEADER = struct.Struct(">I4s16s")
_LARGEST_BOX = 1_024
_LONGEST_ID = 200
_SHA256 = re.compile("[0-9a-f]{64}")
_CHUNK = 1 << 20
_COMMENT = "jobctl:"


def make_stamp(fd: int, job_id: str) -> tuple[Stamp, bytes]:
    """The stamp for a file's present bytes, and the box that carries it, to be appended.

    Raises ``ValueError`` for a job id that no stamp can carry.
    """
    size = os.fstat(fd).st_size
    stamp = Stamp(job_id, size, sha256_of(fd, size))
    return stamp, box_of(stamp)


def box_of(stamp: Stamp) -> bytes:
    """The box that carries a stamp. Raises ``ValueError`` for a job id that no stamp can carry."""
    if not is_stampable(stamp.job_id):
        raise ValueError(f"no stamp can carry the job id {stamp.job_id!r}")
    content = {"v": _VERSION, **stamp._asdict()}
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return _HEADER.pack(_HEADER.size + len(body), b"uuid", BOX_TYPE) + body


def is_stampable(job_id: str) -> bool:
    """Whether a stamp can carry this job id: 1 to 200 printable characters, without spaces around them."""
    return 0 < len(job_id) <= _LONGEST_ID and job_id.isprintable() and job_id == job_id.strip()


def read_stamp(fd: int, size: int) -> Stamp | None:
    """The stamp at the end of a file of ``size`` bytes; ``None`` where there is none."""
    tail = os.pread(fd, _LARGEST_BOX, max(0, size - _LARGEST_BOX))
    start = tail.rfind(b"uuid" + BOX_TYPE) - 4
    if start < 0:
        return None
    length, _, _ = _HEADER.unpack_from(tail, start)
    if start + length != len(tail):
        return None
    return _parse(tail[start + _HEADER.size :], size - length)


def verify_stamp(fd: int, stamp: Stamp) -> bool:
    """Whether the bytes the stamp vouches for are the ones it was made for."""
    return sha256_of(fd, stamp.size) == stamp.sha256


def stamp_of_comment(comment: str | None) -> str | None:
    """The job id in a ``jobctl:<job id>`` comment tag, the stamp of containers without private boxes."""
    if comment is None or not comment.startswith(_COMMENT):
        return None
    job_id = comment.removeprefix(_COMMENT).strip()
    return job_id if is_stampable(job_id) else None


def sha256_of(fd: int, size: int) -> str:
    """SHA-256 of the first ``size`` bytes, in hex."""
    digest: str = digest_of(fd, size).hexdigest()
    return digest


def digest_of(fd: int, size: int) -> Any:
    """A hash object of the first ``size`` bytes, that can be fed with what follows them."""
    digest = hashlib.sha256()
    position = 0
    while position < size:
        chunk = os.pread(fd, min(_CHUNK, size - position), position)
        if not chunk:
            break
        digest.update(chunk)
        position += len(chunk)
    return digest


def _parse(body: bytes, size: int) -> Stamp | None:
    """The stamp in a box that begins behind ``size`` bytes. The content may be anybody's."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("v") != _VERSION:
        return None
    job_id, sha256 = found.get("job_id"), found.get("sha256")
    if not isinstance(job_id, str) or not is_stampable(job_id) or found.get("size") != size:
        return None
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        return None
    return Stamp(job_id, size, sha256)
