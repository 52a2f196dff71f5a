"""The directories of output files, and what walking them found."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from jobctl.store.schema.base import Document, Key, metadata, moment

root = Table(
    "root",
    metadata,
    Column("root_id", Key, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    Column("layout", Text, nullable=False),
    # NULL: shared by all hosts. Otherwise only this host can see it.
    Column("host", Text),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    # Set when an older store or root was put back: until a complete recover was applied,
    # nothing about this root may be called missing.
    moment("negatives_suspended_at"),
    moment("registered_at", nullable=False),
)

scan = Table(
    "scan",
    metadata,
    Column("scan_id", Key, primary_key=True),
    Column("root_id", Key, nullable=False),
    moment("started_at", nullable=False),
    moment("finished_at"),
    # Full: no directory was skipped. Complete: full or not, everything was read without error.
    Column("is_full", Boolean, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    Column("counts", Document),
)
Index("ix_scan_root", scan.c.root_id, scan.c.started_at)

sighting = Table(
    "sighting",
    metadata,
    Column("key", Key, nullable=False),
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("role", Text, nullable=False),
    Column("dev", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("verdict", Text),
    Column("tier", Text),
    Column("reason", Text),
    Column("checker", Integer, nullable=False),
    moment("first_seen", nullable=False),
    PrimaryKeyConstraint("key", "root_id", "path"),
    sqlite_with_rowid=False,
)

directory = Table(
    "directory",
    metadata,
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("dev", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("walk_started_ns", BigInteger, nullable=False),
    Column("layout", Text, nullable=False),
    # All its files settled and whole: nothing here can change without the directory changing.
    Column("is_quiet", Boolean, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("foreign_files", BigInteger, nullable=False),
    PrimaryKeyConstraint("root_id", "path"),
    sqlite_with_rowid=False,
)

# Files that may go, since the first complete walk that found nothing to refer to them.
loose = Table(
    "loose",
    metadata,
    Column("key", Key, nullable=False),
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    moment("since", nullable=False),
    PrimaryKeyConstraint("key", "root_id", "path"),
    sqlite_with_rowid=False,
)
