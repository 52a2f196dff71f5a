"""What server logs and the renderer say of jobs, and how far they were read."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from jobctl.store.schema.base import ONLY_WHERE, Document, Key, metadata, moment

evidence = Table(
    "evidence",
    metadata,
    Column("job_id", Key, nullable=False),
    # The instance that wrote it, and which of its lives: a restart begins the next one.
    Column("stream", Key, nullable=False),
    Column("life", Integer, nullable=False),
    Column("claims", Document, nullable=False),
    moment("noted_at", nullable=False),
    PrimaryKeyConstraint("job_id", "stream", "life"),
)

log_stream = Table(
    "log_stream",
    metadata,
    Column("stream", Key, primary_key=True),
    Column("name", Text, nullable=False),
    # Where reading goes on: what was begun and not yet ended, for each instance.
    Column("state", Document, nullable=False),
    moment("noted_at", nullable=False),
)

log_position = Table(
    "log_position",
    metadata,
    Column("stream", Key, nullable=False),
    Column("part", Integer, nullable=False),
    Column("path", Text, nullable=False),
    # A file is known again by its first bytes and by those before the place reached.
    Column("head_bytes", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
    Column("tail_bytes", BigInteger, nullable=False),
    Column("tail", Text, nullable=False),
    Column("read_bytes", BigInteger, nullable=False),
    Column("read_lines", BigInteger, nullable=False),
    moment("noted_at", nullable=False),
    PrimaryKeyConstraint("stream", "part"),
)

remote_render = Table(
    "remote_render",
    metadata,
    Column("renderer", Key, nullable=False),
    Column("remote_id", Key, nullable=False),
    Column("status", Text, nullable=False),
    Column("name", Text),
    moment("created_at"),
    # What else the renderer said; never a signed URL.
    Column("document", Document),
    Column("job_id", Key),
    Column("matched_by", Text),
    moment("seen_at", nullable=False),
    PrimaryKeyConstraint("renderer", "remote_id"),
)
Index(
    "ix_remote_render_job",
    remote_render.c.job_id,
    info={ONLY_WHERE: "job_id IS NOT NULL"},
)
