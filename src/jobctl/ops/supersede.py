"""Supersede: move what an earlier attempt left under a name into quarantine, so that the name is free."""

from __future__ import annotations

import stat

from jobctl.core.custody import quarantine
from jobctl.errors import PublishRefused
from jobctl.model.files import Role, Seen
from jobctl.model.names import to_stored
from jobctl.ops.apply import apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import PlanWriter, header_of
from jobctl.ops.site import Site
from jobctl.outputs.directories import stat_below
from jobctl.outputs.identity import identity_of
from jobctl.outputs.root import OpenRoot
from jobctl.store import jobs, runs

COMMAND = "publish"
_CATEGORY = "superseded"


def supersede(site: Site, root_id: str, path: str, *, job_id: str, reason: str) -> str | None:
    """Move one file of a job into quarantine, by a run of its own that can be undone; the run's id.

    Raises ``Locked`` while another run holds the root, ``PublishRefused`` where the file stays,
    and the errors of ``hold_roots``.
    """
    with hold_roots(site, command=COMMAND, only=root_id) as hold:
        seen = _look(hold.roots[0], path, job_id)
        if seen is None:
            return None
        with site.store.read() as connection:
            version = jobs.get_job(connection, job_id).version
            row = (
                runs.artifact_documents(connection, [job_id]).get(job_id, {}).get((root_id, to_stored(path)))
            )
        writer = PlanWriter(header_of(hold, COMMAND))
        writer.add(
            quarantine(
                seen,
                category=_CATEGORY,
                reason=reason,
                record_version=version,
                artifact_row=row,
                at=writer.header.created_at,
            )
        )
        with writer.finish() as plan:
            report = apply_plan(hold, plan)
    if not report.counts.get("done"):
        raise PublishRefused(
            f"{path} is taken by a file that could not be moved aside; both were left as they are",
            hint=f"see why: jobctl run show {report.run_id}",
        )
    return report.run_id


def finish_superseding(site: Site, root_id: str, *, job_id: str) -> None:
    """Journal what ``supersede`` had moved for the job where it was cut short, before it publishes anew.

    Else the journal would rest on a record that is a new file's by then. Raises ``Locked`` while it
    is at work, or another run holds the root.
    """
    with site.store.read() as connection:
        is_cut_short = runs.is_unfinished(connection, COMMAND, job_id)
    if is_cut_short:
        with hold_roots(site, command=COMMAND, only=root_id) as hold:
            catch_up(hold)


def _look(root: OpenRoot, path: str, job_id: str) -> Seen | None:
    try:
        found = stat_below(root.fd, path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise PublishRefused(
            f"{path} is taken by what is no regular file; it was left as it is",
            hint="move it away, and retry the job",
        )
    return Seen(job_id, root.root_id, path, Role.VIDEO, *identity_of(found))
