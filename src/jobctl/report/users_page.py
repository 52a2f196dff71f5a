"""The report on users whose videos could not be reached: as a page, as listings, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from jobctl.core.reporting.outages import Affected, Outage
from jobctl.core.reporting.periods import Period, Zone
from jobctl.durations import age_shown
from jobctl.model.amounts import counted
from jobctl.model.timestamps import parse_timestamp
from jobctl.report.columns import Column
from jobctl.report.page import Grid, Page, Section, number, words
from jobctl.report.story_page import Times

UNKNOWN_OWNER = "(unknown)"
_MOST_OUTAGES = 200
_NOTES = (
    (
        "A video counts from the restart that lost its job's record until the record was rebuilt, and from "
        "when its file was missed until it was found."
    ),
    "Jobs that had come to no video are told as answers.",
    (
        "Where no log tells of the restart that lost it, it counts from the last time that its job is known "
        "to have been: nothing tells when after that its record was lost, or whether it had one before."
    ),
)


def users_page(affected: Sequence[Affected], period: Period, zone: Zone, now: datetime) -> Page:
    """The page: who was affected, then each video."""
    times = Times(zone, period)
    outages = [outage for one in affected for outage in one.outages]
    shown = outages[:_MOST_OUTAGES]
    more = len(outages) - len(shown)
    nobody = "No log and no history tells of a video that could not be reached."
    return Page(
        title=f"Unreachable videos, {period.name}",
        lead=list(_lead(affected, outages)),
        sections=[
            Section(title="Users", grid=Grid(columns=_owner_columns(times), rows=affected, otherwise=nobody)),
            Section(
                title="Videos",
                words=[f"The first {len(shown):,}; {more:,} more: --json, or a pipe."] if more else [],
                grid=Grid(columns=_outage_columns(times, now), rows=shown, otherwise=nobody),
            ),
        ],
        notes=_NOTES,
    )


def outage_item(outage: Outage) -> dict[str, Any]:
    """One outage as JSON; what is not known, or not over, is null."""
    return {
        "owner": outage.owner,
        "job_id": outage.job_id,
        "has_video": outage.has_video,
        "cause": outage.cause.value,
        "not_before": outage.began.not_before or None,
        "not_later": outage.began.not_later or None,
        "until": outage.until or None,
        "by": outage.by or None,
    }


def _field(name: str) -> Callable[[Outage], Any]:
    return lambda outage: outage_item(outage)[name]


OUTAGE_COLUMNS: Sequence[Column[Any]] = tuple(
    Column(name=name, value=_field(name))
    for name in ("owner", "job_id", "has_video", "cause", "not_before", "not_later", "until", "by")
)


def users_counts(affected: Sequence[Affected]) -> dict[str, int]:
    """The numbers of the whole report."""
    outages = [outage for one in affected for outage in one.outages]
    return {
        "users": sum(one.owner is not None for one in affected),
        "videos": len({each.job_id for each in outages if each.has_video}),
        "answers": len({each.job_id for each in outages if not each.has_video}),
        "still": sum(not each.until for each in outages),
    }


def _lead(affected: Sequence[Affected], outages: Sequence[Outage]) -> Iterator[str]:
    counts = users_counts(affected)
    if not outages:
        return
    has_unowned = any(one.owner is None for one in affected)
    known = counted(counts["users"], "known user")
    whose = known if not has_unowned else f"{known} and others" if counts["users"] else "users not known"
    still = f"{counts['still']:,} still cannot" if counts["still"] else "all can now"
    yield f"{counted(counts['videos'], 'video')} of {whose} could not be reached for a time; {still}."
    if counts["answers"]:
        yield f"Of {counted(counts['answers'], 'further job')} without a video nobody could be told anything."


def _owner_columns(times: Times) -> Sequence[Column[Any]]:
    return (
        words("owner", lambda one: one.owner, unknown=UNKNOWN_OWNER),
        number("videos", lambda one: one.videos),
        number("answers", lambda one: one.answers),
        words("from", lambda one: times.began(one.began, one.until)),
        words("to", lambda one: times.at(one.until) or "still out"),
        number("still", lambda one: one.still, title="still out", from_width=100),
    )


def _outage_columns(times: Times, now: datetime) -> Sequence[Column[Any]]:
    return (
        Column(name="job_id", title="job", value=lambda row: row.job_id),
        words("owner", lambda row: row.owner, unknown=UNKNOWN_OWNER, from_width=100),
        Column(name="has_video", title="video", value=lambda row: row.has_video, from_width=100),
        words("from", lambda row: times.began(row.began, row.until)),
        words("to", lambda row: times.at(row.until) or "still out"),
        Column(name="lasted", value=lambda row: _lasted(row, now), from_width=100),
        Column(name="cause", value=lambda row: row.cause.meaning, may_wrap=True, from_width=130),
    )


def _lasted(outage: Outage, now: datetime) -> str:
    """How long it lasted, as far as its begin is bounded: ``30 min``, ``0 s to 2 h``, ``≥ 60 min``."""
    earliest, latest = outage.began.not_before, outage.began.not_later
    if not latest:
        return ""
    end = parse_timestamp(outage.until) if outage.until else now
    least, most = (
        age_shown((end - parse_timestamp(bound)).total_seconds()) if bound else ""
        for bound in (latest, earliest)
    )
    if not most:
        return f"≥ {least}"
    return least if least == most else f"{least} to {most}"
