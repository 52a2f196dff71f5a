"""How duplicates look on a terminal: sums first, then groups with their keeper and the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich.console import RenderableType

from jobctl.core.duplicates import By, CopyGroup, JudgedCopy
from jobctl.core.requests import RequestGroup
from jobctl.durations import took_said
from jobctl.model.amounts import counted
from jobctl.report.duplicate_digest import DuplicateDigest, found_shown
from jobctl.report.scan_screen import subject
from jobctl.report.screen import Example, Place, line, section, spaced, told
from jobctl.report.units import size_shown

_MEMBERS = 10


class SearchExtent(NamedTuple):
    """What was compared and found. ``roots`` maps root id to path; sizes in bytes, time in seconds."""

    videos: int
    groups: Mapping[By, int]
    bytes_to_save: int
    roots: Mapping[str, str]
    seconds: float


def duplicates_screen(
    digest: DuplicateDigest, extent: SearchExtent, place: Place
) -> Iterator[RenderableType]:
    """What a search for duplicates found, group by group."""
    return spaced(_blocks(digest, extent, place))


def _blocks(digest: DuplicateDigest, extent: SearchExtent, place: Place) -> Iterator[RenderableType]:
    found = found_shown(extent.groups, extent.bytes_to_save)
    yield line(f"Compared {counted(extent.videos, 'video')} in {took_said(extent.seconds)}: {found}.")
    for by in By:
        shown = digest.groups.get(by, [])
        for group in shown:
            yield _copies(group, extent.roots) if isinstance(group, CopyGroup) else _requests(group)
        rest = extent.groups.get(by, 0) - len(shown)
        if rest > 0:
            more = place(f"… {counted(rest, 'more group')}: jobctl duplicates --by {by.value} --jsonl")
            yield told(more, "dim")


def _copies(group: CopyGroup, roots: Mapping[str, str]) -> RenderableType:
    size = group.judged[0].copy.identity.size
    title = f"{counted(len(group.judged), 'file')} of {size_shown(size)}"
    saving = group.bytes_to_save
    gloss = f"{size_shown(saving)} could be saved" if saving else "nothing to save"
    examples = [
        Example(
            subject(judged.copy.job_id, judged.copy.root_id, judged.copy.path, roots),
            judged.reason,
            (judged.part.value, _fate(judged)),
        )
        for judged in group.judged[:_MEMBERS]
    ]
    return section(title, gloss, examples, _more(len(group.judged)))


def _requests(group: RequestGroup) -> RenderableType:
    title = f"{counted(len(group.judged), 'job')} with {group.same_by.meaning}"
    examples = [
        Example(judged.job.job_id, judged.reason, (judged.part.value, judged.job.status))
        for judged in group.judged[:_MEMBERS]
    ]
    return section(title, "every record stays as it is", examples, _more(len(group.judged)))


def _fate(judged: JudgedCopy) -> str:
    return "may go" if judged.may_go else "stays"


def _more(members: int) -> str:
    return f"… {members - _MEMBERS:,} more" if members > _MEMBERS else ""
