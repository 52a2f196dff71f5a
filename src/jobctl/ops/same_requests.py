"""Same requests: jobs brought together by what they were asked for. Flat in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Self

from jobctl.core.case import Case
from jobctl.core.merge import align
from jobctl.core.requests import AskedJob, RequestGroup, SameBy, judge_requests, request_keys
from jobctl.model.files import Role
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.outputs.spool import Spool
from jobctl.store import referrers

_ORDER = {same_by: str(number) for number, same_by in enumerate(SameBy)}
_BY_ORDER = {number: same_by for same_by, number in _ORDER.items()}
_TOLD_EVERY = 1_000


@dataclass(slots=True)
class RequestComparison:
    """Takes what a scan saw of each job, then gives the groups of jobs that ask for the same."""

    site: Site
    progress: ProgressSink
    walked: frozenset[str]
    """The roots that were walked; of the others the records are believed."""
    _served: Spool = field(default_factory=Spool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._served.__exit__(None, None, None)

    def add(self, case: Case) -> None:
        """Take a job as it was seen."""
        if case.record is not None and self._has_video(case):
            self._served.add((case.key,))

    def groups(self) -> Iterator[RequestGroup]:
        """The groups: by payload first; one that says no more than another before it is left out."""
        with Spool() as asked:
            for row in self._asked():
                asked.add(row)
            for key, rows in groupby(asked.in_order(), key=itemgetter(0)):
                jobs = list(rows)
                same_by = _BY_ORDER[key[0]]
                if len(jobs) > 1 and not _is_told_already(jobs, same_by):
                    judged = judge_requests([AskedJob(*row[2:]) for row in jobs], same_by)
                    yield RequestGroup(f"{same_by.value}:{key[1:]}", same_by, judged)

    def _asked(self) -> Iterator[tuple[Any, ...]]:
        """Each job once for each way in which its request may be the same as another's."""
        done = 0
        for low, high, served in self._served.partitions():
            with self.site.store.read() as connection:
                requests = referrers.stream_requests(connection, low, high)
                for _, (videos, found) in align([iter(served), requests]):
                    for row in found:
                        yield from _rows(row, has_video=bool(videos))
                    done += len(found)
                    if done % _TOLD_EVERY == 0:
                        self.progress(Progress("reconcile", done))

    def _has_video(self, case: Case) -> bool:
        if case.whole_videos:
            return True
        return any(
            file.role == Role.VIDEO and file.state == "present" and file.root_id not in self.walked
            for file in case.linked
        )


def _rows(row: referrers.AskedRow, *, has_video: bool) -> Iterator[tuple[Any, ...]]:
    created_at = format_timestamp(row.created_at) if isinstance(row.created_at, datetime) else ""
    job = AskedJob(row.job_id, row.kind, row.owner, row.status, created_at, has_video)
    keys = request_keys(row.owner, row.idempotency_key, row.payload)
    for same_by, digest in keys.items():
        yield (f"{_ORDER[same_by]}{digest}", keys.get(SameBy.PAYLOAD, row.job_id), *job)


def _is_told_already(jobs: list[tuple[Any, ...]], same_by: SameBy) -> bool:
    """Whether all of them have the same payload too."""
    return same_by is not SameBy.PAYLOAD and len({row[1] for row in jobs}) == 1
