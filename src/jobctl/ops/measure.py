"""Measure: how long the videos of jobs are, read through now; nothing is noted of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from jobctl.core.reporting.billing import Billed
from jobctl.errors import JobctlError
from jobctl.model.files import Role, Seen, Tier, Verdict
from jobctl.ops.hold import open_registered
from jobctl.ops.inspect import Inspector
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.outputs.root import OpenRoot
from jobctl.store import jobs, roots


def measured(site: Site, done: Iterable[Billed], *, progress: ProgressSink | None = None) -> Iterator[Billed]:
    """The jobs, with the length of each video that can be read and is whole; the others as they were."""
    with ExitStack() as stack:
        opened = list(_opened(site, stack))
        inspector = stack.enter_context(Inspector(site, opened, Tier.DEMUX))
        reachable = {root.root_id for root in opened}
        for number, job in enumerate(done, start=1):
            if progress is not None:
                progress(Progress("measure", number))
            yield job._replace(seconds=_seconds(site, inspector, job.job_id, reachable))


def _opened(site: Site, stack: ExitStack) -> Iterator[OpenRoot]:
    """The roots that can be seen from here; what lies elsewhere stays unmeasured."""
    with site.store.read() as connection:
        rows = roots.get_roots(connection)
    for row in rows:
        if row.host in {None, site.host}:
            try:
                yield stack.enter_context(open_registered(site, row))
            except JobctlError:
                continue


def _seconds(site: Site, inspector: Inspector, job_id: str, reachable: set[str]) -> float | None:
    with site.store.read() as connection:
        files = jobs.artifacts_of(connection, job_id)
    found: list[float] = []
    for file in files:
        if file.role != Role.VIDEO or file.state != "present" or file.root_id not in reachable:
            continue
        probe = inspector.look(Seen(job_id, file.root_id, file.path, Role.VIDEO, 0, 0, 0, 0, 0), Tier.DEMUX)
        is_whole = probe.check.verdict is Verdict.WHOLE and probe.check.tier >= Tier.DEMUX
        if is_whole and probe.media is not None and probe.media.duration_s is not None:
            found.append(probe.media.duration_s)
    return max(found, default=None)
