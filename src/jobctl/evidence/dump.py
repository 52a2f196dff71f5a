"""Read dumps of jobs: JSON, JSON lines and CSV, entry by entry, flat in memory.

A dump is what a service wrote of its in-memory table, ``{job_id: {...}}`` or a list, or what
``jobctl export`` wrote. One bad entry is told with its place, and the rest is read.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, TextIO

from jobctl.core.cells import from_cell, from_columns
from jobctl.core.dump import EXPORTED, FORMAT, Entry, Wrong
from jobctl.model.dump import DumpFormat

_LONGEST = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_DECODER = json.JSONDecoder()
_WHITE = " \t\r\n"
SQLITE_MAGIC = b"SQLite format 3\0"

_ENDINGS = {
    ".json": DumpFormat.JSON,
    ".jsonl": DumpFormat.JSON_LINES,
    ".ndjson": DumpFormat.JSON_LINES,
    ".csv": DumpFormat.CSV,
    ".db": DumpFormat.SQLITE,
    ".sqlite": DumpFormat.SQLITE,
    ".sqlite3": DumpFormat.SQLITE,
}


def format_named(name: str) -> DumpFormat | None:
    """The format that a file's name tells."""
    return next((form for ending, form in _ENDINGS.items() if name.lower().endswith(ending)), None)


def format_of(head: bytes) -> DumpFormat:
    """The format that a file's first bytes tell."""
    if head.startswith(SQLITE_MAGIC):
        return DumpFormat.SQLITE
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("["):
        return DumpFormat.JSON
    if not text.startswith("{"):
        return DumpFormat.CSV
    try:
        first = json.loads(text.split("\n", 1)[0])
    except (ValueError, RecursionError):
        return DumpFormat.JSON
    # The table of a service has one object for each job; a line of its own is a job itself.
    return DumpFormat.JSON if all(isinstance(job, dict) for job in first.values()) else DumpFormat.JSON_LINES


def read_dump(stream: BinaryIO, form: DumpFormat) -> Iterator[Entry]:
    """Every entry of a dump in JSON, JSON lines or CSV."""
    if form is DumpFormat.CSV:
        return _csv_entries(stream)
    return _json_entries(stream) if form is DumpFormat.JSON else _line_entries(stream)


def checked_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The known fields of a dumped job, held to their types. Raises ``Wrong`` naming the field."""
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import

    from jobctl.evidence.dumped_job import DumpedJob  # noqa: PLC0415 - imports pydantic

    try:
        return DumpedJob.model_validate(dict(fields)).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Wrong(f"its {first['loc'][0]} is of another type") from None


def _line_entries(stream: BinaryIO) -> Iterator[Entry]:
    for number, line in enumerate(_lines(stream), start=1):
        where = f"line {number}"
        if line is None:
            yield Entry(where, None, "it is too long")
        elif line.strip():
            yield _entry(where, _text(line.removeprefix(codecs.BOM_UTF8)))


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines; ``None`` for one that is too long to be a job."""
    while line := stream.readline(_LONGEST):
        if len(line) < _LONGEST or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(_LONGEST)
        yield None


def _entry(where: str, text: str) -> Entry:
    try:
        return _job(where, json.loads(text))
    except (ValueError, RecursionError) as error:
        return Entry(where, None, _json_fault(error))


def _job(where: str, value: Any) -> Entry:
    if isinstance(value, dict):
        return Entry(where, value)
    return Entry(where, None, "it is no JSON object")


def _json_fault(error: ValueError | RecursionError) -> str:
    said = (
        error.msg
        if isinstance(error, json.JSONDecodeError)
        else "it is nested too deeply or has a huge number"
    )
    return f"it is no JSON: {said[:1].lower()}{said[1:]}"


def _text(content: bytes) -> str:
    # A byte that is no UTF-8 is kept visible; it is no reason to lose the job.
    return content.decode("utf-8", "surrogateescape")


def _csv_entries(stream: BinaryIO) -> Iterator[Entry]:
    csv.field_size_limit(_LONGEST)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(text)
    finally:
        text.detach()


