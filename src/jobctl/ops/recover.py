"""Recover: scan in full, check deeply what would be called complete, and plan. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from jobctl.core.planning import Material, Terms, propose
from jobctl.core.rebuild import UrlForms
from jobctl.core.reconcile import Case
from jobctl.errors import JobctlError
from jobctl.model.files import Seen, Tier
from jobctl.model.plan import PlanHeader
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.hold import Hold
from jobctl.ops.inspect import Inspector
from jobctl.ops.plan import Plan, PlanWriter
from jobctl.ops.scan import Scan, ScanOptions
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
    site = hold.site

    def report(step: Progress) -> None:
        hold.renew_when_due()
        if progress is not None:
            progress(step)

    options = ScanOptions(full=True, include_declined=include_declined)
    scanning = Scan(site, options, report, opened=list(hold.roots))
    writer = PlanWriter(_header(hold))
    with Inspector(site, hold.roots, Tier.DEMUX) as inspector:
        terms = _terms(site, writer.header)
        cases = scanning.cases()
        while batch := list(islice(cases, _BATCH)):
            for material in _materials(site, batch, inspector, terms, report):
                _write(writer, material)
    writer.is_incomplete = not scanning.report.is_complete
    if troubles is not None:
        troubles.extend(scanning.report.errors)
    return writer.finish()


def _header(hold: Hold) -> PlanHeader:
    site = hold.site
    with site.store.read() as connection:
        now = site.store.now(connection)
    return PlanHeader(
        command="recover",
        store_id=site.store.store_id,
        roots={root.root_id: root.marker_generation for root in hold.roots},
        created_at=format_timestamp(now),
        configuration=site.settings.digest(),
    )


def _terms(site: Site, header: PlanHeader) -> Terms:
    with site.store.read() as connection:
        latest = site.store.now(connection) + _CLOCK_SLACK
    urls = UrlForms(site.settings.video_url_form, site.settings.thumbnail_url_form)
    return Terms(planned_at=header.created_at, latest=format_timestamp(latest), urls=urls)


def _materials(
    site: Site, batch: list[Case], inspector: Inspector, terms: Terms, report: ProgressSink
) -> Iterator[Material]:
    known = [case.key for case in batch if case.record is not None]
    with site.store.read() as connection:
        job_rows = runs.job_documents(connection, known)
        artifact_rows = runs.artifact_documents(connection, known)
    for done, case in enumerate(batch, start=1):
        probes = {seen: inspector.look(seen, Tier.DEMUX) for seen in _to_check(case)}
        report(Progress("check", done, len(batch), case.key))
        yield Material(case, probes, job_rows.get(case.key), artifact_rows.get(case.key, {}), terms)


def _to_check(case: Case) -> list[Seen]:
    """The videos that would be called complete."""
    return [finding.seen for finding in case.findings if finding.acts and finding.seen is not None]


def _write(writer: PlanWriter, material: Material) -> None:
    actions, told = propose(material)
    for action in actions:
        writer.add(action)
    for finding in told:
        writer.tell(finding)
