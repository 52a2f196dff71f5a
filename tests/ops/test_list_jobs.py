"""Lists of jobs: every filter, order and page gives what going through all of them would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import product
from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import UnknownJob
from jobctl.model.job import Job, Origin
from jobctl.model.listing import Order, Position, parse_position
from jobctl.model.status import Cause, Status
from jobctl.ops import jobs as jobs_module
from jobctl.ops.jobs import JobFilter, list_jobs, page_of_jobs
from jobctl.ops.site import Site
from jobctl.store import jobs
from jobctl.store import listing as listing_module
from jobctl.store.schema import job
from ops.world import World
from store.records import claim, complete, create, fail, later

STATUSES = (
    Status.QUEUED,
    Status.PROCESSING,
    Status.COMPLETED,
    Status.FAILED,
    Status.CANCELLED,
    Status.EXPIRED,
)


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    """Two dozen jobs of every status, some created, changed or completed in the same moment, some undated."""
    with world.site() as opened:
        with opened.store.write() as connection:
            for number in range(24):
                owner = ["ada", "grace", None][number % 3]
                kind, queue = ("avatar", "night") if number % 4 == 0 else ("presentation", "default")
                at = later(number // 3 * 60)
                create(connection, f"job-{number * 7 % 24:02}", at=at, owner=owner, kind=kind, queue=queue)
            for number, (status, _) in enumerate(product(STATUSES, range(4))):
                bring_to(connection, f"job-{number:02}", status, later(10_000 + number // 3 * 60))
            undated = job.c.job_id.in_(["job-03", "job-04", "job-09"])
            connection.execute(update(job).where(undated).values(created_at=None))
        yield opened


def bring_to(connection: Any, job_id: str, status: Status, at: datetime) -> None:
    if status is Status.QUEUED:
        return
    if status is Status.CANCELLED:
        move(connection, job_id, Status.QUEUED, status, Cause.OPERATOR, at)
        return
    claim(connection, job_id, at=at)
    if status is Status.FAILED:
        fail(connection, job_id, error_code="gpu-lost", at=at)
    elif status is not Status.PROCESSING:
        complete(connection, job_id, at=at)
    if status is Status.EXPIRED:
        move(connection, job_id, Status.COMPLETED, status, Cause.RETENTION, at)


def move(connection: Any, job_id: str, old: Status, new: Status, cause: Cause, at: datetime) -> None:
    jobs.change_status(connection, job_id, new, expect=old, cause=cause, actor="tester", at=at)


FILTERS: list[tuple[dict[str, Any], Callable[[Job], bool]]] = [
    ({}, lambda _: True),
    ({"statuses": {Status.FAILED}}, lambda job: job.status is Status.FAILED),
    (
        {"statuses": {Status.QUEUED, Status.EXPIRED}},
        lambda job: job.status in (Status.QUEUED, Status.EXPIRED),
    ),
    ({"owner": "ada"}, lambda job: job.owner == "ada"),
    (
        {"owner": "grace", "statuses": {Status.COMPLETED, Status.CANCELLED}},
        lambda job: job.owner == "grace" and job.status in (Status.COMPLETED, Status.CANCELLED),
    ),
    ({"kind": "avatar"}, lambda job: job.kind == "avatar"),
    (
        {"queue": "night", "statuses": {Status.PROCESSING}},
        lambda job: job.queue == "night" and job.status == "processing",
    ),
    ({"origin": Origin.RECOVERED}, lambda _: False),
    ({"error_code": "gpu-lost"}, lambda job: job.error_code == "gpu-lost"),
    ({"text": "OB-1"}, lambda job: "job-1" in job.job_id),
    ({"text": "it broke"}, lambda job: job.status is Status.FAILED),
    ({"since": later(120), "until": later(300)}, lambda job: within(job.created_at, 120, 300)),
    (
        {"by": Order.UPDATED, "since": later(10_060), "until": later(10_240)},
        lambda job: within(job.updated_at, 10_060, 10_240),
    ),
    ({"by": Order.COMPLETED, "since": later(10_200)}, lambda job: within(job.completed_at, 10_200, 99_999)),
]


def within(at: datetime | None, since: float, until: float) -> bool:
    return at is not None and later(since) <= at < later(until)


def expected(all_jobs: list[Job], keep: Callable[[Job], bool], order: Order, is_reversed: bool) -> list[str]:
    """The list as it is defined: the latest first, ties by id; the undated last, or left out."""
    kept = [job for job in all_jobs if keep(job)]
    if order is Order.ID:
        return sorted((job.job_id for job in kept), reverse=is_reversed)
    dated = [(getattr(job, order.column), job.job_id) for job in kept if getattr(job, order.column)]
    dated.sort(key=lambda each: each[1], reverse=order is Order.UPDATED)
    dated.sort(key=lambda each: each[0], reverse=True)
    undated = sorted(job.job_id for job in kept if job.created_at is None) if order is Order.CREATED else []
    if is_reversed:
        dated, undated = dated[::-1], undated[::-1]
    return [*(job_id for _, job_id in dated), *undated]


@pytest.mark.parametrize("few", [5_000, 0], ids=["few", "many"])
def test_every_filter_and_order_gives_what_it_says(
    site: Site, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(listing_module, "_FEW", few)
    everything = list(list_jobs(site, JobFilter()))
    assert len(everything) == 24
    for (wanted, keep), order, is_reversed in product(FILTERS, Order, (False, True)):
        sought = JobFilter(**wanted)
        found = list_jobs(site, sought, order=order, is_reversed=is_reversed)
        told = f"{wanted} by {order}{' reversed' if is_reversed else ''}"
        assert [job.job_id for job in found] == expected(everything, keep, order, is_reversed), told


@pytest.mark.parametrize("order", Order)
def test_pages_follow_one_another_whatever_ends_them(
    site: Site, monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    """A page ends where it is full, or where there is no time to look further."""
    monkeypatch.setattr(jobs_module, "_BLOCK", 2)
    monkeypatch.setattr(listing_module, "_FEW", 0)
    everything = list(list_jobs(site, JobFilter()))
    for (wanted, keep), is_reversed, patience in product(FILTERS[::3], (False, True), (None, 0.0)):
        sought = JobFilter(**wanted)
        seen: list[str] = []
        after: str | None = None
        pages = 0
        while pages == 0 or after is not None:
            page = page_of_jobs(
                site, sought, after=after, limit=3, order=order, is_reversed=is_reversed, patience_s=patience
            )
            assert len(page.jobs) <= 3
            assert page.is_cut <= (patience == 0.0)
            seen += [job.job_id for job in page.jobs]
            after = None if page.cursor is None else str(page.cursor)
            pages += 1
        assert seen == expected(everything, keep, order, is_reversed), (wanted, is_reversed, patience)


def test_the_rest_is_counted(site: Site) -> None:
    page = page_of_jobs(site, JobFilter(statuses=frozenset({Status.FAILED})), limit=1, patience_s=60)
    assert page.more == 3
    assert page_of_jobs(site, JobFilter(), limit=24, patience_s=60).more == 0


def test_a_page_goes_on_though_its_last_job_is_gone(site: Site) -> None:
    first = page_of_jobs(site, JobFilter(), limit=2)
    rest = [job.job_id for job in list_jobs(site, JobFilter())][2:]
    with site.store.write() as connection:
        jobs.delete_job(connection, first.jobs[-1].job_id, actor="tester", at=later(0))
    assert [job.job_id for job in list_jobs(site, JobFilter(), after=str(first.cursor))] == rest
    with pytest.raises(UnknownJob):
        list(list_jobs(site, JobFilter(), after=first.jobs[-1].job_id))


@pytest.mark.parametrize(
    "text", ["job-1", "", "/", "2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456Z/", "x" * 27 + "/y"]
)
def test_what_is_no_place_in_a_list_is_an_id(text: str) -> None:
    assert parse_position(text) is None


def test_a_place_is_read_as_it_was_written() -> None:
    place = Position(later(0), "2026/odd id")
    assert parse_position(str(place)) == place
