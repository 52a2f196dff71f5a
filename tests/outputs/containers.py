"""Containers for the tests: boxes put together by hand, and what the structural check says of a file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from jobctl.model.files import Check, Tier
from jobctl.outputs import container


def judge(path: Path, depth: Tier = Tier.PAYLOAD) -> Check:
    fd = os.open(path, os.O_RDONLY)
    try:
        return container.check(fd, os.fstat(fd).st_size, depth)
    finally:
        os.close(fd)


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def moov_of(content: bytes) -> bytes:
    return box(b"ftyp", b"isom" + bytes(12)) + box(b"mdat", bytes(64)) + box(b"moov", content)


def track_with_table(table: bytes) -> bytes:
    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(12))
    description = box(b"stsd", bytes(4) + struct.pack(">I", 1) + box(b"mp4v", bytes(78)))
    stbl = box(b"stbl", description + table)
    return box(b"trak", box(b"mdia", handler + box(b"minf", stbl)))


def boxes_of(content: bytes) -> list[tuple[bytes, int, int]]:
    found, position = [], 0
    while position < len(content):
        length = int.from_bytes(content[position : position + 4])
        found.append((content[position + 4 : position + 8], position, position + length))
        position += length
    return found
