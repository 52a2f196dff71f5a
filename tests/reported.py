"""Reports to render: a day with restarts, users and bills, and a hostile one among them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from jobctl.core.accounts import Restart
from jobctl.core.logbook import Boot
from jobctl.core.reporting.activity import Line, activity_of
from jobctl.core.reporting.billing import Bill
from jobctl.core.reporting.incidents import Began, Incident
from jobctl.core.reporting.outages import Affected, Cause, Outage
from jobctl.core.reporting.periods import Bins, Period, Zone
from jobctl.core.reporting.story import Story
from jobctl.model.logs import Mark
from jobctl.model.storage import Stored, Walked
from jobctl.model.timestamps import format_timestamp

ZONE = Zone(UTC)
DAY = Period("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
JOB = "4ec967c0-30a9-5b7d-90a3-eb2a5eeb13eb"
HOSTILE = (
    "=cmd|' /C calc'!A1 \x1b[31mred\x1b]0;title\x07 [bold]b[/bold] <script>alert(1)</script>"
    " <img src=x onerror=alert(2)> [a](javascript:alert(3)) https://evil.example/ @everyone"
    " | \u202e\u2066 \r\n# heading `code` \udcff"
)


def at(hour: float) -> str:
    return format_timestamp(DAY.since + timedelta(hours=hour))


def a_line(hour: float, kind: str, to_status: str, **fields: str) -> Line:
    known = {"from_status": "", "cause": "", "verb": "", "error_code": "", "because": "", **fields}
    return Line(event_id=0, job_id=JOB, at=at(hour), kind=kind, to_status=to_status, **known)


def an_incident(number: int, name: str, began: Began, lost: int, **fields: int | str) -> Incident:
    restart = Restart("s", number, Boot(number - 1, Mark("/var/log/app.log:77", began.not_before)))
    counts = {"jobs": lost, "created": lost, "completed": lost - 5, "failed": 3, "interrupted": 2}
    found = Incident(restart, name, "/var/log/app.log:77", began, lost=lost, **counts)  # type: ignore[arg-type]
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def a_story(hostile: str = "", *, now: datetime = NOW) -> Story:
    """A day of two restarts, with ``hostile`` wherever somebody else's words stand."""
    lines = [a_line(hour / 4, "created", "queued") for hour in range(24, 88)]
    lines += [a_line(hour / 3, "status", "completed", cause="executor") for hour in range(24, 60)]
    lines += [a_line(10.5, "recovered", "completed", verb="create") for _ in range(98)]
    failed = f"no space left on device {hostile}"
    lines += [a_line(14.2, "status", "failed", cause="executor", because=failed) for _ in range(3)]
    lines += [a_line(15, "status", "failed", cause="recover", error_code="interrupted")]
    bins = Bins(DAY, ZONE)
    back = {"recovered": 98, "still_lost": 2, "recoveries": 98}
    first = an_incident(1, f"restart 1 of app-1{hostile}", Began(at(10), at(10)), 100, **back)
    first.first_recovered = first.last_recovered = at(10.5)
    second = an_incident(2, f"restart 2 of app-1{hostile}", Began(at(18), ""), 7, still_lost=7)
    return Story(
        period=DAY,
        zone=ZONE,
        now=now,
        bins=bins,
        activity=activity_of(lines, bins),
        incidents=[first, second],
        interruptions=Counter({f"pid 4711 on host-a is gone{hostile}": 1}),
        undated=1,
        stored=[
            Stored("r1", f"/srv/outputs{hostile}", "present", 31_007, 13_841_203_111, 98, 27_682_406),
            Stored("r1", f"/srv/outputs{hostile}", "quarantined", 12, 5_120, 0, 0),
        ],
        walked=[Walked("r1", f"/srv/outputs{hostile}", 62_000, 13_941_203_111, 3)],
    )


def users(hostile: str = "") -> list[Affected]:
    known = Affected(f"ada@example.org{hostile}")
    known.outages += [
        Outage(JOB, known.owner, Cause.RECORD_LOST, Began(at(10), at(10)), at(10.5), has_video=True),
        Outage(f"{JOB[:-1]}c", known.owner, Cause.FILE_GONE, Began(at(2), at(4)), "", has_video=True),
        Outage(f"{JOB[:-1]}d", known.owner, Cause.FILE_GONE, Began("", at(5)), at(6), has_video=True),
    ]
    nobody = Affected(None)
    nobody.outages.append(
        Outage(f"{JOB[:-1]}e", None, Cause.RECORD_LOST, Began(at(-30), ""), at(1), has_video=False)
    )
    return [known, nobody]


def some_bills(hostile: str = "") -> list[Bill]:
    return [
        Bill(f"ada@example.org{hostile}", jobs=1_204, seconds=433_440.5, unknown=3, recovered=98, copies=1),
        Bill(hostile or "=SUM(A1:A9)", jobs=1, seconds=61.0),
        Bill(None, jobs=2, unknown=2),
    ]
