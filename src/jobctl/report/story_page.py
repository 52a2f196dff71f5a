"""The report on a day, a week or a month: as a page, as listings, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from jobctl.core.reporting.activity import What
from jobctl.core.reporting.incidents import Began, Incident
from jobctl.core.reporting.periods import Period, Zone
from jobctl.core.reporting.story import Story
from jobctl.model.amounts import counted
from jobctl.model.status import Status
from jobctl.model.storage import Walked
from jobctl.model.timestamps import parse_timestamp
from jobctl.report.columns import Column, cut
from jobctl.report.page import LONGEST_CELL, Chart, Grid, Page, Section, Series, number, words
from jobctl.report.units import size_shown

_MOST_REASONS = 12


class Times:
    """Moments as the wall clock of a report shows them, with the date where it is not the period's own."""

    def __init__(self, zone: Zone, period: Period) -> None:
        self.zone = zone
        begin = zone.wall(period.since).date()
        is_one_day = period.until <= zone.midnight(begin + timedelta(days=1))
        self._day = begin if is_one_day else None

    def at(self, text: str) -> str:
        """A moment of 27 characters to the second; empty for none."""
        if not text:
            return ""
        moment = parse_timestamp(text)
        try:
            wall = self.zone.wall(moment)
        except OverflowError:  # beyond the calendar, where UTC is not
            wall = moment
        return f"{wall:%H:%M:%S}" if wall.date() == self._day else f"{wall:%Y-%m-%d %H:%M:%S}"

    def began(self, began: Began, at_latest: str = "") -> str:
        """When something began, as far as it is known; ``at_latest``: by when it had begun at the latest."""
        if began.is_known:
            return self.at(began.not_before)
        if began.not_before and began.not_later:
            return f"between {self.at(began.not_before)} and {self.at(began.not_later)}"
        if began.not_before:
            return f"after {self.at(began.not_before)}"
        latest = began.not_later or at_latest
        return f"unknown, since before {self.at(latest)}" if latest else "unknown"


class Count(NamedTuple):
    """One kind of thing that happened, and how often."""

    what: What
    times: int


class Reason(NamedTuple):
    """Why jobs failed or were cut short, and how many."""

    reason: str
    jobs: int


def story_page(story: Story) -> Page:
    """The page: what restarts took and what came back first, then what else happened."""
    return Page(
        title=f"{story.period.name}{'' if story.is_over else ', so far'}",
        lead=list(_lead(story)),
        sections=list(_sections(story)),
        notes=list(_notes(story)),
    )


def story_listings(story: Story) -> list[tuple[Sequence[Column[Any]], Sequence[Any]]]:
    """The tables for a reader that is no person."""
    return [
        (COUNT_COLUMNS, counts_of(story)),
        (incident_columns(None), story.incidents),
        (REASON_COLUMNS, reasons_of(story)),
        (STORED_COLUMNS, story.stored),
    ]


def story_data(story: Story) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "period": {"name": story.period.name, "since": story.period.since, "until": story.period.until},
        "as_of": story.now,
        "is_over": story.is_over,
        "events": story.activity.lines,
        "activity": {what.value: story.activity.counts[what] for what in What},
        "recovered_as": dict(story.activity.recovered),
        "recovered_elsewhere": story.elsewhere,
        "incidents": [incident_item(incident) for incident in story.incidents],
        "other_interruptions": dict(story.interruptions),
        "restarts_without_time": story.undated,
        "by_time": [
            {
                "since": bin_.since,
                **{what.value: count for what in What if (count := story.activity.by_bin[position, what])},
            }
            for position, bin_ in enumerate(story.bins.bins)
        ],
        "reasons": [{"reason": reason.reason, "jobs": reason.jobs} for reason in reasons_of(story)],
        "stored": [row._asdict() for row in story.stored],
        "walked": [row._asdict() for row in story.walked],
    }


def incident_item(incident: Incident) -> dict[str, Any]:
    """One restart as JSON; what is not known of a moment is null."""
    return {
        "restart": incident.name,
        "where": incident.where,
        "not_before": incident.began.not_before or None,
        "not_later": incident.began.not_later or None,
        **{name: getattr(incident, name) for name in _INCIDENT_NUMBERS},
        "first_recovered": incident.first_recovered or None,
        "last_recovered": incident.last_recovered or None,
    }


