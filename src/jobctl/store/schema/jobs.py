"""What is known of jobs: their record, their files, their history, and that they were removed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    literal_column,
)

from jobctl.model.status import Status
from jobctl.store.schema.base import ALSO_HOLDS, ONLY_WHERE, Document, Key, Serial, metadata, moment, one_of

job = Table(
    "job",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("status", Text, nullable=False),
    Column("progress", Double),
    Column("error", Text),
    Column("video_url", Text),
    Column("thumbnail_url", Text),
    Column("slide_image_path", Text),
    moment("created_at"),
    moment("completed_at"),
    moment("last_heartbeat"),
    Column("created_files", Document),
    Column("kind", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("owner", Text),
    Column("priority", Integer, nullable=False, server_default="0"),
    moment("run_at"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False, server_default="1"),
    Column("max_progress", Double),
    Column("executor", Document),
    Column("error_code", Text),
    Column("idempotency_key", Text),
    Column("origin", Text, nullable=False),
    Column("confidence", Text),
    Column("provenance", Document),
    Column("root_id", Key),
    Column("version", Integer, nullable=False, server_default="1"),
    moment("updated_at", nullable=False),
    moment("started_at"),
    moment("recovered_at"),
    Column("spared", Integer, nullable=False, server_default="0"),
    one_of("status", [status.value for status in Status], "status"),
)
# By task, so that a worker never reads past jobs of tasks it does not know. A job without a time may run
# at once: it sorts before every other. Each database has its own word for that. Only where the index also
# holds the moment as it is, PostgreSQL counts what is due without a look at each job.
for _database, _at_once in (("postgresql", "'-infinity'::timestamptz"), ("sqlite", "''")):
    Index(
        "ix_job_queued",
        job.c.queue,
        job.c.kind,
        job.c.priority.desc(),
        func.coalesce(job.c.run_at, literal_column(_at_once)),
        job.c.job_id,
        info={ONLY_WHERE: "status = 'queued'", ALSO_HOLDS: ["run_at"]},
    ).ddl_if(dialect=_database)

UNFINISHED_JOB = "status IN ('queued', 'processing')"
"""What the index of unfinished jobs holds: by the time of the last change, as a list of all jobs needs it."""

# Without the heartbeat, which changes all the time and would cost an index entry each time.
Index(
    "ix_job_unfinished",
    job.c.status,
    job.c.updated_at,
    job.c.job_id,
    info={ONLY_WHERE: UNFINISHED_JOB},
)
Index("ix_job_created_at", job.c.created_at.desc(), job.c.job_id)
Index(
    "uq_job_idempotency_key",
    job.c.kind,
    job.c.idempotency_key,
    unique=True,
    info={ONLY_WHERE: "idempotency_key IS NOT NULL"},
)
ENDED_JOB = "status IN ('completed', 'failed', 'cancelled')"
"""What the index of ended jobs holds. SQLite uses a partial index only for a query that says just this."""

# Retention reads the ended jobs oldest first, and no further than its limit.
Index(
    "ix_job_ended",
    job.c.status,
    job.c.updated_at,
    job.c.job_id,
    info={ONLY_WHERE: ENDED_JOB},
)

EXPIRED_JOB = "status = 'expired'"
"""What the index of expired jobs holds, so that a list by the time of the last change has all statuses."""

Index(
    "ix_job_expired",
    job.c.status,
    job.c.updated_at,
    job.c.job_id,
    info={ONLY_WHERE: EXPIRED_JOB},
)
Index(
    "ix_job_completed_at",
    job.c.completed_at.desc(),
    job.c.job_id,
    info={ONLY_WHERE: "completed_at IS NOT NULL"},
)
OWNER_BEGINS = 200
OWNER_KEY = func.substr(job.c.owner, literal_column("1"), literal_column(str(OWNER_BEGINS)))
"""An owner's first characters: an index of PostgreSQL takes no text that is as long as a page."""

# On PostgreSQL no other index has this order, with those without a time at its end: whatever the planner
# takes an owner's jobs for, it reads nobody else's.
for _database, _latest in (
    ("postgresql", job.c.created_at.desc().nulls_last()),
    ("sqlite", job.c.created_at.desc()),
):
    Index(
        "ix_job_owner",
        OWNER_KEY,
        _latest,
        job.c.job_id,
        info={ONLY_WHERE: "owner IS NOT NULL"},
    ).ddl_if(dialect=_database)

job_body = Table(
    "job_body",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("payload", Document),
    Column("result", Document),
)

artifact = Table(
    "artifact",
    metadata,
    Column("job_id", Key, nullable=False),
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size", BigInteger),
    Column("sha256", Text),
    Column("mtime_ns", BigInteger),
    Column("verdict", Text),
    Column("tier", Text),
    Column("media", Document),
    moment("noted_at"),
    Column("run_id", Text),
    Column("version", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("job_id", "root_id", "path"),
    one_of("state", ["present", "missing", "quarantined", "purged"], "state"),
)
Index("ix_artifact_path", artifact.c.root_id, artifact.c.path)
Index(
    "ix_artifact_sha256",
    artifact.c.sha256,
    info={ONLY_WHERE: "sha256 IS NOT NULL"},
)

event = Table(
    "event",
    metadata,
    Column("event_id", Serial, primary_key=True, autoincrement=True),
    Column("job_id", Key, nullable=False),
    moment("at", nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("run_id", Text),
    Column("attempt", Integer),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("detail", Document),
)
Index("ix_event_job", event.c.job_id, event.c.event_id)

tombstone = Table(
    "tombstone",
    metadata,
    Column("job_id", Key, primary_key=True),
    moment("at", nullable=False),
    Column("cause", Text, nullable=False),
    Column("actor", Text, nullable=False),
    moment("closed_at"),
)
