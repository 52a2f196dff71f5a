"""One safe look at a file: nothing but a settled regular file is judged, and never too kindly."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import media
from jobctl.model.files import Check, Media, Probe, Tier, Verdict
from jobctl.outputs.decode import Decoder
from jobctl.outputs.directories import open_directory
from jobctl.outputs.probe import probe
from jobctl.outputs.stamp import make_stamp


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


def look(path: Path, depth: Tier = Tier.TABLES, decoder: Decoder | None = None, **more) -> Probe:
    directory = os.open(path.parent, os.O_RDONLY)
    conditions = {"is_shared": False, "now_ns": None, "quiet_s": 120.0, **more}
    try:
        return probe(directory, path.name, depth, decoder=decoder, **conditions)
    finally:
        os.close(directory)


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm", "mkv"])
@pytest.mark.parametrize("depth", [Tier.DEMUX, Tier.DECODE])
def test_a_whole_video_is_read_through_and_described(tmp_path: Path, decoder, kind: str, depth: Tier) -> None:
    path = media.encode(
        tmp_path / f"video.{kind}", container=kind, audio="libopus" if kind == "webm" else "aac"
    )
    found = look(path, depth, decoder)
    assert (found.check.verdict, found.check.tier) == (Verdict.WHOLE, depth)
    assert found.media is not None
    assert (found.media.width, found.media.height) == (64, 48)
    assert found.media.duration_s == pytest.approx(2.0, abs=0.2)
    assert found.media.audio_codec is not None
    assert found.media.created_at is None
    assert found.sha256 is not None


@pytest.mark.parametrize("make", ["fifo", "socket", "directory", "device"])
def test_nothing_but_a_regular_file_is_read(
    tmp_path: Path, make: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "video.mp4"
    if make == "fifo":
        os.mkfifo(path)
    elif make == "directory":
        path.mkdir()
    elif make == "device":
        if os.geteuid() != 0:
            pytest.skip("only root can make a device")
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    else:
        monkeypatch.chdir(tmp_path)  # a socket's path has room for 107 bytes
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("video.mp4")
    assert look(path).check.verdict is Verdict.NOT_MEDIA


@pytest.mark.parametrize("target", ["gone.mp4", "/etc/passwd", "/dev/zero", "../elsewhere", "."])
def test_a_symlink_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "video.mp4").symlink_to(target)
    assert look(tmp_path / "video.mp4").check.verdict is Verdict.UNSUPPORTED


def test_what_cannot_be_opened_is_unreadable_not_broken(tmp_path: Path) -> None:
    assert look(tmp_path / "gone.mp4").check.verdict is Verdict.UNREADABLE


AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from outputs.test_probe import look
os.setgid(65534); os.setuid(65534)
print(look(Path(sys.argv[1])).check.verdict.value)
"""


