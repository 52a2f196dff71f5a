"""The store's own name, and what each host notes in it: locks, clocks, heartbeats and its commands."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, PrimaryKeyConstraint, Table, Text

from jobctl.store.schema.base import Document, Key, metadata, moment

store = Table(
    "store",
    metadata,
    Column("store_id", Text, primary_key=True),
    moment("created_at", nullable=False),
    Column("created_by", Text, nullable=False),
)

lock = Table(
    "lock",
    metadata,
    Column("name", Key, primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("holder", Text),
    Column("command", Text),
    Column("host", Text),
    Column("boot_id", Text),
    Column("pid", BigInteger),
    Column("pid_start", BigInteger),
    Column("instance", Text),
    moment("acquired_at"),
    moment("heartbeat"),
)

# The store's clock as each host saw it run, beside the host's own count of seconds since boot.
clock_watch = Table(
    "clock_watch",
    metadata,
    Column("host", Key, primary_key=True),
    Column("boot_id", Text, nullable=False),
    Column("boottime_s", Double, nullable=False),
    moment("at", nullable=False),
    # Since its clock was last found to have jumped: what is dated before that tells no age.
    moment("trusted_from"),
)

heartbeat_watch = Table(
    "heartbeat_watch",
    metadata,
    Column("job_id", Key, nullable=False),
    Column("host", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    moment("last_heartbeat"),
    # The observer's monotonic clock when this heartbeat was first seen, in seconds.
    Column("since", Double, nullable=False),
    PrimaryKeyConstraint("job_id", "host"),
)

# How each command that cron runs ended last, on each host; also one that was refused or failed.
last_run = Table(
    "last_run",
    metadata,
    Column("command", Key, nullable=False),
    Column("host", Key, nullable=False),
    moment("started_at", nullable=False),
    moment("finished_at", nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("error", Text),
    Column("run_id", Text),
    Column("counts", Document),
    moment("succeeded_at"),
    PrimaryKeyConstraint("command", "host"),
)
