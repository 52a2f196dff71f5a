"""Verify what metrics read: the sums against each other and the records, or against the whole history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from jobctl.core.tally import Grain
from jobctl.core.tally_check import Sum, discrepancies, sums_of
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.ops.site import Progress, ProgressSink
from jobctl.store import owner_rows, tallies, tally_sums
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection

_MEND = "jobctl metrics rebuild"
_MOST_TOLD = 20
_BATCH = 10_000


def tally_differences(
    connection: Connection, dialect: Dialect, *, whole: bool, progress: ProgressSink | None = None
) -> Iterator[Difference]:
    """Where sums differ: hours, days and all from each other, and the jobs by status from the records.

    ``whole``: and all of them from the history, which is read from its beginning.
    """
    reasons = [*_grains(connection)]
    if whole:
        reasons += _history(connection, dialect, progress)
    yield from (Difference(DifferenceKind.TALLY, reason, _MEND) for reason in reasons)
    # Where the sums are right, somebody changed a record and did not tell the history.
    mend = _MEND if reasons else "" if whole else "jobctl verify --history"
    for reason in _records(connection, dialect):
        yield Difference(DifferenceKind.TALLY, reason, mend)


def _grains(connection: Connection) -> Iterator[str]:
    totals = tally_sums.totals(connection)
    whole = totals[Grain.ALL.value]
    for name, each in totals.items():
        for what, kept, all_of_it in (
            ("changes", each.moves, whole.moves),
            ("durations", each.spans, whole.spans),
        ):
            if kept != all_of_it:
                yield f"{what} by the {name}: {kept.total():,}, and in all {all_of_it.total():,}"
    for grain in (Grain.MONTH, Grain.DAY):
        shares = totals[grain.value].shares
        if shares != whole.shares:
            said = f"{shares.total():,}, and in all {whole.shares.total():,}"
            yield f"figures of owners by the {grain.value}: {said}"
    for period in owner_rows.outdated_rows(connection):
        yield f"owners of the {period.grain.value} {period.name}: in one row they are others than one by one"


def _records(connection: Connection, dialect: Dialect) -> Iterator[str]:
    told = tallies.read(connection, dialect, Grain.ALL).by_status()
    for status, count in tally_sums.records_by_status(connection).items():
        if told[status] != count:
            yield f"jobs that are {status.value}: {told[status]:,} by the sums, {count:,} by the records"


def _history(connection: Connection, dialect: Dialect, progress: ProgressSink | None) -> list[str]:
    position, _ = tallies.position_of(connection)
    found, done = Counter[Sum](), 0
    changes = tallies.changes(connection, dialect, 0, position)
    while batch := list(islice(changes, _BATCH)):
        for change in batch:
            found.update(sums_of(change))
        done += len(batch)
        if progress is not None:
            progress(Progress("add up the history", done))
    kept = Counter[Sum]()
    for each, count in tally_sums.kept_sums(connection):
        kept[each] += count
    differing = list(discrepancies(kept, found))
    reasons = [f"{each.about}: {each.kept:,} kept, {each.found:,} found" for each in differing[:_MOST_TOLD]]
    if len(differing) > _MOST_TOLD:
        reasons.append(f"and {len(differing) - _MOST_TOLD:,} more sums")
    return reasons
