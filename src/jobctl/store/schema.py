"""Every table, once, for both databases.

On PostgreSQL all of it lives in the schema ``jobctl``, so that the view
``presentation_jobs`` does not collide with a table of the service.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    func,
    literal_column,
    text,
)
from sqlalchemy.event import listens_for

from jobctl.core.figures import Figure
from jobctl.model.status import Status
from jobctl.model.timestamps import TIMESTAMP_LENGTH, format_timestamp, parse_timestamp

SCHEMA = "jobctl"
_ONLY_WHERE = "only where"
"""What an index of some rows only is marked with: see ``_say_conditions``."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class Timestamp(TypeDecorator[datetime]):
    """An aware moment: ``timestamptz`` on PostgreSQL, 27 characters of RFC 3339 on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        is_postgresql = dialect.name == "postgresql"
        return dialect.type_descriptor(DateTime(timezone=True) if is_postgresql else Text())

    def process_bind_param(self, value: datetime | str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        moment = parse_timestamp(value) if isinstance(value, str) else value
        # Formatted for both: PostgreSQL would take a naive moment, in whatever zone its session has.
        text = format_timestamp(moment)
        return moment if dialect.name == "postgresql" else text

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else parse_timestamp(value)


class Document(TypeDecorator[Any]):
    """A JSON document; ``None`` is NULL. ``jsonb`` on PostgreSQL, whose types are imported only there."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415 - slow to import

        return dialect.type_descriptor(JSONB(none_as_null=True))


# Byte order everywhere: merge joins rely on both databases sorting ids as Python does.
Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite only numbers rows of a column declared exactly INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")


def _moment(name: str, *, nullable: bool = True) -> Column[datetime]:
    return Column(name, Timestamp, nullable=nullable)


def _one_of(column: str, values: list[str], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


store = Table(
    "store",
    metadata,
    Column("store_id", Text, primary_key=True),
    _moment("created_at", nullable=False),
    Column("created_by", Text, nullable=False),
)

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
    _moment("negatives_suspended_at"),
    _moment("registered_at", nullable=False),
)

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
    _moment("created_at"),
    _moment("completed_at"),
    _moment("last_heartbeat"),
    Column("created_files", Document),
    Column("kind", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("owner", Text),
    Column("priority", Integer, nullable=False, server_default="0"),
    _moment("run_at"),
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
    _moment("updated_at", nullable=False),
    _moment("started_at"),
    _moment("recovered_at"),
    Column("spared", Integer, nullable=False, server_default="0"),
    _one_of("status", [status.value for status in Status], "status"),
)
# By task, so that a worker never reads past jobs of tasks it does not know. A job without a time may run
# at once: it sorts before every other. Each database has its own word for that.
for _database, _at_once in (("postgresql", "'-infinity'::timestamptz"), ("sqlite", "''")):
    Index(
        "ix_job_queued",
        job.c.queue,
        job.c.kind,
        job.c.priority.desc(),
        func.coalesce(job.c.run_at, literal_column(_at_once)),
        job.c.job_id,
        info={_ONLY_WHERE: "status = 'queued'"},
    ).ddl_if(dialect=_database)
UNFINISHED_JOB = "status IN ('queued', 'processing')"

# Without the heartbeat, which changes all the time and would cost an index entry each time.
Index(
    "ix_job_unfinished",
    job.c.status,
    job.c.job_id,
    info={_ONLY_WHERE: UNFINISHED_JOB},
)
Index("ix_job_created_at", job.c.created_at.desc(), job.c.job_id)
Index(
    "uq_job_idempotency_key",
    job.c.kind,
    job.c.idempotency_key,
    unique=True,
    info={_ONLY_WHERE: "idempotency_key IS NOT NULL"},
)
ENDED_JOB = "status IN ('completed', 'failed', 'cancelled')"
"""What the index of ended jobs holds. SQLite uses a partial index only for a query that says just this."""

# Retention reads the ended jobs oldest first, and no further than its limit.
Index(
    "ix_job_ended",
    job.c.status,
    job.c.updated_at,
    job.c.job_id,
    info={_ONLY_WHERE: ENDED_JOB},
)

