"""Log files as bytes: unpacked, in one encoding, block by block, and known again when seen twice."""

from __future__ import annotations

import bz2
import codecs
import errno
import hashlib
import lzma
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import IO, Any, NamedTuple

from jobctl.errors import LogUnreadable
from jobctl.model.commands import shell_word

BLOCK = 1 << 20
STDIN = "-"
_SAMPLE = 1 << 16
_IDLE_S = 0.5
HEAD = 4_096
"""By how many bytes at the beginning, and before the place reached, a log is known again."""
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\n\r\x1b"


class _Inflater:
    """A gzip member, with the interface of the other decompressors."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def decompress(self, packed: bytes, max_length: int) -> bytes:
        text = self._inflate.decompress(self._waiting + packed, max_length)
        self._waiting = self._inflate.unconsumed_tail
        return text


_MAGIC: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", _Inflater),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
)


class Place(NamedTuple):
    """How far a log was read: it is known again by its first bytes and by those before that place.

    ``head`` and ``tail`` are SHA-256 digests of so many bytes. ``bytes`` and ``lines`` count
    the text, unpacked.
    """

    head_bytes: int
    head: str
    tail_bytes: int
    tail: str
    bytes: int
    lines: int


class LogText:
    """One log as UTF-8 bytes (as far as it is text), read block by block from a pipe or a file.

    ``trouble`` says why reading ended early; what came before it is good. ``is_pipe``: it can
    be read only once. Opening raises ``LogUnreadable`` where there is no text to be read at all.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.trouble: LogUnreadable | None = None
        self._file = _opened(path)
        self._is_plain = False
        self._is_unpacked = False
        self.is_pipe = not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._may_wait = False
        self._ahead: list[bytes] = []
        self._blocks = self._text()
        try:
            self._read_head()
        except LogUnreadable:
            self.close()
            raise

    @property
    def head(self) -> bytes:
        """The first bytes, as many as there are and are looked at."""
        return b"".join(self._ahead)[:HEAD]

    def close(self) -> None:
        """Let go of the file."""
        self._blocks.close()
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def is_continued(self, place: Place) -> bool:
        """Whether this log begins like the one that was read up to ``place``."""
        return len(self.head) >= place.head_bytes and digest(self.head[: place.head_bytes]) == place.head

    def blocks(self) -> Iterator[bytes]:
        """Yield the text, in blocks of about a mebibyte; an empty one where a pipe falls silent."""
        yield from self._ahead
        yield from self._blocks

    def blocks_after(self, place: Place) -> Iterator[bytes] | None:
        """The text after ``place``; ``None`` where the bytes before it are not those that were read then.

        Reading it from the beginning needs a ``LogText`` of its own afterwards.
        """
        if self._is_plain:
            return self._sought(place)
        before, rest = b"", iter(self.blocks())
        read = 0
        for block in rest:
            read += len(block)
            before = (before + block)[-(len(block) + HEAD) :]
            if read >= place.bytes:
                after = read - place.bytes
                known, news = before[: len(before) - after], before[len(before) - after :]
                return chain([news], rest) if _ends_like(known, place) else None
        return None

    def _sought(self, place: Place) -> Iterator[bytes] | None:
        self._file.seek(place.bytes - place.tail_bytes)
        known = self._file.read(place.tail_bytes)
        return self._raw() if _ends_like(known, place) else None

    def _read_head(self) -> None:
        while sum(map(len, self._ahead)) < HEAD and (block := next(self._blocks, b"")):
            self._ahead.append(block)
        # What is followed live falls silent now and then: whoever reads it is told by an empty block.
        self._may_wait = self.is_pipe and self._is_unpacked

    def _text(self) -> Generator[bytes, None, None]:
        sample, blocks = _sampled(self._unpacked())
        encoding = _encoding_of(self.path, sample)
        if encoding is None:
            self._is_plain = self._is_plain and not sample.startswith(codecs.BOM_UTF8)
            yield next(blocks, b"").removeprefix(codecs.BOM_UTF8)
            yield from blocks
            return
        self._is_plain = False
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        for block in blocks:
            yield decoder.decode(block).removeprefix("\ufeff").encode("utf-8", "replace")

    def _unpacked(self) -> Iterator[bytes]:
        raw = self._raw()
        first = next(raw, b"")
        if first.startswith(_ZSTANDARD):
            hint = f"unpack it: zstdcat {shell_word(self.path)} | jobctl evidence ingest -"
            raise _unreadable(self.path, "it is packed by zstd", hint)
        unpack = next((make for magic, make in _MAGIC if first.startswith(magic)), None)
        if unpack is None:
            self._is_plain = not self.is_pipe
            self._is_unpacked = True
            yield first
            yield from raw
            return
        try:
            yield from _unpack(first, raw, unpack)
        except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
            self.trouble = LogUnreadable(
                f"the log {self.path} is damaged ({error}); what comes before the damage was read",
                hint="find another copy of it",
            )

    def _raw(self) -> Iterator[bytes]:
        read = getattr(self._file, "read1", self._file.read)
        while True:
            if self._may_wait and not select.select([self._file], [], [], _IDLE_S)[0]:
                yield b""
                continue
            try:
                block = read(BLOCK)
            except OSError as error:
                self.trouble = _unreadable(
                    self.path, error.strerror or str(error), "mend that, and read it again"
                )
                return
            if not block:
                return
            yield block


