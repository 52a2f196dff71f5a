"""What a worker answers an attempt that wants to publish."""

from __future__ import annotations

import errno
import os
import re
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from jobctl import clock
from jobctl.core.reporting.periods import Period
from jobctl.errors import JobctlError, PublishRefused, StaleJob
from jobctl.model.attempts import AttemptId
from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.init import initialise
from jobctl.ops.report import bills
from jobctl.ops.site import Site, open_site
from jobctl.runner.attempt import Attempt, answer_of
from jobctl.runner.crew import Told
from jobctl.runner.publishing import Desk
from jobctl.settings import load_settings
from jobctl.store import jobs, roots, workers
from jobctl.store.enqueue import enqueue
from jobctl.store.leases import Holder, open_leases
from jobctl.store.schema import job, root
from media import encode, truncate


class Direct:
    """An attempt's link to a desk in the same process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def tell(self, message: list[Any]) -> None:
        """Nobody listens."""

    def ask(self, message: list[Any]) -> Any:
        what, job_id, attempt, *words = message
        answer = self._desk.answer(Told(AttemptId(job_id, attempt), what, 1, words))
        assert answer is not None
        return answer_of(["answer", 1, *answer])


class Stage:
    """A root, a store, and a job in its first attempt."""

    def __init__(self, url: str, root: Path, scratch: Path) -> None:
        root.mkdir()
        settings = load_settings(database=url, environ={})
        initialise(settings, roots=[str(root)], layout="presentations", host_local=False, now=clock.now())
        self.root = root
        self.scratch = scratch
        self.site: Site = open_site(settings)
        with self.site.store.write() as connection:
            enqueue(connection, New(Job(job_id="j1", kind="film")), actor="test", at=clock.now())
        self.claim()

    def claim(self) -> Attempt:
        """Take the job, in its next attempt."""
        holder = Holder("w1", self.site.executor, ("default",))
        with closing(open_leases(self.site.store, holder)) as leases:
            (claim,) = leases.take_turn([], 1, ["film"]).claims
        scratch = self.scratch / str(claim.attempt)
        self.attempt_id = claim.id
        self.attempt = Attempt(claim.id, "film", None, Direct(Desk(self.site, "w1")), str(scratch))
        return self.attempt

    def film(self, seed: int = 1) -> Path:
        return encode(Path(self.attempt.scratch, f"film{seed}.mp4"), seed=seed)


@pytest.fixture
def stage(store_url: str, tmp_path: Path) -> Any:
    made = Stage(store_url, tmp_path / "outputs", tmp_path / "scratch")
    yield made
    made.site.store.close()


def test_a_published_video_is_recorded_with_its_bytes(stage: Stage) -> None:
    published = stage.attempt.publish(stage.film(), stage.root / "presentation_j1.mp4")
    with stage.site.store.read() as connection:
        (artifact,) = jobs.artifacts_of(connection, "j1")
        assert workers.offers_of(connection, "j1") == []
    assert (artifact.sha256, artifact.verdict) == (published.sha256, "whole")
    assert artifact.media == {"duration_s": published.duration_s}
    assert published.duration_s == pytest.approx(2.0, abs=0.1)


def test_the_length_of_a_completed_video_is_billed(stage: Stage) -> None:
    """As the check read it that came before its publication; the file is not read again."""
    stage.attempt.publish(stage.film(), stage.root / "presentation_j1.mp4")
    with stage.site.store.write() as connection:
        at = stage.site.store.now(connection)
        changed = {"expect": Status.PROCESSING, "cause": Cause.EXECUTOR, "actor": "w1", "at": at}
        jobs.change_status(connection, "j1", Status.COMPLETED, **changed)
    period = Period("", at - timedelta(hours=1), at + timedelta(hours=1))
    (bill,) = bills(stage.site, period)
    assert (bill.jobs, bill.unknown) == (1, 0)
    assert bill.seconds == pytest.approx(2.0, abs=0.1)


def test_a_video_is_recorded_only_by_its_publication_which_checks_it(stage: Stage) -> None:
    broken = stage.root / "presentation_j1.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(PublishRefused, match="a video is checked before it is its job's"):
        stage.attempt.artifact(broken, "video")
    with stage.site.store.read() as connection:
        assert jobs.artifacts_of(connection, "j1") == []
        assert jobs.get_job(connection, "j1").video_url is None
    assert broken.read_bytes() == b"no video"


def test_what_is_no_video_has_no_length(stage: Stage) -> None:
    image = Path(stage.attempt.scratch, "image.jpg")
    image.write_bytes(b"picture")
    stage.attempt.publish(image, stage.root / "thumbnail_j1.jpg", role="thumbnail")
    with stage.site.store.read() as connection:
        assert [file.media for file in jobs.artifacts_of(connection, "j1")] == [None]


def test_what_a_crash_would_leave_of_a_video_is_known_as_a_part_of_it(stage: Stage) -> None:
    seen: list[str] = []

    class Watched(Direct):
        def ask(self, message: list[Any]) -> Any:
            seen.extend(path.name for path in stage.root.glob(".*.part"))
            return super().ask(message)

    scratch = str(stage.scratch / "watched")
    attempt = Attempt(stage.attempt_id, "film", None, Watched(Desk(stage.site, "w1")), scratch)
    attempt.publish(stage.film(), stage.root / "presentation_j1.mp4")
    assert seen
    assert all(re.fullmatch(r"\.presentation_j1\.mp4\.[0-9a-f]{12}\.part", name) for name in seen)


def test_a_thumbnail_is_published_as_it_is(stage: Stage) -> None:
    made = Path(stage.attempt.scratch, "t.jpg")
    made.write_bytes(b"a picture")
    stage.attempt.publish(made, stage.root / "thumbnail_j1.jpg", role="thumbnail")
    with stage.site.store.read() as connection:
        assert jobs.get_job(connection, "j1").thumbnail_url == "/presentations/j1/thumbnail"
    assert (stage.root / "thumbnail_j1.jpg").read_bytes() == b"a picture"


@pytest.mark.parametrize("place", ["../elsewhere.mp4", ".jobctl/film.mp4"])
def test_what_lies_outside_of_a_root_is_refused(stage: Stage, place: str) -> None:
    with pytest.raises(JobctlError, match=r"registered root|jobctl's own"):
        stage.attempt.publish(stage.film(), stage.root / place)
    assert not (stage.root / place).exists()


def test_what_is_refused_is_left_where_it_was_and_nothing_is_made_elsewhere(stage: Stage) -> None:
    film = stage.film()
    with pytest.raises(JobctlError, match="registered root"):
        stage.attempt.publish(film, stage.root.parent / "new" / "film.mp4")
    assert film.exists()
    assert not (stage.root.parent / "new").exists()


def test_a_broken_file_is_put_back_where_it_was_given(stage: Stage) -> None:
    broken = truncate(stage.film(), keep=0.5)
    with pytest.raises(JobctlError, match=f"^{broken} was not published: the file is partial"):
        stage.attempt.publish(broken, stage.root / "presentation_j1.mp4")
    assert broken.exists()
    assert [path.name for path in stage.root.iterdir()] == [".jobctl"]


def test_without_a_root_nothing_is_published(stage: Stage) -> None:
    with stage.site.store.write() as connection:
        connection.execute(delete(root))
    with pytest.raises(JobctlError, match="does not lie below a registered root"):
        stage.attempt.publish(stage.film(), stage.root / "presentation_j1.mp4")


def test_a_symlinked_directory_counts_as_where_it_leads(stage: Stage, tmp_path: Path) -> None:
    (stage.root / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    for name, leads_to in (("in", stage.root / "inside"), ("out", tmp_path / "outside")):
        (stage.root / name).symlink_to(leads_to)
    with pytest.raises(JobctlError, match="does not lie below a registered root"):
        stage.attempt.publish(stage.film(), stage.root / "out" / "presentation_j1.mp4")
    assert list((tmp_path / "outside").iterdir()) == []
    stage.attempt.publish(stage.film(), stage.root / "in" / "presentation_j1.mp4")
    with stage.site.store.read() as connection:
        (artifact,) = jobs.artifacts_of(connection, "j1")
    assert artifact.path == "inside/presentation_j1.mp4"


def test_a_role_that_there_is_not_is_refused_by_its_name(stage: Stage) -> None:
    with pytest.raises(JobctlError, match="'film' is no role of a file") as refused:
        stage.attempt.publish(stage.film(), stage.root / "presentation_j1.mp4", role="film")
    assert (refused.value.hint or "").startswith("roles: video, thumbnail, slide")
    assert not (stage.root / "presentation_j1.mp4").exists()


@pytest.mark.parametrize("words", [[], ["x"] * 9, [None, "video"], ["\0", "video"], ["/x", {}]])
def test_whatever_an_attempt_asks_its_worker_answers(stage: Stage, words: list[Any]) -> None:
    answer = Desk(stage.site, "w1").answer(Told(stage.attempt_id, "place", 1, words))
    assert answer is not None
    assert answer.kind == PublishRefused.code


def test_a_video_that_was_made_under_its_final_name_is_refused_and_stays(stage: Stage) -> None:
    """Nobody could tell when it is whole; and it is not in the way of itself."""
    final = encode(stage.root / "presentation_j1.mp4")
    made = final.read_bytes()
    with pytest.raises(PublishRefused, match="it has its final name already; it was left where it is"):
        stage.attempt.publish(final, final)
    assert final.read_bytes() == made
    assert not list(stage.root.glob(".jobctl/quarantine/*/1"))


def test_a_copied_video_keeps_its_mode(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was made on another file system, as scratch directories often are."""
    film = stage.film()
    film.chmod(0o644)

    def cannot_move(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr("jobctl.runner.attempt.os.rename", cannot_move)
    stage.attempt.publish(film, stage.root / "presentation_j1.mp4")
    assert (stage.root / "presentation_j1.mp4").stat().st_mode & 0o777 == 0o644
    assert not film.exists()


def test_a_file_of_somebody_elses_keeps_its_name(stage: Stage) -> None:
    other = encode(stage.root / "presentation_j1.mp4", seed=9).read_bytes()
    with pytest.raises(JobctlError, match="nothing shows that it is of job j1"):
        stage.attempt.publish(stage.film(), stage.root / "presentation_j1.mp4")
    assert (stage.root / "presentation_j1.mp4").read_bytes() == other


def test_a_broken_file_does_not_move_the_earlier_one_aside(stage: Stage) -> None:
    final = stage.root / "presentation_j1.mp4"
    stage.attempt.publish(stage.film(), final)
    earlier = final.read_bytes()
    with pytest.raises(JobctlError, match="was not published"):
        stage.attempt.publish(truncate(stage.film(seed=2), keep=0.5), final)
    assert final.read_bytes() == earlier


def test_the_same_job_may_publish_anew_and_the_earlier_file_is_kept_aside(stage: Stage) -> None:
    final = stage.root / "presentation_j1.mp4"
    stage.attempt.publish(stage.film(), final)
    earlier = final.read_bytes()
    stage.attempt.publish(stage.film(seed=2), final)
    (aside,) = stage.root.glob(".jobctl/quarantine/*/1")
    assert aside.read_bytes() == earlier


def overtaken(stage: Stage, *, at: str) -> Attempt:
    """The attempt of a stage, whose job the next attempt takes just when it asks this."""

    class Overtaken(Direct):
        def ask(self, message: list[Any]) -> Any:
            if message[0] == at:
                with stage.site.store.write() as connection:
                    connection.execute(update(job).values(attempt=2))
            return super().ask(message)

    return Attempt(stage.attempt_id, "film", None, Overtaken(Desk(stage.site, "w1")), stage.attempt.scratch)


@pytest.mark.parametrize("step", ["place", "offer", "published"])
def test_an_attempt_that_lost_its_job_publishes_nothing(stage: Stage, step: str) -> None:
    """Nor is what it named while it held the job still called the job's."""
    final, film = stage.root / "presentation_j1.mp4", stage.film()
    made = film.read_bytes()
    with pytest.raises(StaleJob, match="no longer holds it"):
        overtaken(stage, at=step).publish(film, final)
    # What is refused at once is not even stamped.
    assert (film.exists() and film.read_bytes() == made) is (step == "place")
    with stage.site.store.read() as connection:
        assert jobs.artifacts_of(connection, "j1") == []
        assert jobs.get_job(connection, "j1").video_url is None
        assert bool(workers.offers_of(connection, "j1")) is (step == "published")
    assert final.exists() is (step == "published")


def test_an_attempt_that_lost_its_job_moves_nothing_aside(stage: Stage) -> None:
    final = stage.root / "presentation_j1.mp4"
    stage.attempt.publish(stage.film(), final)
    accepted = final.read_bytes()
    with pytest.raises(StaleJob):
        overtaken(stage, at="room").publish(stage.film(seed=2), final)
    assert final.read_bytes() == accepted


def test_an_attempt_that_lost_its_job_withdraws_nothing_and_records_nothing(stage: Stage) -> None:
    """What lies there, and what may be published, is the next attempt's."""
    final, image = stage.root / "presentation_j1.mp4", stage.root / "thumbnail_j1.jpg"
    with stage.site.store.write() as connection:
        (row,) = roots.get_roots(connection)
        offer = workers.Offer(*stage.attempt_id, row.root_id, final.name, "video", 1, "0" * 64)
        workers.offer(connection, offer, at=clock.now())
    stale = overtaken(stage, at="withdraw")
    with pytest.raises(StaleJob):
        stale.publish(truncate(stage.film(), keep=0.5), final)
    image.write_bytes(b"a picture")
    with pytest.raises(StaleJob):
        stale.artifact(image, "thumbnail")
    with stage.site.store.read() as connection:
        assert workers.offers_of(connection, "j1") == [offer]
        assert jobs.artifacts_of(connection, "j1") == []