EXPIRED_JOB = "status = 'expired'"
"""What the index of expired jobs holds, so that a list by the time of the last change has all statuses."""

Index(
    "ix_job_expired",
    job.c.status,
    job.c.updated_at,
    job.c.job_id,
    info={_ONLY_WHERE: EXPIRED_JOB},
)
Index(
    "ix_job_completed_at",
    job.c.completed_at.desc(),
    job.c.job_id,
    info={_ONLY_WHERE: "completed_at IS NOT NULL"},
)
OWNER_BEGINS = 200
OWNER_KEY = func.substr(job.c.owner, literal_column("1"), literal_column(str(OWNER_BEGINS)))
"""An owner's first characters: an index of PostgreSQL takes no text that is as long as a page."""

Index(
    "ix_job_owner",
    OWNER_KEY,
    job.c.created_at.desc(),
    job.c.job_id,
    info={_ONLY_WHERE: "owner IS NOT NULL"},
)

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
    _moment("noted_at"),
    Column("run_id", Text),
    Column("version", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("job_id", "root_id", "path"),
    _one_of("state", ["present", "missing", "quarantined", "purged"], "state"),
)
Index("ix_artifact_path", artifact.c.root_id, artifact.c.path)
Index(
    "ix_artifact_sha256",
    artifact.c.sha256,
    info={_ONLY_WHERE: "sha256 IS NOT NULL"},
)

event = Table(
    "event",
    metadata,
    Column("event_id", Serial, primary_key=True, autoincrement=True),
    Column("job_id", Key, nullable=False),
    _moment("at", nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("run_id", Text),
    Column("attempt", Integer),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("detail", Document),
)
Index("ix_event_job", event.c.job_id, event.c.event_id)

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
    _moment("started_at", nullable=False),
    _moment("finished_at"),
    _one_of("state", ["loading", "applying", "finished", "abandoned"], "state"),
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
    _moment("applied_at"),
    Column("category", Text),
    Column("entry", Text),
    Column("relies_on", Document),
    PrimaryKeyConstraint("run_id", "seq"),
)
Index("ix_run_action_job", run_action.c.job_id)

