"""Server logs: which records of a log say something of which job.

Each rule runs over a whole block of text at once, which costs little where nothing fits;
what it finds must stand where a record's message begins. Logs are hostile: records torn
or glued together, lines without end, text of users among them. Nothing is believed but
what stands in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

from jobctl.core.foreign import number
from jobctl.core.layout import JOB_ID
from jobctl.core.urls import without_queries
from jobctl.errors import UsageError
from jobctl.evidence.logfile import HEAD
from jobctl.evidence.rules import Rule, RuleSet
from jobctl.model.logs import Mention
from jobctl.model.storable import storable_text
from jobctl.model.timestamps import format_timestamp

_MOST_WAITING = 2 << 20
"""So many bytes wait for the end of a line or a record, and no more."""
_LONGEST_HEAD = 400
_LONGEST_TEXT = 2_000
_MOST_LINES = 20
_MOST_HEADS = 10_000
_NEAR = 140
_LONGEST_STATUS = 40
_EARLIEST = "2000"
_is_id = re.compile(JOB_ID).fullmatch

_LEVELS = (b"INFO:", b"ERROR:", b"WARNING:", b"DEBUG:", b"CRITICAL:")
_LEVEL = rb"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)"
_RECORD = _LEVEL + rb":(?:[A-Za-z_][\w.]{0,80}:| {1,12})"
_ISO = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_CLF = rb"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}"
_COLOUR = rb"(?:\x1b\[[0-9;]{0,12}m)?"
# What may stand on a line before the message: container, time, level and logger, client.
_HEAD = re.compile(
    rb"%b(?P<speaker>(?P<instance>[A-Za-z0-9][\w.-]{0,62}) {0,40}\|%b ?)?"
    rb"(?P<record>"
    rb"(?:\[?(?P<iso>%b)\]?[ ,]{0,3}(?:- )?(?:[A-Za-z_][\w.]{0,80} - )?)?"
    rb"(?:%b|%b(?: - | \[[\w.]{1,80}\] | ))?"
    rb"(?:[0-9A-Fa-f.:]{2,45} - (?:[^\s\[]{1,80} \[(?P<clf>%b)\] )?)?"
    rb")" % (_COLOUR, _COLOUR, _ISO, _RECORD, _LEVEL, _CLF)
)
# Two records on one line, their newline lost: the second begins at its own head.
_GLUED = re.compile(_RECORD)
# Emoji, arrows, spaces and the like, with which messages are adorned.
_ADORNMENT = re.compile(rb"[^0-9A-Za-z\"'\[({<]{0,24}")
_LINE_BREAK = re.compile(rb"[\r\n]")


class Batch(NamedTuple):
    """What one block of a log said, by instance and in its order, and how far it was read.

    ``tail``: the bytes before that place, by which it is found again.
    """

    mentions: Sequence[tuple[str, Mention]]
    end_byte: int
    end_line: int
    tail: bytes


class LogReader:
    """Reads logs by rules; ``zone`` is that of the moments that name none."""

    def __init__(self, rule_sets: Iterable[RuleSet], *, zone: tzinfo = UTC, latest: str) -> None:
        self._rules = [rule for rule_set in rule_sets for rule in rule_set.rules]
        self._zone = zone
        self._latest = latest
        self._heads: dict[bytes, _Head | None] = {}
        self.naive = 0
        """How many moments named no zone."""

    def read(self, blocks: Iterable[bytes], *, at_byte: int = 0, at_line: int = 0) -> Iterator[Batch]:
        """Give what the text says, block after block, beginning at a place that was reached before.

        A last line that has no end yet is read, but not counted as read. Where the text
        falls silent an empty batch says so.
        """
        waiting, tail = b"", b""
        for block in blocks:
            if not block:
                yield Batch((), at_byte, at_line, tail)
                continue
            text = waiting + block
            may_wait = len(text) < _MOST_WAITING
            whole = text.rfind(b"\n") + 1 if may_wait else len(text)
            found = list(self._found(text[:whole], at_line))
            # A record whose text may go on waits for the next block.
            end = next((each.line_begin for each in found if each.is_open and may_wait), whole)
            text, waiting = text[:end], text[end:]
            at_byte, at_line = at_byte + end, at_line + text.count(b"\n")
            tail = (tail + text[-HEAD:])[-HEAD:]
            said = [(each.instance, each.mention) for each in found if each.line_begin < end]
            yield Batch(said, at_byte, at_line, tail)
        if waiting:
            said = [(each.instance, each.mention) for each in self._found(waiting, at_line)]
            whole = waiting.rfind(b"\n") + 1
            tail = (tail + waiting[:whole][-HEAD:])[-HEAD:]
            yield Batch(said, at_byte + whole, at_line + waiting.count(b"\n", 0, whole), tail)

    def _hits(self, text: bytes) -> list[tuple[int, int, Any]]:
        """Everything that fits a rule, in the order of the text: where, which rule, and the match."""
        hits = [
            (match.start(), place, match)
            for place, rule in enumerate(self._rules)
            if rule.contains in text
            for match in rule.pattern.finditer(text)
        ]
        hits.sort()
        return hits

    def _found(self, text: bytes, at_line: int) -> Iterator[_Found]:
        line, line_begin, seen, taken = at_line + 1, 0, 0, -1
        for begin, place, match in self._hits(text):
            if begin == taken:
                continue
            newline = text.rfind(b"\n", seen, begin)
            if newline >= 0:
                line_begin = newline + 1
                line += text.count(b"\n", seen, begin)
            seen = begin
            # Progress bars write one line over the other.
            over = text.rfind(b"\r", max(line_begin, begin - _LONGEST_HEAD), begin) + 1
            head = self._head(text, max(line_begin, over), begin)
            if head is None:
                continue
            taken, rule = begin, self._rules[place]
            said, is_open = _text_of(rule, match, text, head.instance) if rule.text_group else ("", False)
            mention = self._mention(rule, match, line, head.moment, said)
            if mention is not None:
                yield _Found(line_begin, head.instance, mention, is_open)

    def _head(self, text: bytes, line_begin: int, begin: int) -> _Head | None:
        """The head of the record whose message begins there; most lines of a log have one of a few."""
        if not 0 < begin - line_begin <= _LONGEST_HEAD:
            return _head_of(text, line_begin, begin)
        prefix = text[line_begin:begin]
        if prefix not in self._heads:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[prefix] = _head_of(text, line_begin, begin)
        return self._heads[prefix]

    def _mention(self, rule: Rule, match: Any, line: int, own_time: bytes, said: str) -> Mention | None:
        """What a match says; ``None`` where a rule of somebody's own takes for an id what can be none."""
        fields = {name: _decoded(match[group]) for group, name in rule.fields}
        at = fields.get("at") or _decoded(own_time)
        job_id, remote_id = fields.get("job_id", ""), fields.get("remote_id", "")
        if not all(_is_id(each) for each in (job_id, remote_id) if each):
            return None
        return Mention(
            rule.says,
            rule.name,
            line,
            job_id,
            self._moment(at) if at else "",
            storable_text(fields.get("status", "")[:_LONGEST_STATUS]),
            number(fields.get("progress", "")),
            said,
            remote_id,
            rule.dating,
        )

    def _moment(self, text: str) -> str:
        """The 27-character form of a moment; empty for one that cannot be."""
        try:
            moment = _parsed(text)
            if moment.tzinfo is None:
                self.naive += 1
                moment = moment.replace(tzinfo=self._zone)
            written = format_timestamp(moment)
        except (ValueError, OverflowError):
            return ""
        return written if _EARLIEST < written <= self._latest else ""


