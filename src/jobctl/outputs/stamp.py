"""Stamps: a finished video carries whose it is, and a checksum of its own bytes.

An ISO-BMFF file (mp4, mov) may end in top-level boxes that players do not know; ISO/IEC
14496-12 (4.2, 11.1) has the box type ``uuid`` for private ones. The stamp is such a box:
32-bit size, ``uuid``, our 16-byte type, then JSON with job id, size and SHA-256 of all
bytes before the box. Written once, by whoever publishes the file, in under a millisecond.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from typing import Any

from jobctl.model.files import Stamp

BOX_TYPE = bytes.fromhex("6a6f6263746c41f5b3d2c07a1e5f9d84")
_HEADER = struct.Struct(">I4s16s")
_LARGEST_BOX = 1_024
_CHUNK = 1 << 20
_COMMENT = "jobctl:"


def make_stamp(fd: int, job_id: str) -> tuple[Stamp, bytes]:
    """The stamp for a file's present bytes, and the box that carries it, to be appended."""
    size = os.fstat(fd).st_size
    stamp = Stamp(job_id, size, sha256_of(fd, size))
    body = json.dumps({"v": 1, **stamp._asdict()}, separators=(",", ":")).encode()
    return stamp, _HEADER.pack(_HEADER.size + len(body), b"uuid", BOX_TYPE) + body


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
    return comment.removeprefix(_COMMENT).strip() or None


def sha256_of(fd: int, size: int) -> str:
    """SHA-256 of the first ``size`` bytes, in hex."""
    digest = hashlib.sha256()
    position = 0
    while position < size:
        chunk = os.pread(fd, min(_CHUNK, size - position), position)
        if not chunk:
            break
        digest.update(chunk)
        position += len(chunk)
    return digest.hexdigest()


def _parse(body: bytes, size: int) -> Stamp | None:
    try:
        found: dict[str, Any] = json.loads(body)
        stamp = Stamp(str(found["job_id"]), int(found["size"]), str(found["sha256"]))
    except (ValueError, LookupError, TypeError):
        return None
    return stamp if stamp.size == size else None
