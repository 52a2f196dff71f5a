"""PostgreSQL's moments, read whatever zone its sessions are in.

A server writes a moment as the zone of the session has it. There the last hours of 9999 may be the year
10000, and the first ones of the year 1 the year 1 BC, of which the driver makes no ``datetime``. To set
the zone would be to rely on a session, which a transaction-pooling proxy shares out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

_ERA = " BC"
_CYCLE = 400
"""The calendar is the same again after so many years."""


def read_moments(driver_connection: Any, _record: object) -> None:
    """Have a connection of the driver's give every ``timestamptz`` in UTC."""
    if not driver_connection.info.parameter_status("DateStyle").startswith("ISO"):
        # The other ways to write a moment name its zone by letters, which may mean several. Proxies that
        # share sessions out know of this setting: servers report it.
        driver_connection.pgconn.exec_(b"SET DateStyle TO ISO")
    driver_connection.adapters.register_loader("timestamptz", _loader())


@cache
def _loader() -> type:
    from psycopg import DataError  # noqa: PLC0415 - slow to import
    from psycopg.adapt import Loader  # noqa: PLC0415

    class MomentLoader(Loader):
        def load(self, data: Any) -> datetime:
            text = bytes(data).decode()
            try:
                return parse_moment(text)
            except ValueError:
                raise DataError(f"{text} is no moment of the years 1 to 9999") from None

    return MomentLoader


def parse_moment(text: str) -> datetime:
    """The moment, in UTC, that a server wrote in any zone. Raises ``ValueError`` beyond the calendar."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return _moved_into_the_calendar(text)


def _moved_into_the_calendar(text: str) -> datetime:
    """A moment that its zone takes out of the calendar: read in another cycle of it, and moved back."""
    year, rest = text.removesuffix(_ERA).split("-", 1)
    number, shift = (1 - int(year), _CYCLE) if text.endswith(_ERA) else (int(year), -_CYCLE)
    within = datetime.fromisoformat(f"{number + shift:04}-{rest}").astimezone(UTC)
    return within.replace(year=within.year - shift)