def _csv_rows(text: TextIO) -> Iterator[Entry]:
    reader = csv.reader(_bounded(text), strict=True)
    where = "line 1"
    try:
        names = next(reader, [])
        if len(names) != len(set(names)):
            yield Entry(where, None, "its heading names a column twice; nothing was read")
            return
        while True:
            where = f"line {reader.line_num + 1}"
            cells = next(reader, None)
            if cells is None:
                return
            if cells:
                yield _csv_entry(where, names, cells)
    except csv.Error as error:
        # Where a quote is open nobody can tell where the next row begins.
        yield Entry(where, None, f"it is no CSV: {error}; nothing after it was read")


def _bounded(text: TextIO) -> Iterator[str]:
    """Lines, as long as they are no longer than a job can be. Raises ``csv.Error``."""
    while line := text.readline(_LONGEST):
        if len(line) == _LONGEST and not line.endswith(("\n", "\r")):
            raise csv.Error("a line is too long")
        yield line


def _csv_entry(where: str, names: list[str], cells: list[str]) -> Entry:
    if len(cells) != len(names):
        return Entry(where, None, f"it has {len(cells)} cells, the heading has {len(names)}")
    if names == list(EXPORTED) and cells[0] == FORMAT:
        try:
            decoded = {name: from_cell(cell) for name, cell in zip(names, cells, strict=True)}
            return Entry(where, from_columns(decoded))
        except Wrong as error:
            return Entry(where, None, str(error))
    return Entry(where, {name: cell for name, cell in zip(names, cells, strict=True) if cell})


def _json_entries(stream: BinaryIO) -> Iterator[Entry]:
    """The elements of an array, or the members of ``{job_id: {...}}``."""
    text = _Text(stream)
    opening = text.take()
    if opening not in {"[", "{"}:
        yield Entry("the beginning", None, "it is neither a JSON array nor an object of jobs")
        return
    closing = "]" if opening == "[" else "}"
    number = 0
    while text.peek() not in {closing, ""}:
        number += 1
        where, key = f"entry {number}", None
        try:
            if opening == "{":
                key = str(text.value())
                where = f"key {key!r}"
                text.expect(":")
            value = text.value()
            if text.peek() != closing:
                text.expect(",")
        except (ValueError, RecursionError) as error:
            yield Entry(where, None, f"{_json_fault(error)}; nothing after it was read")
            return
        yield _keyed(where, key, value)
    if text.take() != closing:
        yield Entry("the end", None, "the file is cut off")
    elif text.peek():
        yield Entry("the end", None, "something follows that was not read")


def _keyed(where: str, key: str | None, value: Any) -> Entry:
    entry = _job(where, value)
    if key is None or entry.document is None:
        return entry
    named = entry.document.get("job_id") or entry.document.get("jobId") or key
    # A key is always text, an id may be a number.
    if str(named) != key:
        return Entry(where, None, f"it names another job, {named!r}")
    told = {name: value for name, value in entry.document.items() if name != "jobId"}
    return Entry(where, {**told, "job_id": key})


class _Text:
    """JSON text read piece by piece: no more of it is held than one value needs."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is not white; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _WHITE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read(_CHUNK)

    def take(self) -> str:
        """Read over the next character that is not white."""
        found = self.peek()
        self._at += len(found)
        return found

    def expect(self, character: str) -> None:
        """Read over ``character``. Raises ``JSONDecodeError`` where another stands there."""
        if self.take() != character:
            raise json.JSONDecodeError(f"expecting {character!r}", "", 0)

    def value(self) -> Any:
        """Read the next value. Raises ``ValueError`` or ``RecursionError`` where there is none."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if self._ended or len(self._text) - self._at > _LONGEST:
                    raise
            else:
                # A number may go on beyond what was read; no other value can.
                if self._ended or end < len(self._text):
                    self._at = end
                    return value
            self._read(max(_CHUNK, len(self._text)))

    def _read(self, size: int) -> None:
        content = self._stream.read(size)
        self._ended = not content
        self._text = self._text[self._at :] + self._decode(content, self._ended)
        self._at = 0
