"""One job with all that is recorded of it."""

from __future__ import annotations

from jobctl.core.health.workers import lack_of, start_of
from jobctl.errors import UnknownJob
from jobctl.model.detail import JobDetail
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.ops.events import without_secrets
from jobctl.ops.lookup import look_further, quarantine_note
from jobctl.ops.serving import serving_now
from jobctl.ops.site import Site
from jobctl.store import jobs, workers
from jobctl.store.declared import task_names
from jobctl.store.engine import Connection
from jobctl.store.lookup import in_quarantine


def show_job(site: Site, name: str) -> JobDetail:
    """All that is recorded of a job, named by its id, or by whatever else leads to it alone.

    Raises ``AmbiguousJob``, or ``JobNotFound`` with what is known of it all the same.
    """
    with site.store.read() as connection:
        found = None
        try:
            job = jobs.get_job(connection, name)
        except UnknownJob:
            found = look_further(site, connection, name)
            job = jobs.get_job(connection, found.job_id)
        return JobDetail(
            job,
            jobs.artifacts_of(connection, job.job_id),
            [without_secrets(event) for event in jobs.history(connection, job.job_id)],
            site.store.now(connection),
            jobs.body_of(connection, job.job_id),
            workers.lease_of(connection, job.job_id),
            _lack(site, connection, job),
            None if found is None else found.by,
            _aside(site, connection, job.job_id),
        )


def _lack(site: Site, connection: Connection, job: Job) -> str:
    """Why a queued job waits for a worker that does not run, and what to do."""
    if job.status is not Status.QUEUED:
        return ""
    if job.run_at is None and job.kind not in task_names(connection):
        return ""  # nobody enqueued it: a service notes its own jobs like that, and runs them itself
    serving = serving_now(site, connection)
    lack = lack_of(job.queue, job.kind, serving)
    if not lack:
        return ""
    here = [one for one in serving if job.queue in one.queues]
    troubles = [f"worker {one.worker}: {trouble}" for one in here for trouble in one.troubles]
    return "; ".join([lack, *troubles, f"start one: {start_of([job.queue])}"])


def _aside(site: Site, connection: Connection, job_id: str) -> str | None:
    there = in_quarantine(connection, job_id)
    if not there:
        return None
    return f"{quarantine_note(site, there)}; to give it back: jobctl quarantine restore {there[0].entry}"
