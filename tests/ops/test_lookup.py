"""A job is found by whatever names it alone; of one without a record it is told what is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from jobctl.errors import UnknownJob
from jobctl.model.lookup import By, ClueKind
from jobctl.model.renders import KnownRender, Proof, Render, RenderState
from jobctl.ops.ingest import ingest
from jobctl.ops.lookup import AmbiguousJob, JobNotFound
from jobctl.ops.show import show_job
from jobctl.ops.site import Site
from jobctl.policy import Policy, Rule
from jobctl.store import jobs, renders
from ops.tidying import link, restore
from ops.world import Calendar, World, a_job_id
from store.records import AT, create, later

REMOTE = "690a2adf7614c96f64167739"
OTHER_REMOTE = "690a2adf7614c96f64167740"


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    """A job with a file, a key and a render; another with the same key in another kind."""
    with world.site() as opened:
        with opened.store.write() as connection:
            create(connection, a_job_id(0), idempotency_key="order 1/a")
            create(connection, a_job_id(1), idempotency_key="order 2")
            create(connection, a_job_id(2), idempotency_key="order 2", kind="avatar")
            render = Render(REMOTE, RenderState.READY, created_at=AT)
            loose = Render(OTHER_REMOTE, RenderState.READY, created_at=AT)
            known = [KnownRender("elai", render, a_job_id(0), Proof.LOG, later(5))]
            renders.record_renders(connection, [*known, KnownRender("elai", loose, None, None, later(5))])
        link(world, 0, "odd names/take 2.mp4")
        yield opened


def test_a_job_is_found_by_whatever_names_it_alone(site: Site, world: World) -> None:
    job = a_job_id(0)
    ways = {
        job[:-2]: By.PREFIX,
        f"presentation_{job}.mp4": By.FILE,
        f"/somewhere/else/thumbnail_{job}.jpg": By.FILE,
        f"remotion_input_{job}.json": By.FILE,
        "odd names/take 2.mp4": By.FILE,
        f"{world.root}/odd names/take 2.mp4": By.FILE,
        f"{world.root}/x/../odd names//take 2.mp4": By.FILE,
        f"/presentations/{job}/video": By.URL,
        f"https://videos.example.org/api/custom/presentations/{job}/thumbnail?sig=1": By.URL,
        f"https://videos.example.org/api/custom-projects-backend/presentations/{job}/video": By.URL,
        f"/api/custom/download/presentation_{job}.mp4": By.FILE,
        REMOTE: By.RENDER,
        f"output/clean_videos/avatar_{REMOTE}.mp4": By.RENDER,
        "order 1/a": By.KEY,
    }
    found = {name: show_job(site, name) for name in ways}
    assert {name: detail.found_by for name, detail in found.items()} == ways
    assert {detail.job.job_id for detail in found.values()} == {job}
    assert show_job(site, job).found_by is None


def test_urls_of_one_s_own_form_are_known(world: World, site: Site) -> None:
    world.changes = {"video_url_form": "/watch/{job_id}.html"}
    with world.site() as other:
        assert show_job(other, f"https://tv.example.org/watch/{a_job_id(0)}.html#t=3").found_by is By.URL


def test_an_id_is_never_shadowed(site: Site, world: World) -> None:
    with site.store.write() as connection:
        for name in ("order 1/a", REMOTE, "order", f"presentation_{a_job_id(0)}.mp4"):
            create(connection, name)
    for name in ("order 1/a", REMOTE, "order", f"presentation_{a_job_id(0)}.mp4"):
        detail = show_job(site, name)
        assert (detail.job.job_id, detail.found_by) == (name, None)


def test_what_may_mean_several_jobs_is_told_and_none_is_chosen(site: Site) -> None:
    with site.store.write() as connection:
        create(connection, "order 1/a and more")
    several = {
        "order 2": {a_job_id(1), a_job_id(2)},
        a_job_id(0)[:8]: {a_job_id(0), a_job_id(1), a_job_id(2)},
        # The beginning of one, and the key of another.
        "order 1/a": {a_job_id(0), "order 1/a and more"},
    }
    for name, candidates in several.items():
        with pytest.raises(AmbiguousJob) as refused:
            show_job(site, name)
        assert {found.job_id for found in refused.value.candidates} == candidates
        assert all(job_id in refused.value.hint for job_id in candidates)


def test_what_nothing_knows_is_not_found(site: Site) -> None:
    for name in ("", "0", "nope", "\udcff", "a\0b", "%", "../..", "x" * 100_000, "[bold]\x1b[31m"):
        with pytest.raises(JobNotFound) as refused:
            show_job(site, name)
        assert refused.value.clues == []


def clues(site: Site, name: str) -> tuple[list[ClueKind], JobNotFound]:
    with pytest.raises(JobNotFound) as refused:
        show_job(site, name)
    assert isinstance(refused.value, UnknownJob)
    return [clue.kind for clue in refused.value.clues], refused.value


def test_a_job_that_only_a_log_names(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(f"INFO:svc:Created presentation job: {a_job_id(7)}\n")
    ingest(site, [str(log)], zone=UTC)
    for name in (a_job_id(7), f"presentation_{a_job_id(7)}.mp4", f"/presentations/{a_job_id(7)}/video"):
        kinds, error = clues(site, name)
        assert kinds == [ClueKind.LOG]
        assert f"no job {a_job_id(7)} is recorded, but a log knows of it" in error.message
        assert f"jobctl explain {a_job_id(7)}" in error.hint


def test_a_job_that_a_scan_saw_files_of(site: Site, world: World) -> None:
    path = world.video(8)
    world.file(f"thumbnail_{a_job_id(8)}.jpg")
    world.scan()
    kinds, error = clues(site, a_job_id(8))
    assert kinds == [ClueKind.FILE]
    assert f"saw its video at {path}, and 1 other file" in error.message
    assert "'jobctl recover'" in error.hint


def test_a_job_that_was_deleted(site: Site, world: World) -> None:
    world.video(0)
    world.scan()
    with site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(0), actor="ada", at=AT)
    kinds, error = clues(site, a_job_id(0)[:-3])
    assert kinds == [ClueKind.TOMBSTONE, ClueKind.FILE, ClueKind.RENDER]
    assert "it was deleted on 20" in error.message
    assert "by ada" in error.message
    # Recover leaves what was buried: it is not what is proposed.
    assert f"jobctl events {a_job_id(0)}" in error.hint
    assert "recover" not in str([clue.next for clue in error.clues])


def test_a_recovery_that_was_taken_back(site: Site, world: World) -> None:
    world.video(9)
    undone = world.recover()
    world.undo(undone.run_id)
    kinds, error = clues(site, a_job_id(9))
    assert kinds[:2] == [ClueKind.DECLINED, ClueKind.FILE]
    assert "its recovery was taken back" in error.message
    assert "jobctl recover --include-declined" in error.hint


def test_a_file_in_quarantine_is_told_with_its_job_and_without_it(world: World, calendar: Calendar) -> None:
    world.video(0)
    world.recover()
    calendar.pass_(days=8)
    run_id = world.expire(Policy(rule=Rule(None, {"completed": timedelta(days=7)}))).run_id
    with world.site() as site:
        detail = show_job(site, a_job_id(0))
        assert (detail.job.status, detail.aside is None) == ("expired", False)
        assert f"its file presentation_{a_job_id(0)}.mp4 is in quarantine until 20" in str(detail.aside)
        assert f"to give it back: jobctl quarantine restore {run_id}/" in str(detail.aside)
        with site.store.write() as connection:
            jobs.delete_job(connection, a_job_id(0), actor="ada", at=AT)
        kinds, error = clues(site, a_job_id(0))
        assert kinds[:2] == [ClueKind.TOMBSTONE, ClueKind.QUARANTINE]
        assert f"'jobctl quarantine restore {run_id}/" in error.hint
        restore(world, job_id=a_job_id(0))
        assert ClueKind.QUARANTINE not in clues(site, a_job_id(0))[0]


def test_a_render_that_belongs_to_no_job(site: Site) -> None:
    for name in (OTHER_REMOTE, f"avatar_{OTHER_REMOTE}.mp4"):
        kinds, error = clues(site, name)
        assert kinds == [ClueKind.RENDER]
        assert "belongs to no job" in error.message
        assert "jobctl remote list" in error.hint