_INCIDENT_NUMBERS = (
    *("jobs", "created", "completed", "failed", "interrupted", "unclear"),
    *("lost", "recovered", "still_lost", "recoveries"),
)


def incident_columns(times: Times | None) -> Sequence[Column[Any]]:
    """The columns of restarts; without ``times`` for a machine."""
    if times is None:
        bounds: list[Column[Any]] = [
            Column(name="not_before", value=lambda one: one.began.not_before or None),
            Column(name="not_later", value=lambda one: one.began.not_later or None),
        ]
        back: list[Column[Any]] = [
            Column(name="first_recovered", value=lambda one: one.first_recovered or None),
            Column(name="last_recovered", value=lambda one: one.last_recovered or None),
        ]
    else:
        bounds = [words("when", lambda one: times.began(one.began))]
        back = [words("back_by", lambda one: times.at(one.last_recovered), from_width=100)]
    return (
        words("restart", lambda one: one.name),
        words("where", lambda one: one.where, from_width=180),
        *bounds,
        number("jobs", lambda one: one.jobs, from_width=60),
        number("created", lambda one: one.created, from_width=120),
        number("completed", lambda one: one.completed, title="done"),
        number("failed", lambda one: one.failed),
        number("interrupted", lambda one: one.interrupted, title="cut short"),
        number("unclear", lambda one: one.unclear, from_width=120),
        number("lost", lambda one: one.lost),
        number("recovered", lambda one: one.recovered, title="back"),
        number("still_lost", lambda one: one.still_lost, title="missing"),
        *back,
    )


COUNT_COLUMNS: Sequence[Column[Any]] = (
    Column(name="what", value=lambda row: row.what.value),
    number("times", lambda row: row.times),
    Column(name="meaning", value=lambda row: row.what.meaning, may_wrap=True, from_width=60),
)
REASON_COLUMNS: Sequence[Column[Any]] = (
    words("reason", lambda row: row.reason),
    number("jobs", lambda row: row.jobs),
)
STORED_COLUMNS: Sequence[Column[Any]] = (
    words("root", lambda row: row.path or row.root_id),
    Column(name="state", value=lambda row: row.state),
    number("files", lambda row: row.files),
    Column(name="bytes", value=lambda row: row.bytes, shown=size_shown, is_number=True, title="size"),
    number("new_files", lambda row: row.new_files, title="new"),
    Column(
        name="new_bytes",
        value=lambda row: row.new_bytes,
        shown=size_shown,
        is_number=True,
        title="size of new",
    ),
)


def counts_of(story: Story) -> list[Count]:
    """What happened, in the order of the words; what did not is left out."""
    return [Count(what, count) for what in What if (count := story.activity.counts[what])]


def reasons_of(story: Story) -> list[Reason]:
    """Why jobs failed or were cut short, the most frequent first."""
    ranked = sorted(story.activity.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Reason(*pair) for pair in ranked]


def _lead(story: Story) -> Iterator[str]:
    done = story.activity.counts
    if story.incidents:
        took = f"{counted(len(story.incidents), 'restart')} took the records of {counted(story.lost, 'job')}"
        back = sum(incident.recovered for incident in story.incidents)
        left = counted(story.still_lost, "is", "are") if story.still_lost else "none is"
        yield f"{took}: {back:,} came back, {left} still lost."
        yield _about_lives(story)
    yield (
        f"In the history: {counted(done[What.CREATED], 'job')} created, {done[What.COMPLETED]:,} completed, "
        f"{done[What.FAILED]:,} failed, {done[What.RECOVERED]:,} recovered{_as_what(story)}."
    )
    if story.interruptions:
        others = counted(story.interruptions.total(), "job was", "jobs were")
        yield f"{others} cut short by no restart that a log tells of."


