"""Remote renders in the store, alike on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from jobctl.model.renders import KnownRender, Proof, Render, RenderState
from jobctl.store import renders
from jobctl.store.engine import Store
from store.records import AT, later


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    """A transaction of an empty store."""
    with store.write() as opened:
        yield opened


def known(remote_id: str = "a", job_id: str | None = None, **changes: Any) -> KnownRender:
    proof = Proof.LOG if job_id else None
    render = Render(remote_id, RenderState.READY, "ready", created_at=AT)._replace(**changes)
    return KnownRender("elai", render, job_id, proof, later(5))


def test_they_come_back_as_they_were_told_but_for_their_address(connection: Connection) -> None:
    full = known(
        job_id="job-1",
        name="näme",
        tags=("one", "two"),
        duration_s=3.5,
        error="none",
        url="https://x/?s=secret",
    )
    renders.record_renders(connection, [full])
    expected = full._replace(render=full.render._replace(url=None))
    assert renders.list_renders(connection) == renders.renders_of(connection, "job-1") == [expected]


def test_one_that_is_there_is_replaced_by_what_is_known_now(connection: Connection) -> None:
    renders.record_renders(connection, [known(job_id="job-1")])
    now = known(state=RenderState.FAILED, created_at=None)._replace(seen_at=later(9))
    renders.record_renders(connection, [now])
    assert renders.list_renders(connection) == [now]
    assert renders.renders_of(connection, "job-1") == []


def test_the_newest_come_first_and_those_without_a_time_last(connection: Connection) -> None:
    moments = {"b": AT, "a": AT, "new": later(60), "undated": None}
    renders.record_renders(connection, [known(key, created_at=moment) for key, moment in moments.items()])
    listed = [each.render.remote_id for each in renders.list_renders(connection)]
    assert listed == ["new", "a", "b", "undated"]


def test_two_renderers_may_use_one_id(connection: Connection) -> None:
    renders.record_renders(connection, [known(), known()._replace(renderer="other")])
    assert len(renders.list_renders(connection)) == 2


def test_they_are_streamed_by_the_jobs_they_belong_to(store: Store, connection: Connection) -> None:
    rows = [known("r1", "b"), known("r2", "a"), known("r3"), known("r4", "c", created_at=None)]
    renders.record_renders(connection, rows)

    def streamed(low: str, high: str | None) -> list[tuple[str, KnownRender]]:
        return list(renders.stream_renders(connection, store.dialect, low, high))

    assert streamed("", None) == [("a", rows[1]), ("b", rows[0]), ("c", rows[3])]
    assert [job_id for job_id, _ in streamed("b", "c")] == ["b"]