def _unpack(first: bytes, raw: Iterator[bytes], unpack: Callable[[], Any]) -> Iterator[bytes]:
    """Every member of a packed file, a block at a time however much is packed into it."""
    packed, member = first, None
    while packed or (packed := next(raw, b"")):
        member = member or unpack()
        text = member.decompress(packed, BLOCK)
        packed = b""
        yield text
        while not member.eof and not member.needs_input:
            yield member.decompress(b"", BLOCK)
        if member.eof:
            packed, member = member.unused_data.lstrip(b"\0"), None
    if member is not None:
        raise EOFError("it ends in the middle")


def _sampled(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    first = next(blocks, b"")
    while first and len(first) < len(codecs.BOM_UTF32_LE):
        more = next(blocks, b"")
        if not more:
            break
        first += more

    def every() -> Iterator[bytes]:
        if first:
            yield first
        yield from blocks

    return first[:_SAMPLE], every()


def _encoding_of(path: str, sample: bytes) -> str | None:
    """The encoding to decode from; ``None`` for UTF-8 and everything that contains ASCII."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding
    pairs = len(sample) // 2
    if pairs > 8:
        even, odd = sample[0 : 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
        if odd > 0.4 * pairs and even < 0.05 * pairs:
            return "utf-16-le"
        if even > 0.4 * pairs and odd < 0.05 * pairs:
            return "utf-16-be"
    # A crash may leave a hole of zeros in the middle of a log.
    text = sample.replace(b"\0", b"")
    if not _is_utf8(text) and len(text.translate(None, _PRINTABLE)) > 0.3 * len(text):
        raise _unreadable(
            path,
            "it is not text in an encoding that is known",
            "convert it to UTF-8, for instance with iconv",
        )
    return None


def _is_utf8(text: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text)
    except UnicodeDecodeError:
        return False
    return len(text.translate(None, bytes(range(0x20)))) >= 0.9 * len(text)


def digest(text: bytes) -> str:
    """The SHA-256 of ``text``."""
    return hashlib.sha256(text).hexdigest()


def _ends_like(text: bytes, place: Place) -> bool:
    known = text[len(text) - place.tail_bytes :]
    return len(known) == place.tail_bytes and digest(known) == place.tail


def _opened(path: str) -> IO[bytes]:
    if path == STDIN:
        return sys.stdin.buffer
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), "check its name and permissions") from None
    return open(descriptor, "rb")


def _unreadable(path: str, why: str, hint: str) -> LogUnreadable:
    return LogUnreadable(f"the log {path} cannot be read: {why}; the others were read", hint=hint)
