"""Reports: read the history, the evidence and the records of a period, and fold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from jobctl.core.accounts import Lives, Restart, Statement, last_life_of
from jobctl.core.logbook import trace_from_json
from jobctl.core.reporting.activity import Activity, What, reason_of
from jobctl.core.reporting.billing import Bill, billed, bills_of
from jobctl.core.reporting.incidents import (
    Fallen,
    Losses,
    all_restarts,
    began_of,
    losses_of,
    restarts_in,
)
from jobctl.core.reporting.outages import (
    Affected,
    by_owner,
    outages_of_files,
    outages_of_losses,
    outages_of_returned,
    touching,
)
from jobctl.core.reporting.periods import Bins, Period, Zone
from jobctl.core.reporting.story import Story
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.accounts import load_lives
from jobctl.ops.measure import measured
from jobctl.ops.site import ProgressSink, Site
from jobctl.store import reports
from jobctl.store.engine import Connection

_BEYOND = 2**31 - 1


def story_of(site: Site, period: Period, zone: Zone) -> Story:
    """What happened in a period, at one moment of the store."""
    with site.store.read() as connection:
        lives = load_lives(connection)
        losses = _losses(site, connection, lives, list(restarts_in(lives, period)))
        bins = Bins(period, zone)
        history = _history(site, connection, period, bins)
        return Story(
            period=period,
            zone=zone,
            now=site.store.now(connection),
            bins=bins,
            activity=history.activity,
            elsewhere=losses.attribute(history.recoveries),
            incidents=losses.incidents,
            interruptions=losses.other_interruptions(history.interruptions),
            undated=sum(not began_of(each.boot.mark).best for each in all_restarts(lives)),
            stored=reports.stored(connection, period.since, period.until),
            walked=reports.walked(connection),
        )


def affected_users(site: Site, period: Period) -> tuple[list[Affected], datetime]:
    """Whose videos could not be reached in a period, from which time to which; and the store's now."""
    since, until = format_timestamp(period.since), format_timestamp(period.until)
    with site.store.read() as connection:
        lives = load_lives(connection)
        dated = [restart for restart in all_restarts(lives) if began_of(restart.boot.mark).best]
        losses = _losses(site, connection, lives, dated).losses
        now = site.store.now(connection)
        sights = reports.sights_of_videos(connection, now)
        returned = reports.returned(connection, period.since)
        explained = {loss.job_id for loss in losses}
        missed = {sight.job_id for sight in sights} | {each.job_id for each in returned}
        owners = reports.owners_of(connection, explained | missed)
    outages = [
        *outages_of_losses(losses, owners),
        *outages_of_returned(returned, owners, explained=explained),
        *outages_of_files(sights, owners),
    ]
    return by_owner(touching(outages, since, until)), now


def bills(
    site: Site, period: Period, *, measures: bool = False, progress: ProgressSink | None = None
) -> list[Bill]:
    """Completed jobs and minutes of a period, by owner.

    ``measures``: videos of it whose length nobody knows are read now.
    """
    since, until = format_timestamp(period.since), format_timestamp(period.until)
    with site.store.read() as connection:
        jobs = list(billed(reports.milestones(connection, site.store.dialect)))
    if measures:
        is_unknown = [job.seconds is None and since <= job.at < until for job in jobs]
        unknown = [job for job, is_asked in zip(jobs, is_unknown, strict=True) if is_asked]
        known = [job for job, is_asked in zip(jobs, is_unknown, strict=True) if not is_asked]
        jobs = [*known, *measured(site, unknown, progress=progress)]
    return bills_of(jobs, since, until)


class _History(NamedTuple):
    """The history of a period, counted; and what restarts may explain of it, each with its job's id."""

    activity: Activity
    recoveries: list[tuple[str, str]]
    interruptions: list[tuple[str, str]]


def _history(site: Site, connection: Connection, period: Period, bins: Bins) -> _History:
    history = _History(Activity(), [], [])
    for line in reports.lines(connection, site.store.dialect, period.since, period.until):
        what = history.activity.add(line, bins)
        if what is What.RECOVERED:
            history.recoveries.append((line.job_id, line.at))
        elif what is What.INTERRUPTED:
            history.interruptions.append((line.job_id, reason_of(line)))
    return history


def _losses(site: Site, connection: Connection, lives: Lives, restarts: list[Restart]) -> Losses:
    fallen = [job for restart in restarts for job in _fallen(site, connection, lives, restart)]
    stays = reports.stays_of(connection, (job.job_id for job in fallen))
    return losses_of(restarts, fallen, stays, lives)


def _fallen(site: Site, connection: Connection, lives: Lives, restart: Restart) -> Iterator[Fallen]:
    """The jobs whose last life this restart ended, also those of a log that goes on in this one's."""
    seen: set[str] = set()
    for stream, above, upto in _lives_before(lives, restart):
        rows = reports.traces_of_life(connection, site.store.dialect, stream, above, upto)
        for job_id, traces in groupby(rows, key=attrgetter("job_id")):
            statements = [Statement(row.stream, row.life, trace_from_json(row.claims)) for row in traces]
            life = last_life_of(statements, lives)
            if life is not None and job_id not in seen and _is_same(life.restart, restart):
                seen.add(job_id)
                yield Fallen(job_id, restart, life)


def _lives_before(lives: Lives, restart: Restart) -> Iterable[tuple[str, int, int]]:
    """The streams with their lives, above one and up to another, that a restart may have ended."""
    boots = lives.boots[restart.stream]
    above = boots[restart.number - 2].life if restart.number > 1 else -1
    yield restart.stream, above, restart.boot.life
    if restart.number > 1:
        return
    waiting, passed = [restart.stream], {restart.stream}
    while waiting:
        heir = waiting.pop()
        for stream, follower in lives.heirs.items():
            if follower == heir and stream not in passed:
                passed.add(stream)
                waiting.append(stream)
                last = lives.boots.get(stream, ())
                yield stream, (last[-1].life if last else -1), _BEYOND


def _is_same(found: Restart | None, restart: Restart) -> bool:
    return found is not None and (found.stream, found.number) == (restart.stream, restart.number)
