"""Every table, once, for both databases.

On PostgreSQL all of it lives in the schema ``jobctl``, so that the view
``presentation_jobs`` does not collide with a table of the service.
"""

from __future__ import annotations

from jobctl.store.schema.base import SCHEMA, Document, Timestamp, fix_timestamp_width, metadata
from jobctl.store.schema.files import directory, loose, root, scan, sighting
from jobctl.store.schema.hosts import clock_watch, heartbeat_watch, last_run, lock, store
from jobctl.store.schema.jobs import (
    ENDED_JOB,
    EXPIRED_JOB,
    OWNER_BEGINS,
    OWNER_KEY,
    UNFINISHED_JOB,
    artifact,
    event,
    job,
    job_body,
    tombstone,
)
from jobctl.store.schema.runs import declined, pin, run, run_action
from jobctl.store.schema.sources import evidence, log_position, log_stream, remote_render
from jobctl.store.schema.tallies import (
    owner_number,
    tally_flow,
    tally_owners,
    tally_position,
    tally_share,
    tally_span,
)
from jobctl.store.schema.workers import lease, publication, task, tick, worker

__all__ = [
    "ENDED_JOB",
    "EXPIRED_JOB",
    "OWNER_BEGINS",
    "OWNER_KEY",
    "SCHEMA",
    "UNFINISHED_JOB",
    "Document",
    "Timestamp",
    "artifact",
    "clock_watch",
    "declined",
    "directory",
    "event",
    "evidence",
    "heartbeat_watch",
    "job",
    "job_body",
    "last_run",
    "lease",
    "lock",
    "log_position",
    "log_stream",
    "loose",
    "metadata",
    "owner_number",
    "pin",
    "publication",
    "remote_render",
    "root",
    "run",
    "run_action",
    "scan",
    "sighting",
    "store",
    "tally_flow",
    "tally_owners",
    "tally_position",
    "tally_share",
    "tally_span",
    "task",
    "tick",
    "tombstone",
    "worker",
]

for _table in metadata.tables.values():
    fix_timestamp_width(_table)
