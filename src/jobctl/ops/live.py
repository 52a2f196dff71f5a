"""What the live view asks for, and what it may do: the same operations as the commands of that name."""

from __future__ import annotations

from jobctl.model.detail import JobDetail
from jobctl.model.job import Job
from jobctl.model.standing import Glimpse
from jobctl.ops import queue
from jobctl.ops.show import show_job
from jobctl.ops.site import Site
from jobctl.ops.standing import look
from jobctl.store import standing

_MOST_RUNNING = 500
_MOST_FAILURES = 200


class LiveSource:
    """One site, looked at again and again; each call may come from another thread."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def look(self) -> Glimpse:
        """How the store stands, what runs and what failed last. Raises the errors of the store."""
        found = look(self._site)
        with self._site.store.read() as connection:
            return Glimpse(
                found,
                standing.running_jobs(connection, limit=_MOST_RUNNING),
                standing.recent_failures(connection, limit=_MOST_FAILURES),
            )

    def history(self, job_id: str) -> JobDetail:
        """All that is recorded of a job. Raises ``UnknownJob``."""
        return show_job(self._site, job_id)

    def retry(self, job_id: str) -> Job:
        """Enqueue a job again. Raises as ``queue.retry`` does."""
        return queue.retry(self._site, job_id)

    def cancel(self, job_id: str) -> Job:
        """End a job, or ask it to stop. Raises as ``queue.cancel`` does."""
        return queue.cancel(self._site, job_id)
