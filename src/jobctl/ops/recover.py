"""Recover: scan in full, check deeply what would be called complete, and plan. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from jobctl.core.case import Case
from jobctl.core.planning import Material, Terms, propose
from jobctl.core.rebuild import UrlForms
from jobctl.core.sidecar import SidecarSays, facts_of_sidecar, fields_of
from jobctl.errors import JobctlError, SidecarUnusable
from jobctl.model.commands import shell_word
from jobctl.model.files import Probe, Role, Seen, Tier
from jobctl.model.names import to_stored
from jobctl.model.plan import PlanHeader
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.hold import Hold
from jobctl.ops.inspect import Inspector
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import Plan, PlanWriter, header_of
from jobctl.ops.scan import Scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.store import runs

_BATCH = 500
_CLOCK_SLACK = timedelta(days=1)


def plan_recover(
    hold: Hold,
    *,
    include_declined: bool = False,
    progress: ProgressSink | None = None,
    troubles: list[JobctlError] | None = None,
) -> Plan:
    """Plan to rebuild what is lost under the held roots. Changes neither tree nor jobs.

    What could not be read, though the rest went on, is added to ``troubles``.
    """
    catch_up(hold)
    site = hold.site

    def report(step: Progress) -> None:
        hold.renew_when_due()
        if progress is not None:
            progress(step)

    options = ScanOptions(full=True, include_declined=include_declined)
    scanning = Scan(site, options, report, opened=list(hold.roots))
    writer = PlanWriter(header_of(hold, "recover"))
    with Inspector(site, hold.roots, Tier.DEMUX) as inspector:
        gathering = Gathering(site, inspector, terms_of(site, writer.header), report)
        cases = scanning.cases()
        while batch := list(islice(cases, _BATCH)):
            for material in gathering.materials(batch):
                _write(writer, material)
    writer.is_incomplete = not scanning.report.is_complete
    if troubles is not None:
        troubles.extend([*scanning.report.errors, *gathering.troubles])
    return writer.finish()


def terms_of(site: Site, header: PlanHeader) -> Terms:
    """What holds for the whole of a plan that rebuilds records."""
    with site.store.read() as connection:
        latest = site.store.now(connection) + _CLOCK_SLACK
    urls = UrlForms(site.settings.video_url_form, site.settings.thumbnail_url_form)
    return Terms(planned_at=header.created_at, latest=format_timestamp(latest), urls=urls)


@dataclass(slots=True)
class Gathering:
    """Gathers all that the decision about a case rests on."""

    site: Site
    inspector: Inspector
    terms: Terms
    report: ProgressSink
    troubles: list[JobctlError] = field(default_factory=list)

    def materials(self, batch: list[Case]) -> Iterator[Material]:
        """What is known of each case, but for those whose record was changed or deleted meanwhile."""
        known = [case.key for case in batch if case.record is not None]
        with self.site.store.read() as connection:
            job_rows = runs.job_documents(connection, known, with_version=True)
            artifact_rows = runs.artifact_documents(connection, known)
        for done, case in enumerate(batch, start=1):
            job_row = job_rows.get(case.key)
            version = job_row.pop("version") if job_row else None
            if case.record is not None and version != case.record.version:
                continue
            probes = {seen: self.inspector.look(seen, Tier.DEMUX) for seen in _to_check(case)}
            sidecars = {seen: list(self._sidecars(case, seen, probe)) for seen, probe in probes.items()}
            self.report(Progress("check", done, len(batch), case.key))
            rows = artifact_rows.get(case.key, {})
            yield Material(case, probes, job_row, rows, self.terms, sidecars)

    def _sidecars(self, case: Case, video: Seen, probe: Probe) -> Iterator[SidecarSays]:
        """What the sidecars of a job say beside one of its videos; one that is none is told."""
        for candidate in case.files:
            seen = candidate.seen
            if not self._is_sidecar(seen):
                continue
            where = f"{seen.root_id}:{to_stored(seen.path)}"
            try:
                fields = fields_of(self.inspector.read_sidecar(seen), self.site.settings.sidecar)
            except ValueError as error:
                self.troubles.append(_unusable(where, case.key, str(error)))
            else:
                yield facts_of_sidecar(case.key, fields, where=where, video=video, probe=probe)

    def _is_sidecar(self, seen: Seen) -> bool:
        """Sidecars, and where a mapping says how to read them the requests that jobs were made from."""
        is_request = seen.role == Role.INTERMEDIATE and seen.path.endswith(".json")
        return seen.role == Role.SIDECAR or (is_request and bool(self.site.settings.sidecar))


def _unusable(where: str, job_id: str, why: str) -> SidecarUnusable:
    return SidecarUnusable(
        f"the sidecar {where} is not used: {why}; its video was judged without it",
        hint=f"mend or remove it; what is known besides: jobctl explain {shell_word(job_id)}",
    )


def _to_check(case: Case) -> list[Seen]:
    """The videos that would be called complete."""
    return [finding.seen for finding in case.findings if finding.acts and finding.seen is not None]


def _write(writer: PlanWriter, material: Material) -> None:
    actions, told = propose(material)
    for action in actions:
        writer.add(action)
    for finding in told:
        writer.tell(finding)