scan = Table(
    "scan",
    metadata,
    Column("scan_id", Key, primary_key=True),
    Column("root_id", Key, nullable=False),
    _moment("started_at", nullable=False),
    _moment("finished_at"),
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
    _moment("first_seen", nullable=False),
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

heartbeat_watch = Table(
    "heartbeat_watch",
    metadata,
    Column("job_id", Key, nullable=False),
    Column("host", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    _moment("last_heartbeat"),
    # The observer's monotonic clock when this heartbeat was first seen, in seconds.
    Column("since", Double, nullable=False),
    PrimaryKeyConstraint("job_id", "host"),
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("job_id", Key, primary_key=True),
    _moment("at", nullable=False),
    Column("cause", Text, nullable=False),
    Column("actor", Text, nullable=False),
    _moment("closed_at"),
)

declined = Table(
    "declined",
    metadata,
    Column("job_id", Key, nullable=False),
    Column("root_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    _moment("at", nullable=False),
    Column("run_id", Text, nullable=False),
    PrimaryKeyConstraint("job_id", "root_id", "path"),
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
    _moment("acquired_at"),
    _moment("heartbeat"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("job_id", Key, nullable=False),
    # The instance that wrote it, and which of its lives: a restart begins the next one.
    Column("stream", Key, nullable=False),
    Column("life", Integer, nullable=False),
    Column("claims", Document, nullable=False),
    _moment("noted_at", nullable=False),
    PrimaryKeyConstraint("job_id", "stream", "life"),
)

log_stream = Table(
    "log_stream",
    metadata,
    Column("stream", Key, primary_key=True),
    Column("name", Text, nullable=False),
    # Where reading goes on: what was begun and not yet ended, for each instance.
    Column("state", Document, nullable=False),
    _moment("noted_at", nullable=False),
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
    _moment("noted_at", nullable=False),
    PrimaryKeyConstraint("stream", "part"),
)

remote_render = Table(
    "remote_render",
    metadata,
    Column("renderer", Key, nullable=False),
    Column("remote_id", Key, nullable=False),
    Column("status", Text, nullable=False),
    Column("name", Text),
    _moment("created_at"),
    # What else the renderer said; never a signed URL.
    Column("document", Document),
    Column("job_id", Key),
    Column("matched_by", Text),
    _moment("seen_at", nullable=False),
    PrimaryKeyConstraint("renderer", "remote_id"),
)
Index(
    "ix_remote_render_job",
    remote_render.c.job_id,
    info={_ONLY_WHERE: "job_id IS NOT NULL"},
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
    _moment("since", nullable=False),
    PrimaryKeyConstraint("key", "root_id", "path"),
    sqlite_with_rowid=False,
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
    _moment("at", nullable=False),
    Column("run_id", Text, nullable=False),
    PrimaryKeyConstraint("root_id", "path"),
)

# The store's clock as each host saw it run, beside the host's own count of seconds since boot.
clock_watch = Table(
    "clock_watch",
    metadata,
    Column("host", Key, primary_key=True),
    Column("boot_id", Text, nullable=False),
    Column("boottime_s", Double, nullable=False),
    _moment("at", nullable=False),
    # Since its clock was last found to have jumped: what is dated before that tells no age.
    _moment("trusted_from"),
)

# How each command that cron runs ended last, on each host; also one that was refused or failed.
last_run = Table(
    "last_run",
    metadata,
    Column("command", Key, nullable=False),
    Column("host", Key, nullable=False),
    _moment("started_at", nullable=False),
    _moment("finished_at", nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("error", Text),
    Column("run_id", Text),
    Column("counts", Document),
    _moment("succeeded_at"),
    PrimaryKeyConstraint("command", "host"),
)

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
    _moment("started_at", nullable=False),
    _moment("seen_at", nullable=False),
    _moment("ended_at"),
    Column("counters", Document),
    # How each of its tasks is declared, and what of its modules could not be imported.
    Column("specs", Document),
    Column("troubles", Document),
    _one_of("state", ["running", "draining", "stopped", "lost"], "state"),
)
Index(
    "ix_worker_live",
    worker.c.seen_at,
    info={_ONLY_WHERE: "ended_at IS NULL"},
)

# How a task is declared, by the worker that began last: for jobs that name it and say no more.
task = Table(
    "task",
    metadata,
    Column("name", Key, primary_key=True),
    Column("spec", Document, nullable=False),
    Column("worker", Key, nullable=False),
    _moment("at", nullable=False),
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
    _moment("cancel_at"),
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
    _moment("at", nullable=False),
    PrimaryKeyConstraint("job_id", "root_id", "path"),
)

# The last time each entry of [schedule] was due and enqueued, by whichever worker came first.
tick = Table(
    "tick",
    metadata,
    Column("name", Key, primary_key=True),
    _moment("at", nullable=False),
)

# The history, added up (see core.tally): by the hour, by the day, and in all. It holds
# the events up to a position; what came after is still to be added.
# While it is made anew there are two editions: the lower one is read until the other has caught up.
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

PRESENTATION_COLUMNS = (
    "job_id",
    "status",
    "progress",
    "error",
    "video_url",
    "thumbnail_url",
    "slide_image_path",
    "created_at",
    "completed_at",
    "last_heartbeat",
    "created_files",
)
"""The eleven fields of the service's own record, which the view ``presentation_jobs`` shows."""


def _fix_timestamp_width(table: Table) -> None:
    """Hold SQLite, whose columns take anything, to the one text form that sorts by time."""
    for column in table.columns:
        if isinstance(column.type, Timestamp):
            width = f"length({column.name}) = {TIMESTAMP_LENGTH}"
            check = CheckConstraint(width, name=f"{column.name}_form").ddl_if(dialect="sqlite")
            table.append_constraint(check)


for _table in metadata.tables.values():
    _fix_timestamp_width(_table)


@listens_for(metadata, "before_create")
def _say_conditions(made: MetaData, connection: Connection, **_: Any) -> None:
    """Say which rows an index is of, only where one is made: said for a database, its dialect is imported."""
    for table in made.tables.values():
        for index in table.indexes:
            if _ONLY_WHERE in index.info:
                index.dialect_options[connection.dialect.name]["where"] = text(index.info[_ONLY_WHERE])
