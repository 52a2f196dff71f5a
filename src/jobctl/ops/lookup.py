"""Look further for a job that is no record's id: by file, URL, render or key, and in all that is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby

from jobctl.core.layout import JOB_ID, PRESENTATIONS, Layout
from jobctl.core.logbook import trace_from_json
from jobctl.core.urls import job_id_of
from jobctl.errors import ConfigurationError, UnknownJob
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_word
from jobctl.model.lookup import SHORTEST_PREFIX, By, Clue, ClueKind, Found, Move
from jobctl.model.names import to_stored
from jobctl.model.storable import storable_text
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.layouts import layout_of
from jobctl.ops.site import Site
from jobctl.report.units import local_time
from jobctl.store import evidence, history, jobs, lookup, renders, roots, sightings
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

NOWHERE = (
    "looked for it among ids, file names, URLs, remote ids, keys, logs, scans and tombstones; "
    "run 'jobctl list' to see the jobs, or 'jobctl scan' to look for its files"
)
"""What to do where nothing knows of a job, and where that was looked for."""
_MOST = 5
_RENDER = re.compile(r"(?:avatar_)?(?P<id>[0-9a-f]{24})(?:\.mp4)?")


class JobNotFound(UnknownJob):
    """No job is recorded under what was named. ``clues`` are what is known of it all the same."""

    def __init__(self, message: str, *, hint: str, job_id: str, clues: list[Clue]) -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id
        self.clues = clues


class AmbiguousJob(UnknownJob):
    """What was named may mean several jobs."""

    def __init__(self, name: str, candidates: list[Found]) -> None:
        listed = ", ".join(f"{found.job_id} ({found.by.meaning})" for found in candidates)
        super().__init__(
            f"{name} may mean several jobs; none was chosen", hint=f"name one by its id: {listed}"
        )
        self.candidates = candidates


def job_named(site: Site, name: str) -> str:
    """The id of the one recorded job that has this id, or whose id alone begins like that.

    Whoever is about to change a job names it so; by file, URL or key it may only be shown.
    Raises ``AmbiguousJob`` and ``UnknownJob``.
    """
    if not name:
        raise UnknownJob("'' names no job", hint="run 'jobctl list' to see the jobs")
    with site.store.read() as connection:
        if _is_recorded(connection, name) or len(name) < SHORTEST_PREFIX:
            return name
        alike = lookup.resolve_prefix(connection, name, limit=_MOST)
    if len(alike) > 1:
        raise AmbiguousJob(name, [Found(job_id, By.PREFIX) for job_id in alike])
    return alike[0] if alike else name


def look_further(site: Site, connection: Connection, name: str) -> Found:
    """The one job that a text means which is no id of a record.

    Raises ``AmbiguousJob``, and ``JobNotFound`` with what is known of it.
    """
    known = roots.get_roots(connection)
    meant: dict[str, list[By]] = {}
    for found in _candidates(site, connection, known, name):
        meant.setdefault(found.job_id, []).append(found.by)
    recorded = [Found(job_id, ways[0]) for job_id, ways in meant.items() if _is_recorded(connection, job_id)]
    if len(recorded) == 1:
        return recorded[0]
    if recorded:
        raise AmbiguousJob(name, recorded)
    unrecorded = [Found(job_id, ways[0]) for job_id, ways in meant.items()] or _from_history(connection, name)
    if len(unrecorded) > 1:
        raise AmbiguousJob(name, unrecorded)
    raise _not_found(site, connection, known, unrecorded[0].job_id if unrecorded else name, name)


def _is_recorded(connection: Connection, job_id: str) -> bool:
    try:
        jobs.get_job(connection, job_id)
    except UnknownJob:
        return False
    return True


def _candidates(site: Site, connection: Connection, known: list[RootRow], name: str) -> Iterator[Found]:
    if len(name) >= SHORTEST_PREFIX:
        yield from _each(lookup.resolve_prefix(connection, name, limit=_MOST), By.PREFIX)
    told = [layout.classify(os.path.basename(name)) for layout in _layouts(site, known)]
    yield from _each((each[1] for each in told if each and each[1]), By.FILE)
    yield from _each(lookup.jobs_with_file(connection, _places(known, name)), By.FILE)
    yield from _each(filter(None, [job_id_of(name) or _by_own_form(site, name)]), By.URL)
    remote_id = _remote_id(name)
    if remote_id is not None:
        ids = (job_id for _, job_id in lookup.renders_named(connection, remote_id))
        yield from _each(filter(None, ids), By.RENDER)
    yield from _each(lookup.jobs_with_key(connection, name)[:_MOST], By.KEY)


def _each(job_ids: Iterable[str], by: By) -> Iterator[Found]:
    return (Found(job_id, by) for job_id in job_ids)


def _remote_id(name: str) -> str | None:
    match = _RENDER.fullmatch(os.path.basename(name))
    return None if match is None else match["id"]


def _layouts(site: Site, known: list[RootRow]) -> Iterator[Layout]:
    for name in dict.fromkeys([*(row.layout for row in known), PRESENTATIONS.name]):
        with suppress(ConfigurationError):
            yield layout_of(site.settings, name)


def _places(known: list[RootRow], name: str) -> Iterator[tuple[str, str]]:
    """Where a file of this path may lie: below each root, or at its full path below one."""
    path = os.path.normpath(name)
    for row in known:
        if not os.path.isabs(path):
            yield row.root_id, path
        elif path.startswith(f"{row.path.rstrip('/')}/"):
            yield row.root_id, os.path.relpath(path, row.path)


def _by_own_form(site: Site, url: str) -> str | None:
    """The job id in a URL of the form that the settings say."""
    path = url.partition("?")[0].partition("#")[0]
    for form in (site.settings.video_url_form, site.settings.thumbnail_url_form):
        begin, marked, end = form.partition("{job_id}")
        if not marked or not begin.strip("/") + end.strip("/"):
            continue
        match = re.search(f"{re.escape(begin)}(?P<id>{JOB_ID}){re.escape(end)}\\Z", path[-2_000:])
        if match:
            return match["id"]
    return None


def _from_history(connection: Connection, name: str) -> list[Found]:
    if len(name) < SHORTEST_PREFIX:
        return []
    return [Found(job_id, By.HISTORY) for job_id in history.jobs_with_history(connection, name, limit=_MOST)]


def _not_found(
    site: Site, connection: Connection, known: list[RootRow], job_id: str, name: str
) -> JobNotFound:
    clues = list(clues_of(site, connection, known, job_id))
    remote_id = _remote_id(name)
    if remote_id is not None:
        clues += _of_render(connection, remote_id)
    if clues:
        said = "; ".join(clue.said for clue in clues)
        return JobNotFound(
            f"no job {job_id} is recorded, but {said}",
            hint=f"go on with '{clues[0].next}'",
            job_id=job_id,
            clues=clues,
        )
    near = lookup.resolve_prefix(connection, name[:SHORTEST_PREFIX]) if name else []
    hint = f"ids that begin alike: {', '.join(near)}" if near else NOWHERE
    return JobNotFound(f"no job {job_id} is recorded", hint=hint, job_id=job_id, clues=[])


def clues_of(site: Site, connection: Connection, known: list[RootRow], job_id: str) -> Iterator[Clue]:
    """What is known of a job without a record, what decides of its return first."""
    job_id = storable_text(job_id)
    there = lookup.in_quarantine(connection, job_id)
    buried = lookup.tombstone_of(connection, job_id)
    if buried is not None and buried.closed_at is None:
        yield Clue(
            ClueKind.TOMBSTONE,
            f"it was {buried.cause} on {local_time(buried.at)} by {buried.actor}",
            f"jobctl quarantine restore {there[0].entry}" if there else f"jobctl events {shell_word(job_id)}",
        )
    for move in there[:1]:
        yield Clue(
            ClueKind.QUARANTINE,
            quarantine_note(site, there),
            f"jobctl quarantine restore {move.entry}",
        )
    for mark in lookup.declined_of(connection, job_id)[:1]:
        said = f"its recovery was taken back on {local_time(mark.at)} by run {mark.run_id}"
        yield Clue(ClueKind.DECLINED, said, "jobctl recover --include-declined")
    yield from _of_files(connection, known, job_id, is_buried=buried is not None)
    yield from _of_logs(connection, job_id)
    for render in renders.renders_of(connection, job_id)[:1]:
        said = f"render {render.render.remote_id} of {render.renderer} belongs to it"
        yield Clue(ClueKind.RENDER, said, "jobctl remote list")
    if buried is None and history.jobs_with_history(connection, job_id, limit=1) == [job_id]:
        yield Clue(ClueKind.EVENT, "the history tells of it", f"jobctl events {shell_word(job_id)}")


def quarantine_note(site: Site, there: list[Move]) -> str:
    """Where the files of a job are that were moved aside, and until when at least."""
    kept = site.settings.policy.quarantine
    first = min(move.at for move in there)
    what = f"its file {to_stored(there[0].path)} is" if len(there) == 1 else f"{len(there)} files of it are"
    return f"{what} in quarantine until {local_time(first + kept)}"


def _of_files(
    connection: Connection, known: list[RootRow], job_id: str, *, is_buried: bool
) -> Iterator[Clue]:
    seen = sightings.sightings_of(connection, job_id)
    if not seen:
        return
    root_id, path, role, _ = min(seen, key=lambda each: each[2] != "video")
    base = next((row.path for row in known if row.root_id == root_id), root_id)
    others = f", and {counted(len(seen) - 1, 'other file')}" if len(seen) > 1 else ""
    said = f"the last scan saw its {role or 'file'} at {to_stored(os.path.join(base, path))}{others}"
    yield Clue(ClueKind.FILE, said, f"jobctl explain {shell_word(job_id)}" if is_buried else "jobctl recover")


def _of_logs(connection: Connection, job_id: str) -> Iterator[Clue]:
    traces = [trace_from_json(row.claims) for row in evidence.traces_of(connection, job_id)]
    marks = [mark for trace in traces for mark in (trace.last, trace.denied_last, trace.asked_last) if mark]
    if not traces:
        return
    moment = max((mark.at or mark.after for mark in marks), default="")
    where = next((mark.where for mark in marks if moment in (mark.at, mark.after)), "")
    at = f" at {local_time(parse_timestamp(moment))}" if moment else ""
    source = f" ({where})" if where else ""
    yield Clue(ClueKind.LOG, f"a log knows of it{at}{source}", f"jobctl explain {shell_word(job_id)}")


def _of_render(connection: Connection, remote_id: str) -> Iterator[Clue]:
    for renderer, rows in groupby(lookup.renders_named(connection, remote_id), key=lambda row: row[0]):
        if not any(job_id for _, job_id in rows):
            said = f"render {remote_id} of {renderer} is known, which belongs to no job"
            yield Clue(ClueKind.RENDER, said, "jobctl remote list")
