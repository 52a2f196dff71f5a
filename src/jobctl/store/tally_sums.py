"""The sums of the tally, as they are compared with each other, with the records and with the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import func, select

from jobctl.core.figures import Figure, Move
from jobctl.core.tally import Grain
from jobctl.core.tally_check import Sum, span_sum
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import job, tally_flow, tally_share, tally_span
from jobctl.store.tallies import edition_of

_GRAINS = [grain.value for grain in Grain]


class Totals(NamedTuple):
    """What the sums of one grain, as it is kept, add up to: changes, durations, figures of all owners."""

    moves: Counter[Any]
    spans: Counter[Any]
    shares: Counter[str]


def totals(connection: Connection) -> dict[str, Totals]:
    """What each grain adds up to; all should be the same, but that owners are not kept in every one."""
    edition = edition_of(connection)
    names = [*_GRAINS, *(grain.plural for grain in Grain if grain is not Grain.ALL)]
    found = {name: Totals(Counter(), Counter(), Counter()) for name in names}
    flow, span, share = tally_flow.c, tally_span.c, tally_share.c
    by = (flow.grain, flow.origin, flow.from_status, flow.to_status, flow.cause, flow.error_code)
    rows = select(*by, func.sum(flow.count)).where(flow.edition == edition).group_by(*by)
    for grain, *move, count in connection.execute(rows):
        found[grain].moves[tuple(move)] += int(count)
    by_span = (span.grain, span.what, span.to_status, span.bucket)
    rows = select(*by_span, func.sum(span.count)).where(span.edition == edition).group_by(*by_span)
    for grain, *key, count in connection.execute(rows):
        found[grain].spans[tuple(key)] += int(count)
    sums = [func.sum(share[figure.value]) for figure in Figure]
    rows = select(share.grain, *sums).where(share.edition == edition).group_by(share.grain)
    for grain, *counts in connection.execute(rows):
        for figure, count in zip(Figure, counts, strict=True):
            found[grain].shares[figure.value] = int(count)
    return found


def kept_sums(connection: Connection) -> Iterator[tuple[Sum, int]]:
    """Every sum that is kept and can be compared with the history."""
    edition = edition_of(connection)
    flow, span = tally_flow.c, tally_span.c
    by = (flow.grain, flow.period, flow.origin, flow.from_status, flow.to_status, flow.cause, flow.error_code)
    rows = (
        select(*by, func.sum(flow.count))
        .where(flow.edition == edition, flow.grain.in_(_GRAINS))
        .group_by(*by)
    )
    for grain, period, *move, count in connection.execute(rows):
        yield Sum(Grain(grain), period, Move(*move)), int(count)
    by_span = (span.grain, span.period, span.what, span.to_status, span.bucket)
    rows = (
        select(*by_span, func.sum(span.count))
        .where(span.edition == edition, span.grain.in_(_GRAINS))
        .group_by(*by_span)
    )
    for row in connection.execute(rows):
        yield span_sum(Grain(row[0]), *row[1:-1]), int(row[-1])


def records_by_status(connection: Connection) -> dict[Status, int]:
    """How many records have each status, counted one by one."""
    rows = connection.execute(select(job.c.status, func.count()).group_by(job.c.status))
    found = {Status(status): count for status, count in rows}
    return {status: found.get(status, 0) for status in Status}
