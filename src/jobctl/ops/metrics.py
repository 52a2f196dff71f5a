"""Metrics: what happened in a window of time, told apart by hour, day, kind, queue or owner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from jobctl.core.figures import Figures
from jobctl.core.histogram import bucket_of
from jobctl.core.tally import Change, Grain, Part, Tally
from jobctl.core.window import By, Window, period_name
from jobctl.model.status import Status
from jobctl.ops.site import Site
from jobctl.ops.tallies import catch_up
from jobctl.store import figures, owner_rows, owner_sums, tallies
from jobctl.store.engine import Connection


class Group(NamedTuple):
    """Figures of one hour, day, kind, queue or owner.

    ``at`` is when an hour or a day begins. ``others``: how many names are told as one here. Of owners
    no histograms are kept: ``part`` has how long their attempts ran in all.
    """

    name: str
    figures: Figures
    at: datetime | None = None
    others: int = 0
    part: Part | None = None


@dataclass(slots=True)
class Metrics:
    """The answer: groups in their order, and all of the window together.

    For people there is its course besides, for machines the whole history and the jobs by status.
    """

    by: By
    window: Window
    groups: list[Group]
    total: Figures
    trend: list[Group] = field(default_factory=list)
    history: Figures = field(default_factory=Figures)
    jobs: dict[Status, int] = field(default_factory=dict)


def tell(site: Site, by: By, window: Window, *, most: int, for_people: bool) -> Metrics:
    """Read it all at one moment; ``most`` names are told apart, the rest as one.

    ``for_people``: the course of the window instead of the whole history and the jobs by status.
    """
    catch_up(site)
    if by is By.OWNER:
        owner_rows.close_periods(site.store, window.pieces(), window.now)
    with site.store.read() as connection:
        pending = tallies.pending(connection, site.store.dialect)
        recent = [change for change in pending if window.contains(change.at)]
        groups, total = _groups(connection, by, window, recent, most=most)
        if for_people:
            is_course = by in {By.HOUR, By.DAY}
            trend = groups if is_course else _by_period(connection, window, window.trend, recent)
            return Metrics(by, window, groups, total, trend=trend)
        whole = tallies.read(connection, site.store.dialect, Grain.ALL)
    return Metrics(by, window, groups, total, history=figures_of_tally(whole), jobs=whole.by_status())


def figures_of_tally(tally: Tally) -> Figures:
    """A whole tally as figures."""
    found = Figures()
    for flow, count in tally.flows.items():
        found.add_moves(flow.move, count)
    for span, durations in tally.spans.items():
        histogram = found.wait if span.what == "wait" else found.run
        histogram.add(span.bucket, durations.count, durations.total_s)
    return found


def _groups(
    connection: Connection, by: By, window: Window, recent: list[Change], *, most: int
) -> tuple[list[Group], Figures]:
    """The groups, and all of them together."""
    if by is By.OWNER:
        pieces = figures.pieces_of(connection, window)
        total = figures.figures_by(connection, "", pieces)[""]
        for change in recent:
            _count(total, change)
        are_all = figures.holds_all(connection, window)
        owners = owner_sums.owners(connection, window.pieces(), recent, most, are_all=are_all)
        return list(_by_owner(owners, total)), total
    if by in {By.HOUR, By.DAY}:
        groups = _by_period(connection, window, by.grain, recent)
    else:
        key: Literal["job_kind", "queue"] = "job_kind" if by is By.KIND else "queue"
        groups = _by_name(connection, key, window, recent, most=most)
    return groups, _sum(groups)


def _sum(groups: Iterable[Group]) -> Figures:
    total = Figures()
    for each in groups:
        total.add(each.figures)
    return total


def _by_name(
    connection: Connection,
    key: Literal["job_kind", "queue"],
    window: Window,
    recent: list[Change],
    *,
    most: int,
) -> list[Group]:
    found = figures.figures_by(connection, key, figures.pieces_of(connection, window))
    for change in recent:
        _count(found[getattr(change, key)], change)
    return _bounded(found, most)


def _by_period(connection: Connection, window: Window, grain: Grain, recent: Iterable[Change]) -> list[Group]:
    found = figures.figures_by(connection, "period", window.pieces(grain))
    # The first or the last of longer periods may be told in part: it is added up from shorter ones.
    for name in [name for name in found if len(name) > grain.length]:
        found[name[: grain.length]].add(found.pop(name))
    for change in recent:
        _count(found[change.at[: grain.length]], change)
    periods = [(period_name(at, grain), at) for at in window.periods(grain)]
    return [Group(name, found[name], at) for name, at in periods]


def _count(found: Figures, change: Change) -> None:
    found.add_moves(change.move, 1)
    for histogram, seconds in ((found.wait, change.wait_s), (found.run, change.run_s)):
        if seconds is not None:
            histogram.add(bucket_of(seconds), 1, seconds)


def _bounded(found: dict[str, Figures], most: int) -> list[Group]:
    """Those with the most changes first; what is beyond ``most`` as one."""
    ordered = sorted(found.items(), key=lambda item: (-item[1].counts.total(), item[0]))
    groups = [Group(name, each) for name, each in ordered[:most]]
    if rest := ordered[most:]:
        others = _sum(Group(name, each) for name, each in rest)
        groups.append(Group("", others, others=len(rest)))
    return groups


def _by_owner(owners: owner_sums.Owners, total: Figures) -> Iterable[Group]:
    listed = Part()
    for owner, part in owners.parts.items():
        listed.add(part)
        yield Group(owner, Figures(part.counts), part=part)
    more = owners.count - len(owners.parts)
    if more > 0:
        rest = owners.total.without(listed)
        yield Group("", Figures(rest.counts), others=more, part=rest)
    everybody = Part(total.counts.copy(), total.run.count, total.run.total_s)
    nobody = everybody.without(owners.total)
    if nobody.changes:
        yield Group("", Figures(nobody.counts), part=nobody)