def test_without_permission_a_file_is_unreadable(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    path = media.encode(tmp_path / "video.mp4")
    path.chmod(0o600)
    for parent in path.parents:
        if str(parent).startswith("/tmp/") and parent.owner() == "root":
            parent.chmod(parent.stat().st_mode | 0o055)
    command = [sys.executable, "-c", AS_NOBODY, str(path), *sys.path]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    assert said.stdout.strip() == "unreadable"


WRITER = "import sys; out = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"


def test_a_file_that_is_open_for_writing_is_unsettled_even_when_its_writer_is_stopped(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    assert look(path).check.verdict is Verdict.UNSETTLED
    writer.send_signal(signal.SIGSTOP)
    assert look(path).check.reason == "it is open for writing"
    writer.send_signal(signal.SIGCONT)
    writer.communicate()
    assert look(path).check.verdict is Verdict.WHOLE


def test_a_file_that_is_no_video_is_not_given_to_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    with Decoder() as decoder:
        assert look(tmp_path / "video.mp4", Tier.DECODE, decoder).check.verdict is Verdict.NOT_MEDIA
        assert decoder._worker is None


@pytest.mark.parametrize("depth", [Tier.TABLES, Tier.DEMUX])
def test_a_disk_that_fails_makes_a_file_unreadable_not_broken(decoder: Decoder, depth: Tier) -> None:
    # Reading what is not mapped is an I/O error.
    found = look(Path("/proc/self/mem"), depth, decoder, now_ns=2**62)
    assert found.check == Check(Verdict.UNREADABLE, Tier.STAT, "it cannot be read: Input/output error")


class Meddler(Decoder):
    """Does something to the file just before it is read through."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__()
        self.meddle = meddle

    def check(self, fd: int, size: int, depth: Tier) -> tuple[Check, Media | None]:
        self.meddle()
        return super().check(fd, size, depth)


def replace(path: Path) -> None:
    os.replace(media.encode(path.with_name("other.mp4"), seed=2), path)


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(file.read(1))


def let_a_clock_tick_pass(path: Path) -> None:
    """Until a file system's coarse clock shows another time than that of the file's last change."""
    tick = path.with_name("tick")
    while not tick.exists() or tick.stat().st_mtime_ns <= path.stat().st_ctime_ns:
        tick.touch()


MEDDLING = {
    "replaced": replace,
    "moved away": lambda path: path.rename(path.with_name("elsewhere.mp4")),
    "removed": lambda path: path.unlink(),
    "overwritten": overwrite,
    "cut": lambda path: media.truncate(path, cut=1),
    "appended to": lambda path: path.write_bytes(path.read_bytes() + b"more"),
}


@pytest.mark.parametrize("what", MEDDLING)
def test_a_file_that_changes_under_the_look_is_unsettled(tmp_path: Path, what: str) -> None:
    path = media.encode(tmp_path / "video.mp4")
    let_a_clock_tick_pass(path)
    with Meddler(lambda: MEDDLING[what](path)) as meddler:
        found = look(path, Tier.DEMUX, meddler)
    assert found.check.verdict is Verdict.UNSETTLED
    assert "while it was looked at" in found.check.reason
    assert found.identity is None


def test_a_writer_who_comes_during_the_look_makes_it_unsettled(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4")
    with ExitStack() as stack:
        meddler = stack.enter_context(Meddler(lambda: stack.enter_context(open(path, "ab"))))
        found = look(path, Tier.DEMUX, meddler)
    assert found.check.reason == "it was opened for writing while it was looked at"


def test_a_deep_look_keeps_the_warnings_of_the_shallow_one(tmp_path: Path, decoder: Decoder) -> None:
    path = media.encode(tmp_path / "video.mp4")
    path.write_bytes(path.read_bytes() + b"\0\0\0\0 junk")
    found = look(path, Tier.DEMUX, decoder)
    assert found.check.verdict is Verdict.WHOLE
    assert found.check.warnings == look(path).check.warnings != ()


def test_the_checksum_is_that_of_all_bytes(tmp_path: Path, decoder: Decoder) -> None:
    path = media.encode(tmp_path / "video.mkv", container="mkv")
    found = look(path, Tier.DEMUX, decoder)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert look(path).sha256 is None


def test_a_tampered_file_is_not_verified(tmp_path: Path, decoder: Decoder) -> None:
    path = media.encode(tmp_path / "video.mp4")
    fd = os.open(path, os.O_RDWR)
    stamp, box = make_stamp(fd, "job-1")
    os.pwrite(fd, box, stamp.size)
    name = path.read_bytes().index(b"VideoHandler")  # a name that no check looks at
    os.pwrite(fd, b"v", name)
    os.close(fd)
    found = look(path, Tier.DEMUX, decoder)
    assert found.check.verdict is Verdict.WHOLE
    assert (found.stamp, found.stamp_verified) == (stamp, False)


def test_a_stamp_and_a_comment_say_whose_the_file_is(tmp_path: Path, decoder: Decoder) -> None:
    stamped = media.encode(tmp_path / "video.mp4")
    fd = os.open(stamped, os.O_RDWR)
    stamp, box = make_stamp(fd, "job-1")
    os.pwrite(fd, box, stamp.size)
    os.close(fd)
    found = look(stamped, Tier.DEMUX, decoder)
    assert (found.stamp, found.stamp_verified) == (stamp, True)
    commented = media.encode(tmp_path / "video.webm", container="webm", comment="jobctl:job-2")
    found = look(commented, Tier.DEMUX, decoder)
    assert found.stamp is not None
    assert (found.stamp.job_id, found.stamp_verified) == ("job-2", True)


def test_a_directory_below_a_root_is_never_reached_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    root = os.open(tmp_path / "root", os.O_RDONLY)
    os.close(open_directory(root, "a"))
    for path in ("link", "../elsewhere", "a/../../elsewhere"):
        with pytest.raises(OSError, match=r"\[Errno"):
            open_directory(root, path)
    os.close(root)
