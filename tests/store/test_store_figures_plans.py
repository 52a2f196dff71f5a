"""Figures of many periods are read in the order they are kept in: nothing is sorted."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from sqlalchemy import insert

from jobctl.core.tally import Grain
from jobctl.core.window import Piece, period_name
from jobctl.store import figures
from jobctl.store.engine import Store
from jobctl.store.schema import tally_position, tally_span
from store.explained import plans_of
from store.records import AT

_DAYS = 60
_KINDS = ("", "render", "thumbnail", "upload")


def histograms(day: datetime) -> list[dict[str, object]]:
    """A day's durations, with kinds told apart and without."""
    return [
        {
            "edition": 1,
            "period": period_name(day, Grain.DAY),
            "queue": "default" if kind else "",
            "grain": "day" if kind else "days",
            "job_kind": kind,
            "what": "run",
            "to_status": "completed",
            "bucket": bucket,
            "count": bucket + 1,
            "total_s": 2.0,
        }
        for kind in _KINDS
        for bucket in range(40)
    ]


def test_the_durations_of_many_days_are_read_in_order(store: Store) -> None:
    last = AT + timedelta(days=_DAYS)
    with store.write() as connection:
        connection.execute(insert(tally_position), {"edition": 1, "position": 0})
        rows = [row for number in range(_DAYS) for row in histograms(AT + timedelta(days=number))]
        # As they come in over time, not as their key has them.
        random.Random(7).shuffle(rows)
        connection.execute(insert(tally_span), rows)
        if store.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE jobctl.tally_span")
    piece = Piece(Grain.DAY, period_name(AT, Grain.DAY), period_name(last, Grain.DAY))
    with store.read() as connection:
        found = figures.figures_by(connection, "period", [piece])
        plans = plans_of(connection, lambda: figures.figures_by(connection, "period", [piece]))

    assert len(found) == _DAYS
    assert all(each.run.count == sum(range(1, 41)) for each in found.values())
    assert not [plan for plan in plans if "Sort" in plan or "TEMP B-TREE" in plan]
    if store.dialect.name == "postgresql":
        # Of a table this small it would not sort anyway; of millions of rows it does, unless told so.
        assert [plan for plan in plans if "queue = ''" in plan]
