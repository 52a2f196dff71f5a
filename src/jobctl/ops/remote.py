"""Remote renders: ask the renderer for them, and match them to jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from jobctl.core.accounts import Account, End
from jobctl.core.matching import Doubt, JobClue, Match, Matching, match_renders
from jobctl.core.merge import align
from jobctl.core.rebuild import believe
from jobctl.errors import JobctlError
from jobctl.evidence.remote import Renderer, open_renderer
from jobctl.model.evidence import Bound
from jobctl.model.records import Record
from jobctl.model.renders import KnownRender, Proof, Render, RenderState
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.accounts import account_of_rows, load_lives
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.store import evidence, job_streams, renders

NO_LONGER_LISTED = "no longer listed"
"""What is noted as said of a render that its renderer told of before, and no more."""


@dataclass(slots=True)
class RemoteReport:
    """What is known of renders. ``doubts``: renders and jobs that cannot be told apart.

    ``is_complete``: the renderer told of all it has.
    """

    renders: list[KnownRender] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    errors: list[JobctlError] = field(default_factory=list)
    is_complete: bool = True

    def count_by_state(self) -> dict[str, int]:
        """How many renders are in each state."""
        counted = Counter(known.render.state.value for known in self.renders)
        return {state.value: counted[state.value] for state in RenderState}


def ask(site: Site, *, progress: ProgressSink | None = None) -> RemoteReport:
    """``refresh`` with the renderer of the settings. Raises ``RendererKeyMissing``."""
    with closing(open_renderer(site.settings.remote)) as renderer:
        return refresh(site, renderer, progress=progress)


def refresh(site: Site, renderer: Renderer, *, progress: ProgressSink | None = None) -> RemoteReport:
    """Ask the renderer for all it knows, match that to jobs, and keep it.

    Where it stops answering, what it said until then is kept, and the error is in the report.
    """
    report = RemoteReport()
    found = _told(renderer, report, progress)
    with site.store.read() as connection:
        now = site.store.now(connection)
        before = {
            known.render.remote_id: known
            for known in renders.list_renders(connection)
            if known.renderer == renderer.name
        }
    unlisted = {key: known for key, known in before.items() if key not in found}
    if report.is_complete:
        unlisted = {key: _gone(known) for key, known in unlisted.items()}
    known = {
        **{key: KnownRender(renderer.name, each, None, None, now) for key, each in found.items()},
        **unlisted,
    }
    matching = _match(site, known, before, is_complete=report.is_complete)
    by_render = {match.remote_id: match for match in matching.matches}
    with site.store.write() as connection:
        renders.record_renders(
            connection, (_matched(each, by_render.get(key)) for key, each in known.items())
        )
    report.doubts = matching.doubts
    report.renders = known_renders(site)
    return report


def known_renders(site: Site) -> list[KnownRender]:
    """What the renderer told when it was last asked."""
    with site.store.read() as connection:
        return renders.list_renders(connection)


def _told(renderer: Renderer, report: RemoteReport, progress: ProgressSink | None) -> dict[str, Render]:
    """Every render by its id, as far as the renderer answers."""
    found: dict[str, Render] = {}
    try:
        for render in renderer.renders(report.errors):
            found.setdefault(render.remote_id, render)
            if progress:
                progress(Progress("remote", len(found), None, renderer.name))
    except JobctlError as error:
        report.errors.append(error)
    report.is_complete = not report.errors
    return found


def _gone(known: KnownRender) -> KnownRender:
    render = known.render._replace(state=RenderState.UNKNOWN, said=NO_LONGER_LISTED)
    return known._replace(render=render)


def _match(
    site: Site, known: Mapping[str, KnownRender], before: Mapping[str, KnownRender], *, is_complete: bool
) -> Matching:
    """Match all that is known, what is no longer listed too: it was somebody's.

    Without the whole list nothing new is told by the time alone: what was not listed may fit as well.
    """
    decided = [
        Match(key, each.job_id, Proof.OPERATOR)
        for key, each in before.items()
        if each.matched_by is Proof.OPERATOR and each.job_id is not None
    ]
    matching = match_renders((each.render for each in known.values()), _clues(site), decided=decided)
    if is_complete:
        return matching
    sure = [
        match
        for match in matching.matches
        if match.proof is not Proof.TIME
        or (match.remote_id in before and before[match.remote_id].job_id == match.job_id)
    ]
    return matching._replace(matches=sure)


def _matched(known: KnownRender, match: Match | None) -> KnownRender:
    return known._replace(job_id=match.job_id if match else None, matched_by=match.proof if match else None)


def _clues(site: Site) -> Iterator[JobClue]:
    """What records and logs know of every job that may have had a render."""
    dialect = site.store.dialect
    with site.store.read() as connection:
        lives = load_lives(connection)
        streams = [
            job_streams.stream_records(connection, dialect, "", None),
            evidence.stream_traces(connection, dialect, "", None),
        ]
        for job_id, (records, traces) in align(streams):
            account = account_of_rows(job_id, traces, lives) if traces else Account()
            yield _clue(job_id, account, Record._make(records[0]) if records else None)


def _clue(job_id: str, account: Account, record: Record | None) -> JobClue:
    # A bound is no moment: what began some time before a line was written began when nobody knows.
    values = believe([fact for fact in account.facts if fact.bound is Bound.EXACT]).values
    remote_ids = frozenset(values.get("remote_ids") or ())
    if record is not None:
        moments = (record.created_at, record.started_at, record.completed_at)
        return JobClue(job_id, remote_ids, *map(_moment, moments))
    has_ended = account.fate is not None and account.fate.end is End.COMPLETED
    ended = values.get("completed_at") if has_ended else None
    return JobClue(
        job_id, remote_ids, *map(_moment, (values.get("created_at"), values.get("started_at"), ended))
    )


def _moment(value: object) -> datetime | None:
    return parse_timestamp(value) if isinstance(value, str) else None
