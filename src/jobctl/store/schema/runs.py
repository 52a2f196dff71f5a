"""What commands changed, step by step, and what an operator took back."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from jobctl.store.schema.base import Document, Key, metadata, moment, one_of

run = Table(
    "run",
    metadata,
    Column("run_id", Key, primary_key=True),
    Column("command", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("plan_id", Text),
    Column("undo_of", Key),
    Column("header", Document),
    Column("generations", Document),
    Column("counts", Document),
    Column("held", Document),
    Column("exit_code", Integer),
    Column("actions", BigInteger, nullable=False, server_default="0"),
    moment("started_at", nullable=False),
    moment("finished_at"),
    one_of("state", ["loading", "applying", "finished", "abandoned"], "state"),
)
Index("ix_run_undo_of", run.c.undo_of)

run_action = Table(
    "run_action",
    metadata,
    Column("run_id", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("verb", Text, nullable=False),
    Column("job_id", Key, nullable=False),
    Column("reason", Text, nullable=False),
    Column("root_id", Key),
    Column("path", Key),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("confidence", Text),
    Column("expect_version", Integer),
    Column("expect_file", Document),
    Column("job_before", Document),
    Column("job_after", Document),
    Column("artifact_before", Document),
    Column("artifact_after", Document),
    Column("outcome", Text, nullable=False),
    Column("note", Text),
    moment("applied_at"),
    Column("category", Text),
    Column("entry", Text),
    Column("relies_on", Document),
    PrimaryKeyConstraint("run_id", "seq"),
)
Index("ix_run_action_job", run_action.c.job_id)

declined = Table(
    "declined",
    metadata,
    Column("job_id", Key, nullable=False),
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    moment("at", nullable=False),
    Column("run_id", Text, nullable=False),
    PrimaryKeyConstraint("job_id", "root_id", "path"),
)

# Files that were given back: they stay where they are while they are the same.
pin = Table(
    "pin",
    metadata,
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    moment("at", nullable=False),
    Column("run_id", Text, nullable=False),
    PrimaryKeyConstraint("root_id", "path"),
)
