"""Publishing: the final name has the whole, stamped file or nothing, whatever happens."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobctl
import media
from jobctl.errors import PublishRefused
from jobctl.outputs import effects
from jobctl.outputs.stamp import read_stamp, verify_stamp
from jobctl.service import Published


@pytest.fixture(autouse=True)
def _unobserved() -> Iterator[None]:
    yield
    effects.observe()


def stamp_of(path: Path) -> tuple[str, bool]:
    fd = os.open(path, os.O_RDONLY)
    stamp = read_stamp(fd, os.fstat(fd).st_size)
    assert stamp is not None
    verified = verify_stamp(fd, stamp)
    os.close(fd)
    return stamp.job_id, verified


def test_a_published_file_says_whose_it_is(tmp_path: Path) -> None:
    final = tmp_path / "video.mp4"
    with jobctl.publishing(final, job_id="job-1") as temporary:
        media.encode(Path(temporary))
        assert not final.exists()
    assert stamp_of(final) == ("job-1", True)
    assert os.listdir(tmp_path) == ["video.mp4"]


def test_a_webm_is_published_as_it_is(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.webm", container="webm")
    content = made.read_bytes()
    published = jobctl.publish(made, tmp_path / "video.webm", job_id="job-1")
    assert (tmp_path / "video.webm").read_bytes() == content
    assert published.size == len(content)


def test_a_taken_name_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_text("older")
    made = media.encode(tmp_path / ".part.mp4")
    with pytest.raises(PublishRefused, match="there already"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert (tmp_path / "video.mp4").read_text() == "older"
    assert made.exists()


def test_a_cut_file_is_not_published(tmp_path: Path) -> None:
    made = media.truncate(media.encode(tmp_path / ".part.mp4"), keep=0.5)
    with pytest.raises(PublishRefused, match="is partial"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert not (tmp_path / "video.mp4").exists()


def test_a_failed_encode_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), jobctl.publishing(tmp_path / "video.mp4", job_id="job-1") as temporary:
        Path(temporary).write_bytes(b"half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_another_directory_is_refused(tmp_path: Path) -> None:
    made = media.encode(tmp_path / "part.mp4")
    (tmp_path / "below").mkdir()
    with pytest.raises(PublishRefused, match="not in the directory"):
        jobctl.publish(made, tmp_path / "below" / "video.mp4", job_id="job-1")


def test_who_asks_before_the_rename_can_stop_it(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.mp4")

    def refuse(published: Published) -> None:
        assert not Path(published.path).exists()
        raise PermissionError

    with pytest.raises(PermissionError):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1", before_rename=refuse)
    assert not (tmp_path / "video.mp4").exists()


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_at_any_effect_leaves_the_whole_file_or_none(tmp_path: Path, number: int, when: str) -> None:
    made = media.encode(tmp_path / ".part.mp4")

    def fail(name: str, at: int) -> None:
        if at == number:
            raise OSError(errno.EIO, name)

    effects.observe(**{when: fail})
    with pytest.raises(OSError, match="write|fsync|rename"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    effects.observe()
    if (tmp_path / "video.mp4").exists():
        assert stamp_of(tmp_path / "video.mp4") == ("job-1", True)


def test_without_renameat2_a_name_is_linked_and_never_replaced(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(effects, "_renameat2", lambda *_: False)
    made = media.encode(tmp_path / ".part.mp4")
    jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    second = media.encode(tmp_path / ".part.mp4", seed=2)
    with pytest.raises(PublishRefused):
        jobctl.publish(second, tmp_path / "video.mp4", job_id="job-1")
    assert stamp_of(tmp_path / "video.mp4") == ("job-1", True)
