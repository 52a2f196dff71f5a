"""The store's clock as hosts saw it run, kept so that a jump of it is noticed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update

from jobctl.core.ages import Reading
from jobctl.store.engine import Connection
from jobctl.store.schema import clock_watch
from jobctl.store.statements import put_rows


def last_reading(connection: Connection, host: str) -> Reading | None:
    """The last reading of this host, else the newest of any."""
    columns = [clock_watch.c[name] for name in Reading._fields]
    order = ((clock_watch.c.host == host).desc(), clock_watch.c.at.desc())
    row = connection.execute(select(*columns).order_by(*order).limit(1)).one_or_none()
    return None if row is None else Reading._make(row)


def trusted_from(connection: Connection) -> datetime | None:
    """Since when the clock is known to have run evenly; ``None``: it was never seen to jump."""
    found: datetime | None = connection.execute(select(func.max(clock_watch.c.trusted_from))).scalar_one()
    return found


def record_reading(connection: Connection, reading: Reading, *, trusted_from: datetime | None) -> None:
    """Keep what a host saw last. No clock is trusted only from a moment that is still to come."""
    ahead = clock_watch.c.trusted_from > reading.at
    connection.execute(update(clock_watch).where(ahead).values(trusted_from=reading.at))
    put_rows(connection, clock_watch, [{**reading._asdict(), "trusted_from": trusted_from}])
