"""Outages: whose videos could not be reached, from which time to which. Pure.

A video that was made could not be reached while its job had no record, or while its file was gone.
A time that is not known is bounded by what is, never guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.core.accounts import End
from jobctl.core.reporting.incidents import Began, Loss
from jobctl.model.explained import Explained


class Cause(Explained):
    """Why a video could not be reached."""

    RECORD_LOST = "record-lost", "its job had no record"
    RECORD_MISSING = "record-missing", "its job had no record; no log tells since when"
    FILE_GONE = "file-gone", "its record named a file that was not there"


class Outage(NamedTuple):
    """A stretch of time in which a video could not be reached. ``until`` is empty while it lasts.

    ``owner`` is ``None`` where nobody is known to own the job. ``has_video``: else the job had come
    to none, and its owner missed only the answer.
    """

    job_id: str
    owner: str | None
    cause: Cause
    began: Began
    until: str
    has_video: bool
    by: str = ""


class Sight(NamedTuple):
    """A line of the history on a video's file: it was found to be gone, or to be there."""

    job_id: str
    path: str
    at: str
    is_there: bool


class Returned(NamedTuple):
    """A record that was rebuilt. ``last_known``: the last time that it names itself, at which the job was.

    ``missed_at``: when the run began that found it missing; ``undone_at``: when an undo took an earlier
    record of it, if one did.
    """

    job_id: str
    at: str
    last_known: str
    missed_at: str
    undone_at: str
    has_video: bool
    run_id: str


@dataclass(slots=True)
class Affected:
    """One owner, and what could not be reached."""

    owner: str | None
    outages: list[Outage] = field(default_factory=list)

    @property
    def videos(self) -> int:
        """How many different videos."""
        return len({each.job_id for each in self.outages if each.has_video})

    @property
    def answers(self) -> int:
        """How many jobs without a video nobody could say anything of."""
        return len({each.job_id for each in self.outages if not each.has_video})

    @property
    def still(self) -> int:
        """How many outages last."""
        return sum(not each.until for each in self.outages)

    @property
    def began(self) -> Began:
        """When the first began."""
        return min((each.began for each in self.outages), key=lambda began: (began.best, began))

    @property
    def until(self) -> str:
        """When the last ended; empty while one lasts."""
        return "" if self.still else max(each.until for each in self.outages)


def outages_of_losses(losses: Iterable[Loss], owners: Mapping[str, str | None]) -> Iterator[Outage]:
    """What could not be reached because its record was lost."""
    for loss in losses:
        owner = owners.get(loss.job_id)
        has_video = loss.end is End.COMPLETED
        cause = loss.incident.name
        yield Outage(loss.job_id, owner, Cause.RECORD_LOST, loss.began, loss.until, has_video, cause)


def outages_of_returned(
    returned: Iterable[Returned], owners: Mapping[str, str | None], *, explained: Collection[str]
) -> Iterator[Outage]:
    """What could not be reached until its record was rebuilt, and no restart ``explained``.

    When the record was lost nothing tells: not before the last time that is known of the job, and not
    after the run began that missed it. Whether it had one before that, nothing tells either.
    """
    for each in returned:
        if each.job_id in explained:
            continue
        missed_at = each.missed_at or each.at
        began = (
            Began(each.undone_at, each.undone_at)
            if each.undone_at
            else Began(min(each.last_known, missed_at), missed_at)
        )
        owner = owners.get(each.job_id)
        yield Outage(each.job_id, owner, Cause.RECORD_MISSING, began, each.at, each.has_video, each.run_id)


def outages_of_files(sights: Iterable[Sight], owners: Mapping[str, str | None]) -> Iterator[Outage]:
    """What could not be reached because its file was gone; ``sights`` of each file in their order.

    When it went is known only by when it was last seen, and when it was missed.
    """
    by_file: dict[tuple[str, str], list[Sight]] = defaultdict(list)
    for sight in sights:
        by_file[sight.job_id, sight.path].append(sight)
    for (job_id, _), seen in by_file.items():
        yield from _of_file(job_id, owners.get(job_id), seen)


def _of_file(job_id: str, owner: str | None, sights: Sequence[Sight]) -> Iterator[Outage]:
    last_there, began = "", None
    for sight in sights:
        if sight.is_there:
            if began is not None:
                yield Outage(job_id, owner, Cause.FILE_GONE, began, sight.at, has_video=True)
            last_there, began = sight.at, None
        elif began is None:
            began = Began(last_there, sight.at)
    if began is not None:
        yield Outage(job_id, owner, Cause.FILE_GONE, began, "", has_video=True)


def touching(outages: Iterable[Outage], since: str, until: str) -> Iterator[Outage]:
    """The outages that a period has a part of; one that may have begun in it is one of them."""
    for outage in outages:
        has_begun = outage.began.best < until
        if has_begun and (not outage.until or outage.until > since):
            yield outage


def by_owner(outages: Iterable[Outage]) -> list[Affected]:
    """The owners who were affected, the most affected first; what nobody is known to own comes last."""
    affected: dict[str | None, Affected] = {}
    for outage in outages:
        affected.setdefault(outage.owner, Affected(outage.owner)).outages.append(outage)
    for one in affected.values():
        one.outages.sort(key=lambda each: (each.began.best, each.job_id))
    return sorted(
        affected.values(), key=lambda one: (one.owner is None, -one.videos, -one.answers, one.owner or "")
    )
