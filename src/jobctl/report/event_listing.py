"""The columns of ``events``: what happened to jobs, one change a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from jobctl.model.history import cause_of
from jobctl.model.job import Event
from jobctl.report.columns import WIDE, WIDER, Column
from jobctl.report.listings import MOST_OF_A_NAME, reason_column
from jobctl.report.units import on_wall

_SAME_YEAR = timedelta(days=300)


def _why(event: Event) -> str | None:
    told = event.detail or {}
    return told.get("reason") or told.get("error")


def _what(event: Event) -> str:
    """A change in a word or two: ``queued → processing``, or what kind of event it was."""
    if event.kind != "status" or event.to_status is None:
        return event.kind
    return f"{event.from_status or 'new'} → {event.to_status}"


def _brief_time(now: datetime) -> Callable[[datetime], str]:
    """Month to second, by which a log's lines are told apart; the year in place of seconds, long ago."""

    def shown(moment: datetime) -> str:
        form = "%m-%d %H:%M:%S" if abs(now - moment) < _SAME_YEAR else "%Y-%m-%d %H:%M"
        return f"{on_wall(moment):{form}}"

    return shown


EVENT_LINE_COLUMNS: Sequence[Column[Event]] = (
    Column(name="event_id", value=lambda event: event.event_id),
    Column(name="at", value=lambda event: event.at),
    Column(name="job_id", value=lambda event: event.job_id),
    Column(name="kind", value=lambda event: event.kind),
    Column(name="from", value=lambda event: event.from_status),
    Column(name="to", value=lambda event: event.to_status),
    Column(name="cause", value=cause_of),
    Column(name="actor", value=lambda event: event.actor),
    Column(name="run_id", value=lambda event: event.run_id),
    Column(name="attempt", value=lambda event: event.attempt),
    Column(name="reason", value=_why),
)
"""What ``events`` writes off a terminal."""


def event_screen_columns(now: datetime, width: int, *, of_one: bool) -> Sequence[Column[Event]]:
    """What ``events`` shows on a terminal so wide; ``of_one``: of one job alone, which needs no naming."""
    job: Column[Event] = Column(name="job_id", value=lambda event: event.job_id, least=36, may_wrap=True)
    further = 0 if of_one else WIDE
    why = reason_column("reason", _why, title="why")
    return (
        Column(name="at", value=lambda event: event.at, shown=_brief_time(now), least=16),
        *(() if of_one else (job,)),
        Column(name="what", value=_what, least=22),
        Column(
            name="actor",
            title="by",
            value=lambda event: event.actor,
            from_width=further,
            may_wrap=True,
            least=17,
            most=MOST_OF_A_NAME,
        ),
        Column(name="cause", value=cause_of, from_width=WIDER, least=14),
        Column(name="run_id", title="run", value=lambda event: event.run_id, from_width=190),
        # Where there is no room beside the others, on a line of its own.
        replace(why, is_below=True, is_cut=True) if not of_one and width < WIDER else why,
    )