class _Head(NamedTuple):
    """What stands before a message."""

    instance: str
    moment: bytes


class _Found(NamedTuple):
    line_begin: int
    instance: str
    mention: Mention
    is_open: bool


def _decoded(value: bytes | None) -> str:
    return value.decode("utf-8", "backslashreplace") if value else ""


def _text_of(rule: Rule, match: Any, text: bytes, instance: str) -> tuple[str, bool]:
    """The text of a record, with the lines it goes on in; and whether more of them may follow."""
    begin, end = match.span(rule.text_group)
    if begin == end:
        end = text.find(b"\n", begin)
        end = len(text) if end < 0 else end
    first = _before_glued(text[begin : min(end, begin + _LONGEST_TEXT)])
    lines, is_open = [first], False
    if rule.continues and begin + len(first) == end:
        further, is_open = _continued(text, end, instance)
        lines += further
    said = b"\n".join(lines)[:_LONGEST_TEXT].decode("utf-8", "backslashreplace")
    return storable_text(without_queries(said).strip("\0 \t\r\n")), is_open


def _head_of(text: bytes, line_begin: int, begin: int) -> _Head | None:
    """Instance and time in the head of a line; ``None`` where no message begins at ``begin``."""
    if begin - line_begin > _LONGEST_HEAD and not _is_glued(text, line_begin, begin):
        return None
    head = _HEAD.match(text, line_begin, min(len(text), line_begin + _LONGEST_HEAD))
    if head is None:
        return None
    instance = _decoded(head["instance"])
    end = head.end()
    if end <= begin and _is_adornment(text, end, begin):
        return _Head(instance, head["iso"] or head["clf"] or b"")
    # What fits from the line's beginning on holds the head within itself.
    is_whole_line = begin == line_begin or begin < end
    return _Head(instance, b"") if is_whole_line or _is_glued(text, line_begin, begin) else None


