"""Publishing: the final name has the whole, stamped file or nothing, whatever happens."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import jobctl
import media
from jobctl.errors import PublishRefused
from jobctl.outputs import effects
from jobctl.outputs.publish import publish
from jobctl.outputs.settle import writer_state
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


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm", "mkv"])
def test_what_is_told_of_a_published_file_is_true(tmp_path: Path, kind: str) -> None:
    made = media.encode(tmp_path / ".part", container=kind)
    published = jobctl.publish(made, tmp_path / f"video.{kind}", job_id="job-1")
    content = Path(published.path).read_bytes()
    assert published == (
        str(tmp_path / f"video.{kind}"),
        len(content),
        hashlib.sha256(content).hexdigest(),
        pytest.approx(24 / 12, abs=0.1),
    )


def test_a_webm_is_published_as_it_is(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.webm", container="webm")
    content = made.read_bytes()
    published = jobctl.publish(made, tmp_path / "video.webm", job_id="job-1")
    assert (tmp_path / "video.webm").read_bytes() == content
    assert published.size == len(content)


@pytest.mark.parametrize("taken_by", ["file", "directory", "dangling symlink"])
def test_a_taken_name_is_never_replaced_and_the_file_is_left(tmp_path: Path, taken_by: str) -> None:
    final, made = tmp_path / "video.mp4", media.encode(tmp_path / ".part.mp4")
    if taken_by == "file":
        final.write_text("older")
    elif taken_by == "directory":
        final.mkdir()
    else:
        final.symlink_to("gone")
    there, content = final.lstat(), made.read_bytes()
    with pytest.raises(PublishRefused, match="there already"):
        jobctl.publish(made, final, job_id="job-1")
    assert final.lstat() == there
    assert made.read_bytes() == content


def test_a_name_that_is_taken_at_the_last_moment_is_not_replaced(tmp_path: Path) -> None:
    final, made = tmp_path / "video.mp4", media.encode(tmp_path / ".part.mp4")
    with pytest.raises(PublishRefused, match="there already"):
        jobctl.publish(made, final, job_id="job-1", before_rename=lambda _: final.write_text("older"))
    assert final.read_text() == "older"


def no_file(path: Path) -> None:
    path.unlink()


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_symlink(path: Path) -> None:
    path.rename(path.with_name("real.mp4"))
    path.symlink_to("real.mp4")


@pytest.mark.parametrize("become", [no_file, a_fifo, a_directory, a_symlink])
def test_only_a_regular_file_is_published(tmp_path: Path, become: Callable[[Path], None]) -> None:
    made = media.encode(tmp_path / ".part.mp4")
    become(made)
    with pytest.raises(PublishRefused, match="was not published"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert not (tmp_path / "video.mp4").exists()


def test_a_file_that_is_still_written_to_is_not_published(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.mp4")
    with open(made, "ab"), pytest.raises(PublishRefused, match="open for writing"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")


def test_a_file_that_is_exchanged_while_it_is_looked_at_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at for writers is what is published."""
    made, other = media.encode(tmp_path / ".part.mp4"), media.encode(tmp_path / ".other.mp4", seed=1)

    def exchange(fd: int) -> str:
        state = writer_state(fd)
        os.replace(other, made)
        return state

    monkeypatch.setattr("jobctl.outputs.publish.writer_state", exchange)
    with pytest.raises(PublishRefused, match="exchanged just now"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert not (tmp_path / "video.mp4").exists()


def test_a_job_id_that_no_stamp_can_carry_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.mp4")
    content = made.read_bytes()
    with pytest.raises(PublishRefused, match="job id"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="new\nline")
    assert made.read_bytes() == content


def test_publishing_again_after_a_refusal_stamps_once(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.mp4")
    length = made.stat().st_size

    def refuse(_: Published) -> None:
        raise PermissionError

    for _ in range(2):
        with pytest.raises(PermissionError):
            jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1", before_rename=refuse)
    jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    content = (tmp_path / "video.mp4").read_bytes()
    assert content[length:].count(b"uuid") == 1


def test_a_stamp_that_no_longer_fits_its_bytes_is_not_taken_for_one(tmp_path: Path) -> None:
    """The file was written to between two tries."""
    made = media.encode(tmp_path / ".part.mp4")

    def refuse(_: Published) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1", before_rename=refuse)
    content = bytearray(made.read_bytes())
    content[content.index(b"mdat") + 200] ^= 1
    made.write_bytes(content)
    told = jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert stamp_of(tmp_path / "video.mp4") == ("job-1", True)
    assert told.sha256 == hashlib.sha256((tmp_path / "video.mp4").read_bytes()).hexdigest()


def test_the_stamp_of_another_job_is_not_taken_over(tmp_path: Path) -> None:
    made = media.encode(tmp_path / ".part.mp4")
    jobctl.publish(made, tmp_path / "first.mp4", job_id="job-1")
    (tmp_path / ".copy.mp4").write_bytes((tmp_path / "first.mp4").read_bytes())
    jobctl.publish(tmp_path / ".copy.mp4", tmp_path / "second.mp4", job_id="job-2")
    assert stamp_of(tmp_path / "second.mp4") == ("job-2", True)


NO_ROOM = """
import os, resource, sys
import jobctl
size = os.stat(sys.argv[1]).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
try:
    jobctl.publish(sys.argv[1], sys.argv[2], job_id="job-1")
except OSError as error:
    assert os.stat(sys.argv[1]).st_size == size, "a torn stamp was left"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    jobctl.publish(sys.argv[1], sys.argv[2], job_id="job-1")
else:
    raise SystemExit("there was room")
"""


def test_a_stamp_that_does_not_fit_on_the_disk_leaves_a_file_that_can_be_published_later(
    tmp_path: Path,
) -> None:
    made = media.encode(tmp_path / ".part.mp4")
    subprocess.run([sys.executable, "-c", NO_ROOM, str(made), str(tmp_path / "video.mp4")], check=True)
    assert stamp_of(tmp_path / "video.mp4") == ("job-1", True)


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


def test_a_file_that_was_made_and_could_not_be_published_is_kept_and_named(tmp_path: Path) -> None:
    final = tmp_path / "video.mp4"
    with (
        pytest.raises(PublishRefused) as raised,
        jobctl.publishing(final, job_id="job-1") as temporary,
    ):
        media.encode(Path(temporary))
        final.write_text("another one")
    assert Path(temporary).exists()
    assert temporary in raised.value.message
    assert final.read_text() == "another one"


def test_the_longest_name_has_a_temporary_one_too(tmp_path: Path) -> None:
    final = tmp_path / ("v" * 251 + ".mp4")
    with jobctl.publishing(final, job_id="job-1") as temporary:
        media.encode(Path(temporary))
    assert os.listdir(tmp_path) == [final.name]


def test_publishing_gives_a_picture_its_name_as_it_is(tmp_path: Path) -> None:
    final = tmp_path / "picture.jpg"
    with jobctl.publishing(final, job_id="job-1", is_video=False) as temporary:
        Path(temporary).write_bytes(b"a picture")
    assert [path.name for path in tmp_path.iterdir()] == [final.name]
    assert final.read_bytes() == b"a picture"


def test_publishing_asks_before_the_rename_too(tmp_path: Path) -> None:
    asked: list[str] = []
    final = tmp_path / "video.mp4"
    with jobctl.publishing(final, job_id="1", before_rename=lambda it: asked.append(it.path)) as temporary:
        media.encode(Path(temporary))
    assert asked == [str(final)]


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


def test_who_is_stopped_before_the_rename_leaves_the_sidecar_of_the_one_that_counts(tmp_path: Path) -> None:
    """An attempt that was cut off and comes back must not make its successor's video disbelieved."""
    final, sidecar = tmp_path / "video.mp4", tmp_path / "video.mp4.json"
    made = media.encode(tmp_path / ".late.mp4", seed=1)

    def refuse(_: Published) -> None:
        raise PermissionError

    def be_overtaken() -> None:
        jobctl.publish(media.encode(tmp_path / ".next.mp4"), final, job_id="job-1", sidecar={"owner": "ada"})

    be_overtaken()
    told = sidecar.read_bytes()
    with pytest.raises(PermissionError):
        publish(
            str(made),
            str(final),
            job_id="job-1",
            sidecar={"owner": "bob"},
            before_rename=refuse,
            make_room=final.unlink,
        )
    assert sidecar.read_bytes() == told


def test_what_keeps_its_name_keeps_its_sidecar(tmp_path: Path) -> None:
    final, sidecar = tmp_path / "video.mp4", tmp_path / "video.mp4.json"
    jobctl.publish(media.encode(tmp_path / ".other.mp4"), final, job_id="other", sidecar={"owner": "ada"})
    told = sidecar.read_bytes()
    made = str(media.encode(tmp_path / ".part.mp4", seed=1))

    def refuse() -> None:
        raise PublishRefused("it is another job's", hint="none")

    with pytest.raises(PublishRefused, match="another job's"):
        publish(made, str(final), job_id="job-1", sidecar={"owner": "bob"}, make_room=refuse)
    assert sidecar.read_bytes() == told


def test_a_name_that_is_taken_while_the_file_is_checked_keeps_its_sidecar(tmp_path: Path) -> None:
    final, sidecar = tmp_path / "video.mp4", tmp_path / "video.mp4.json"
    made = media.encode(tmp_path / ".part.mp4", seed=1)

    def overtake(_: Published) -> None:
        final.write_bytes(b"another's")
        sidecar.write_bytes(b"its sidecar")

    with pytest.raises(PublishRefused, match="there already"):
        jobctl.publish(made, final, job_id="job-1", sidecar={"owner": "bob"}, before_rename=overtake)
    assert sidecar.read_bytes() == b"its sidecar"


EFFECTS = ["write", "fsync", "rename", "fsync-directory"]


def test_the_effects_of_publishing_are_these(tmp_path: Path) -> None:
    """What follows tries a fault at each of them."""
    told: list[str] = []
    made = media.encode(tmp_path / ".part.mp4")
    effects.observe(before=lambda name, _: told.append(name))
    jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert told == EFFECTS


def test_the_sidecar_is_on_the_disk_before_the_video_has_its_name(tmp_path: Path) -> None:
    """Else a crash in between would lose what it alone tells."""
    told: list[str] = []
    made = media.encode(tmp_path / ".part.mp4")
    effects.observe(before=lambda name, _: told.append(name))
    jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1", sidecar={"owner": "ada"})
    sidecar = ["create", "write", "fsync", "replace", "fsync-directory"]
    assert told == [*EFFECTS[:2], *sidecar, *EFFECTS[2:]]


KILLED = """
import os, signal, sys
import jobctl
from jobctl.outputs import effects
def die(name, at):
    if at == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
effects.observe(**{sys.argv[4]: die})
jobctl.publish(sys.argv[1], sys.argv[2], job_id="job-1")
"""


@pytest.mark.parametrize("number", range(1, len(EFFECTS) + 1))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_effect_it_leaves_the_whole_file_or_none_and_goes_on(
    tmp_path: Path, number: int, when: str
) -> None:
    made, final = media.encode(tmp_path / ".part.mp4"), tmp_path / "video.mp4"
    arguments = [str(made), str(final), str(number), when]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    if not final.exists():
        jobctl.publish(made, final, job_id="job-1")
    assert stamp_of(final) == ("job-1", True)
    assert os.listdir(tmp_path) == ["video.mp4"]


@pytest.mark.parametrize("number", range(1, len(EFFECTS) + 1))
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


def test_without_renameat2_a_publication_cut_short_between_its_two_names_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, _: int) -> None:
        if name == "unlink":
            raise OSError(errno.EIO, name)

    monkeypatch.setattr(effects, "_renameat2", lambda *_: False)
    made = media.encode(tmp_path / ".part.mp4")
    effects.observe(before=fail)
    with pytest.raises(OSError, match="unlink"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    effects.observe()
    content = (tmp_path / "video.mp4").read_bytes()
    jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert os.listdir(tmp_path) == ["video.mp4"]
    assert (tmp_path / "video.mp4").read_bytes() == content


def test_where_a_name_can_neither_be_renamed_to_nor_linked_publishing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, _: int) -> None:
        if name == "link":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(effects, "_renameat2", lambda *_: False)
    made = media.encode(tmp_path / ".part.mp4")
    effects.observe(before=refuse)
    with pytest.raises(PublishRefused, match="without replacing"):
        jobctl.publish(made, tmp_path / "video.mp4", job_id="job-1")
    assert os.listdir(tmp_path) == [".part.mp4"]
