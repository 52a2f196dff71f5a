"""The edit list of a track of an ISO base media file: what of it is shown, and when (14496-12, 8.6.6)."""

from __future__ import annotations

from typing import NamedTuple

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.boxes import Children, Extent, children_of, entries_of
from jobctl.outputs.container.reader import Fault

_NOTHING = -1
_ROUNDED = 0.9


class _Edit(NamedTuple):
    """What is shown for ``length`` units of the movie: the media from ``begin`` on, or nothing."""

    length: int
    begin: int


def check_edits(content: bytes, trak: Children, media_end: int) -> None:
    """An edit list must show as much as the header of its track says (8.3.2), before the media's end.

    ``media_end`` is counted in the units of the media, all else in those of the movie.
    """
    edits = [edit for edts in trak.get(b"edts", ()) for edit in _edits(content, edts)]
    if not edits:
        return
    shown = [edit for edit in edits if edit.begin != _NOTHING]
    if not shown or any(edit.begin >= media_end for edit in shown):
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "its edit list shows nothing of it")
    declared, length = _declared(content, trak), sum(edit.length for edit in edits)
    if length < _ROUNDED * declared:
        reason = f"its edit list shows {length:,} of the {declared:,} units that are declared"
        raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)


def _edits(content: bytes, edts: Extent) -> list[_Edit]:
    found = []
    for place in children_of(content, *edts, "edts").get(b"elst", ()):
        width = 8 if content[place[0] : place[0] + 1] == b"\1" else 4
        size = 2 * width + 4
        _, raw = entries_of(content, place, "elst", head=4, width=size)
        for at in range(0, len(raw), size):
            length = int.from_bytes(raw[at : at + width])
            found.append(_Edit(length, int.from_bytes(raw[at + width : at + 2 * width], signed=True)))
    return found


def _declared(content: bytes, trak: Children) -> int:
    """How long a track is in all, by its header; 0 where that is not known."""
    for start, _ in trak.get(b"tkhd", ()):
        at, width = (start + 28, 8) if content[start : start + 1] == b"\1" else (start + 20, 4)
        units = int.from_bytes(content[at : at + width])
        return units if units < (1 << 8 * width) - 1 else 0
    return 0
