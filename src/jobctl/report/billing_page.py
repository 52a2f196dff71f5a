"""The report on completed jobs and minutes by owner: as a page, as CSV, as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from jobctl.core.cells import to_cell
from jobctl.core.reporting.billing import Bill
from jobctl.core.reporting.periods import Period
from jobctl.model.amounts import counted
from jobctl.model.names import to_shown
from jobctl.report.columns import Column
from jobctl.report.page import Grid, Page, Section, number, words
from jobctl.report.users_page import UNKNOWN_OWNER


def minutes_of(bill: Bill) -> float:
    """Minutes to the hundredth."""
    return round(bill.minutes, 2)


BILL_COLUMNS: Sequence[Column[Any]] = (
    words("owner", lambda bill: bill.owner, unknown=UNKNOWN_OWNER),
    number("jobs", lambda bill: bill.jobs),
    number("minutes", minutes_of, form=",.2f"),
    number("unknown_minutes", lambda bill: bill.unknown, title="not measured"),
    number("recovered", lambda bill: bill.recovered, from_width=70),
    number("copies", lambda bill: bill.copies, from_width=70),
)


def billing_page(bills: Sequence[Bill], period: Period) -> Page:
    """The page: one table, and how it counts."""
    total = total_of(bills)
    lead = f"{counted(total.jobs, 'completed job')}, {total.minutes:,.2f} minutes of video"
    unknown = f"; {counted(total.unknown, 'job')} without a measured length" if total.unknown else ""
    return Page(
        title=f"Completed jobs by owner, {period.name}",
        lead=[f"{lead}{unknown}."],
        sections=[
            Section(
                title="Owners",
                grid=Grid(columns=BILL_COLUMNS, rows=bills, otherwise="No job was completed."),
            )
        ],
        notes=_NOTES,
    )


def billing_csv(bills: Sequence[Bill], period: Period) -> str:
    """One line for each owner; no cell is a formula to a spreadsheet, nothing in it moves a cursor."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["since", "until", *_NAMES])
    for bill in bills:
        cells = [to_cell(_safe(value)) for value in bill_item(bill).values()]
        writer.writerow([_day(period.since), _day(period.until), *cells])
    return text.getvalue()


def bill_item(bill: Bill) -> dict[str, Any]:
    """One bill as JSON."""
    return {
        "owner": bill.owner,
        "jobs": bill.jobs,
        "minutes": minutes_of(bill),
        "unknown_minutes": bill.unknown,
        "recovered": bill.recovered,
        "copies": bill.copies,
    }


_NOTES = (
    "A job counts when it was first completed, and once, however often it was recovered since.",
    "Minutes are of videos that were read and found whole; what was not measured is in no sum.",
    "Copies are the same bytes found under a second id; they are not among the jobs.",
)
_NAMES = ("owner", "jobs", "minutes", "unknown_minutes", "recovered", "copies")


def billing_counts(bills: Sequence[Bill]) -> dict[str, int]:
    """The numbers of the whole report."""
    total = total_of(bills)
    return {
        "owners": sum(bill.owner is not None for bill in bills),
        "jobs": total.jobs,
        "unknown_minutes": total.unknown,
        "recovered": total.recovered,
        "copies": total.copies,
    }


def total_of(bills: Sequence[Bill]) -> Bill:
    """All bills in one."""
    total = Bill(None)
    for bill in bills:
        total.jobs += bill.jobs
        total.seconds += bill.seconds
        total.unknown += bill.unknown
        total.recovered += bill.recovered
        total.copies += bill.copies
    return total


def _safe(value: Any) -> Any:
    return to_shown(value) if isinstance(value, str) else value


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
