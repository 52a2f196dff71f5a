"""The history, added up (see ``core.tally``): by the hour, by the day, and in all.

It holds the events up to a position; what came after is still to be added. While it is made
anew there are two editions: the lower one is read until the other has caught up.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, PrimaryKeyConstraint, Table

from jobctl.core.figures import Figure
from jobctl.store.schema.base import Key, metadata

tally_flow = Table(
    "tally_flow",
    metadata,
    Column("edition", Integer, nullable=False),
    Column("grain", Key, nullable=False),
    Column("period", Key, nullable=False),
    Column("job_kind", Key, nullable=False),
    Column("queue", Key, nullable=False),
    Column("origin", Key, nullable=False),
    Column("from_status", Key, nullable=False),
    Column("to_status", Key, nullable=False),
    Column("cause", Key, nullable=False),
    Column("error_code", Key, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        *("edition", "grain", "period", "job_kind", "queue", "origin", "from_status", "to_status"),
        *("cause", "error_code"),
    ),
    sqlite_with_rowid=False,
)

tally_span = Table(
    "tally_span",
    metadata,
    Column("edition", Integer, nullable=False),
    Column("grain", Key, nullable=False),
    Column("period", Key, nullable=False),
    Column("job_kind", Key, nullable=False),
    Column("queue", Key, nullable=False),
    Column("what", Key, nullable=False),
    Column("to_status", Key, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("total_s", Double, nullable=False),
    PrimaryKeyConstraint(
        *("edition", "grain", "period", "job_kind", "queue", "what", "to_status", "bucket"),
    ),
    sqlite_with_rowid=False,
)

# An owner's part of a day, and of all: how often each figure of core.figures was counted.
tally_share = Table(
    "tally_share",
    metadata,
    Column("edition", Integer, nullable=False),
    Column("grain", Key, nullable=False),
    Column("period", Key, nullable=False),
    Column("owner", Key, nullable=False),
    *(Column(figure.value, BigInteger, nullable=False) for figure in Figure),
    Column("runs", BigInteger, nullable=False),
    Column("run_s", Double, nullable=False),
    PrimaryKeyConstraint("edition", "grain", "period", "owner"),
    sqlite_with_rowid=False,
)

# All owners of a day or a month that is over, in one row: made by who asks for them first, removed when
# the period is added to. ``numbers`` and ``lanes`` are as ``core.lanes`` has them; the figures are the sums
# of all.
tally_owners = Table(
    "tally_owners",
    metadata,
    Column("edition", Integer, nullable=False),
    Column("grain", Key, nullable=False),
    Column("period", Key, nullable=False),
    Column("owners", BigInteger, nullable=False),
    *(Column(figure.value, BigInteger, nullable=False) for figure in Figure),
    Column("runs", BigInteger, nullable=False),
    Column("run_s", Double, nullable=False),
    Column("numbers", LargeBinary),
    Column("lanes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("edition", "grain", "period"),
)
# Which lane is an owner's; in any edition the same.
owner_number = Table(
    "owner_number",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("owner", Key, nullable=False, unique=True),
)

# A row for each edition. The mark is an event up to which it may go once every transaction below the
# horizon is over.
tally_position = Table(
    "tally_position",
    metadata,
    Column("edition", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("mark", BigInteger),
    Column("horizon", BigInteger),
)
