"""How jobs stand, for those who wait for them, and what is known of those without a record."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from jobctl.core.layout import JOB_ID, video_name
from jobctl.core.logbook import trace_from_json
from jobctl.errors import ConfigurationError, JobctlError
from jobctl.model.files import BROKEN, Verdict
from jobctl.model.job_summary import JobSummary, Where, Whereabouts
from jobctl.model.storable import storable_text
from jobctl.ops.hold import open_registered
from jobctl.ops.layouts import layout_of
from jobctl.ops.site import Site
from jobctl.store import evidence, lookup, roots, summaries
from jobctl.store.dialect import PostgreSQL
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow
from jobctl.store.summaries import SeenVideo

if TYPE_CHECKING:
    from jobctl.store.quick_looks import QuickLooks

__all__ = ["QuickLooks", "gone_since", "quick_looks", "summaries_of", "whereabouts"]
_IS_JOB_ID = re.compile(JOB_ID)


def summaries_of(site: Site, job_ids: Sequence[str]) -> dict[str, JobSummary]:
    """How jobs stand now, as far as they are recorded."""
    with site.store.glance() as connection:
        return summaries.summaries_of(connection, site.store.dialect, job_ids)


def quick_looks(site: Site) -> QuickLooks | None:
    """What an event loop may ask itself how a job stands; ``None`` where a file is to be read for that."""
    dialect = site.store.dialect
    if not isinstance(dialect, PostgreSQL):
        return None
    from jobctl.store.quick_looks import QuickLooks  # noqa: PLC0415 - the driver is slow to import

    return QuickLooks(dialect, site.store.store_id)


def gone_since(site: Site, summary: JobSummary) -> datetime:
    """Since when a job is expired."""
    with site.store.read() as connection:
        buried = lookup.tombstone_of(connection, summary.job_id)
    return summary.updated_at if buried is None or buried.closed_at is not None else buried.at


def whereabouts(site: Site, job_id: str) -> Whereabouts:
    """What is known of a job that has no record. Changes nothing.

    Evidence that a recovery has looked at since, without making a record of it, keeps nobody
    waiting, but for a video that is still being written.
    """
    job_id = storable_text(job_id)
    with site.store.read() as connection:
        buried = lookup.tombstone_of(connection, job_id)
        if buried is not None and buried.closed_at is None:
            said = f"job {job_id} is gone: it was {buried.cause}"
            return Whereabouts(Where.GONE, said, buried.at)
        seen = summaries.videos_seen(connection, job_id)
        is_declined = bool(lookup.declined_of(connection, job_id))
        clue, noted_at = _clue(connection, job_id, seen)
        recovered_at = summaries.recovered_at(connection)
        known = roots.get_roots(connection)
    if _is_growing(seen) or _is_on_disk(site, known, job_id, seen):
        said = f"job {job_id} has no record yet, but its video is there: its record is being recovered"
        return Whereabouts(Where.RECOVERING, said)
    if is_declined and not _sound(seen):
        said = f"job {job_id} has no record: it was recovered, and an operator took that back"
        return Whereabouts(Where.DECLINED, said)
    if clue and (recovered_at is None or (noted_at is not None and noted_at > recovered_at)):
        said = f"job {job_id} has no record yet, but {clue}: what became of it is being looked into"
        return Whereabouts(Where.RECOVERING, said)
    if clue:
        said = f"job {job_id} is lost: {clue}, and a recovery found nothing more of it"
        return Whereabouts(Where.LOST, said)
    return Whereabouts(Where.UNKNOWN, f"no job {job_id} is known")


def _clue(connection: Connection, job_id: str, seen: Sequence[SeenVideo]) -> tuple[str, datetime | None]:
    """What scans, logs and the renderer tell of a job, in words, and when that was noted. Empty: nothing."""
    sound = _sound(seen)
    if sound:
        return "a scan saw a video of it", max(video.first_seen for video in sound)
    traces = [trace_from_json(row.claims) for row in evidence.traces_of(connection, job_id)]
    rendered = summaries.render_seen_at(connection, job_id)
    # Whoever merely asked for it proves nothing: this very poll may be in a log.
    if any(trace.is_of_work or trace.served for trace in traces):
        noted = summaries.logs_noted_at(connection, job_id)
        return "a log tells of it", max(filter(None, (noted, rendered)), default=None)
    return ("the remote renderer knows of it", rendered) if rendered is not None else ("", None)


def _sound(seen: Iterable[SeenVideo]) -> list[SeenVideo]:
    return [video for video in seen if not video.is_declined and video.verdict not in BROKEN]


def _is_growing(seen: Iterable[SeenVideo]) -> bool:
    return any(not video.is_declined and video.verdict == Verdict.UNSETTLED for video in seen)


def _is_on_disk(site: Site, known: Iterable[RootRow], job_id: str, seen: Sequence[SeenVideo]) -> bool:
    """Whether its video lies where the layout has it, and no scan has said that it is worth nothing."""
    judged = {(video.root_id, video.path, video.inode, video.size, video.mtime_ns) for video in seen}
    if not _IS_JOB_ID.fullmatch(job_id):
        return False
    for row in known:
        if row.host not in {None, site.host}:
            continue
        with suppress(ConfigurationError):
            name = video_name(layout_of(site.settings, row.layout), job_id)
            found = _identity(site, row, name) if name is not None else None
            if found is not None and (row.root_id, name, *found) not in judged:
                return True
    return False


def _identity(site: Site, row: RootRow, name: str) -> tuple[int, int, int] | None:
    # A root that is away proves nothing, either way.
    with suppress(JobctlError, OSError), open_registered(site, row) as root:
        found = os.stat(name, dir_fd=root.fd, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            return found.st_ino, found.st_size, found.st_mtime_ns
    return None