def _is_glued(text: bytes, line_begin: int, begin: int) -> bool:
    """Whether a record's own head stands before ``begin`` in the middle of a line."""
    near = text[max(line_begin, begin - _NEAR) : begin]
    if not any(level in near for level in _LEVELS):
        return False
    heads = [found.end() for found in _GLUED.finditer(near)]
    return bool(heads) and _is_adornment(near, heads[-1], len(near))


def _is_adornment(text: bytes, begin: int, end: int) -> bool:
    found = _ADORNMENT.match(text, begin, end)
    return found is not None and found.end() == end


def _before_glued(line: bytes) -> bytes:
    glued = _GLUED.search(line)
    return line[: glued.start()] if glued else line


def _continued(text: bytes, end: int, instance: str) -> tuple[list[bytes], bool]:
    """The lines after ``end`` that begin no record; those of other instances are passed over.

    Tells also whether the text ended before they did.
    """
    lines: list[bytes] = []
    for _ in range(_MOST_LINES):
        begin = end + 1
        if begin >= len(text):
            return lines, True
        end = text.find(b"\n", begin)
        end = len(text) if end < 0 else end
        head = _HEAD.match(text, begin, min(end, begin + _LONGEST_HEAD))
        speaker = _decoded(head["instance"]) if head else ""
        if head and head["record"] and speaker == instance:
            return lines, False
        if speaker == instance:
            message = head.end("speaker") if head and head["speaker"] else begin
            lines.append(text[message : min(end, begin + _LONGEST_TEXT)])
    return lines, False


def zone_of(text: str) -> tzinfo:
    """The time zone that ``UTC``, ``+02:00`` or ``Europe/Berlin`` names. Raises ``UsageError``."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - beside its only use

    if text.upper() in {"UTC", "Z"}:
        return UTC
    offset = re.fullmatch(r"(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)", text)
    if offset and int(offset["hours"]) < 24 and int(offset["minutes"]) < 60:
        size = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"]))
        return timezone(size if offset["sign"] == "+" else -size)
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise UsageError(
            f"{text!r} names no time zone that this machine knows; nothing was read",
            hint="write --log-timezone UTC, +02:00 or Europe/Berlin",
        ) from None


def _parsed(text: str) -> datetime:
    """A moment as logs write it: ISO 8601, or the common log format. Raises ``ValueError``."""
    if "/" in text:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    # Python reads a fraction of any length, but neither a comma before it nor a space after it.
    return datetime.fromisoformat(text.replace(",", ".").replace(" +", "+").replace(" -", "-"))
