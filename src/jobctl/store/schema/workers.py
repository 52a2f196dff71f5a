"""Workers, and what they need to run jobs: tasks, leases, publications and schedules."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, PrimaryKeyConstraint, Table, Text

from jobctl.store.schema.base import ONLY_WHERE, Document, Key, metadata, moment, one_of

# One life of one worker: its id is never used again. Its heartbeat keeps all its leases.
worker = Table(
    "worker",
    metadata,
    Column("worker_id", Key, primary_key=True),
    Column("state", Text, nullable=False),
    Column("executor", Document, nullable=False),
    Column("queues", Document, nullable=False),
    Column("tasks", Document, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("isolation", Text, nullable=False),
    # How long its heartbeat may stand still until its leases lapse, in seconds.
    Column("lease_s", Double, nullable=False),
    Column("beat", BigInteger, nullable=False, server_default="0"),
    moment("started_at", nullable=False),
    moment("seen_at", nullable=False),
    moment("ended_at"),
    Column("counters", Document),
    # How each of its tasks is declared, and what of its modules could not be imported.
    Column("specs", Document),
    Column("troubles", Document),
    one_of("state", ["running", "draining", "stopped", "lost"], "state"),
)
Index(
    "ix_worker_live",
    worker.c.seen_at,
    info={ONLY_WHERE: "ended_at IS NULL"},
)

# How a task is declared, by the worker that began last: for jobs that name it and say no more.
task = Table(
    "task",
    metadata,
    Column("name", Key, primary_key=True),
    Column("spec", Document, nullable=False),
    Column("worker", Key, nullable=False),
    moment("at", nullable=False),
    sqlite_with_rowid=False,
)

# The right of a worker to run one attempt; gone with the attempt.
lease = Table(
    "lease",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("worker", Key, nullable=False),
    # Since when the attempt is asked to stop.
    moment("cancel_at"),
    Column("note", Text),
    sqlite_with_rowid=False,
)
Index("ix_lease_worker", lease.c.worker)

# What an attempt was allowed to publish: a file of that name counts only if it is this one.
publication = Table(
    "publication",
    metadata,
    Column("job_id", Key, nullable=False),
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    moment("at", nullable=False),
    PrimaryKeyConstraint("job_id", "root_id", "path"),
)

# The last time each entry of [schedule] was due and enqueued, by whichever worker came first.
tick = Table(
    "tick",
    metadata,
    Column("name", Key, primary_key=True),
    moment("at", nullable=False),
)
