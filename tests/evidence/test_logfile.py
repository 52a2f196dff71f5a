"""Log files: whatever they are packed and encoded in, and known again when seen twice."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jobctl.errors import LogUnreadable
from jobctl.evidence.logfile import LogText, Place, digest

TEXT = "".join(f"INFO:svc:line {number} Übersicht 第三章 🚀\n" for number in range(40_000)).encode()


def text_of(path: Path) -> bytes:
    with closing(LogText(str(path))) as log:
        return b"".join(log.blocks())


def place_at(text: bytes, end: int) -> Place:
    head, tail = text[: min(4_096, end)], text[:end][-4_096:]
    return Place(len(head), digest(head), len(tail), digest(tail), end, text[:end].count(b"\n"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_it_is_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(pack(TEXT))
    assert text_of(path) == TEXT


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_several_packed_members_are_one_log(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(pack(TEXT) + pack(b"more\n"))
    assert text_of(path) == TEXT + b"more\n"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_of_a_torn_archive_is_read_what_is_there(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path, packed = tmp_path / "app.log.gz", pack(os.urandom(300_000).hex().encode())
    path.write_bytes(packed[: len(packed) // 2])
    with closing(LogText(str(path))) as log:
        read = sum(map(len, log.blocks()))
        assert log.trouble is not None
        assert "what comes before the damage was read" in log.trouble.message
    if pack is gzip.compress:
        assert read > 200_000


def test_much_packed_into_little_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "bomb.log.gz"
    path.write_bytes(gzip.compress(bytes(b"a" * 63 + b"\n") * (1 << 20)))
    with closing(LogText(str(path))) as log:
        assert max(map(len, log.blocks())) <= 1 << 20


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_other_encodings_are_read_as_well(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(TEXT.decode().encode(encoding))
    assert text_of(path) == TEXT


def test_a_hole_of_zeros_is_still_text(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(bytes(8_192) + TEXT)
    assert text_of(path).endswith(TEXT)


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 64,
        TEXT.decode().encode("cp500", "replace"),
        b"\x89PNG\r\n\x1a\n" + os.urandom(5_000),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(content)
    with pytest.raises(LogUnreadable, match="not text in an encoding that is known"):
        LogText(str(path))


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="No such file"):
        LogText(str(tmp_path / "gone.log"))
    with pytest.raises(LogUnreadable, match="Is a directory"):
        LogText(str(tmp_path))
    packed = tmp_path / "app.log.zst"
    packed.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(LogUnreadable, match="zstd"):
        LogText(str(packed))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reading_goes_on_where_it_stopped(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path, end = tmp_path / "app.log", TEXT.index(b"\n", 1_500_000) + 1
    path.write_bytes(pack(TEXT))
    place = place_at(TEXT, end)
    with closing(LogText(str(path))) as log:
        assert log.is_continued(place)
        blocks = log.blocks_after(place)
        assert blocks is not None
        assert b"".join(blocks) == TEXT[end:]


def test_a_log_that_only_begins_alike_is_another(tmp_path: Path) -> None:
    path, end = tmp_path / "app.log", 1_500_000
    path.write_bytes(TEXT[: end - 10] + b"something else" + TEXT[end:])
    with closing(LogText(str(path))) as log:
        assert log.is_continued(place_at(TEXT, end))
        assert log.blocks_after(place_at(TEXT, end)) is None
    path.write_bytes(b"x" + TEXT)
    with closing(LogText(str(path))) as log:
        assert not log.is_continued(place_at(TEXT, end))


def test_a_log_that_became_shorter_is_another(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(TEXT[:10_000])
    with closing(LogText(str(path))) as log:
        assert log.blocks_after(place_at(TEXT, 1_500_000)) is None


def test_a_pipe_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(TEXT,))
    writer.start()
    assert text_of(path) == TEXT
    writer.join()