def _about_lives(story: Story) -> str:
    """What had become by then of the jobs that the restarted instances worked on."""
    jobs, done, failed, short = (
        sum(getattr(incident, name) for incident in story.incidents)
        for name in ("jobs", "completed", "failed", "interrupted")
    )
    unclear = f", {jobs - done - failed - short:,} unclear" if jobs > done + failed + short else ""
    return (
        f"Of the {counted(jobs, 'job')} before them {done:,} had completed, {failed:,} had failed, "
        f"{short:,} were cut short{unclear}."
    )


def _as_what(story: Story) -> str:
    recovered = story.activity.recovered
    told = [f"{recovered[status]:,} {status}" for status in Status if recovered[status]]
    return f" ({', '.join(told)})" if told else ""


def _sections(story: Story) -> Iterator[Section]:
    times = Times(story.zone, story.period)
    nothing = "The logs that were read tell of no restart."
    table = Grid(columns=incident_columns(times), rows=story.incidents, otherwise=nothing)
    has_said_so = story.elsewhere and not story.incidents
    yield Section(title="Restarts", words=_about_restarts(story), grid=None if has_said_so else table)
    chart = _chart(story)
    yield Section(
        title="What happened",
        grid=Grid(columns=COUNT_COLUMNS, rows=counts_of(story), otherwise="The history has nothing of it."),
    )
    if not chart.is_empty:
        yield Section(title=chart.title, chart=chart)
    reasons = reasons_of(story)
    if reasons:
        more = len(reasons) - _MOST_REASONS
        yield Section(
            title="Why jobs failed or were cut short",
            words=[f"The most frequent; {more:,} more: --json"] if more > 0 else [],
            grid=Grid(columns=REASON_COLUMNS, rows=reasons[:_MOST_REASONS]),
        )
    yield Section(
        title="Storage",
        words=list(_about_storage(story.walked)),
        grid=Grid(columns=STORED_COLUMNS, rows=story.stored, otherwise="No record names a file."),
    )


def _about_restarts(story: Story) -> list[str]:
    said = []
    if story.elsewhere:
        came_back = f"{counted(story.elsewhere, 'job')} came back"
        if story.incidents:
            said.append(f"{came_back} that none of these restarts is known to have taken.")
        else:
            said.append(f"{came_back}; no log that was read tells of a restart that took them.")
    for reason, count in story.interruptions.most_common(_MOST_REASONS):
        said.append(f"{counted(count, 'job')} cut short: {cut(reason, LONGEST_CELL)}")
    return said


def _about_storage(walked: Sequence[Walked]) -> Iterator[str]:
    for root in walked:
        foreign = f", and {counted(root.foreign_files, 'file')} of others" if root.foreign_files else ""
        seen = f"{counted(root.files, 'file')} ({size_shown(root.bytes)}){foreign}"
        yield f"{cut(root.path, LONGEST_CELL)}: the last walk saw {seen}."


_DRAWN = (
    *(What.COMPLETED, What.RECOVERED, What.IMPORTED),
    *(What.FAILED, What.INTERRUPTED, What.CREATED),
)


def _chart(story: Story) -> Chart:
    """What happened over the period, one series for each count; what restarts took stands where they were."""
    bins, activity = story.bins, story.activity
    places = range(len(bins.bins))
    series = [Series(what.value, [activity.by_bin[place, what] for place in places]) for what in _DRAWN]
    lost = [0] * len(bins.bins)
    for incident in story.incidents:
        lost[bins.of(parse_timestamp(incident.began.best))] += incident.lost
    return Chart(
        title=f"Jobs by the {'hour' if bins.is_by_hour else 'day'}",
        labels=[each.label for each in bins.bins],
        series=[*series, Series("lost", lost)],
    )


def _notes(story: Story) -> Iterator[str]:
    if not story.is_over:
        yield f"As of {story.zone.wall(story.now):%Y-%m-%d %H:%M:%S %Z}."
    if story.undated:
        yield f"{counted(story.undated, 'restart')} in the logs has no time, and belongs to no period."
    yield (
        "Every line of the history counts once; a recovery counts when it was applied, and with the restart "
        f"that lost its job. {counted(story.activity.lines, 'line')} of history."
    )
