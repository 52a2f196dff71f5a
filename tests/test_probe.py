"""One safe look at a file: nothing but a settled regular file is judged, and never too kindly."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import media
from jobctl.model.files import Probe, Tier, Verdict
from jobctl.outputs.decode import Decoder
from jobctl.outputs.directories import open_directory
from jobctl.outputs.probe import probe
from jobctl.outputs.settle import why_unsettled, writer_state
from jobctl.outputs.stamp import make_stamp

HOUR_NS = 3_600 * 10**9


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
def test_nothing_but_a_regular_file_is_read(tmp_path: Path, make: str) -> None:
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
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(tmp_path)
            listener.bind("video.mp4")
    assert look(path).check.verdict is Verdict.NOT_MEDIA


@pytest.mark.parametrize("target", ["gone.mp4", "/etc/passwd"])
def test_a_symlink_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "video.mp4").symlink_to(target)
    assert look(tmp_path / "video.mp4").check.verdict is Verdict.UNSUPPORTED


def test_what_cannot_be_opened_is_unreadable_not_broken(tmp_path: Path) -> None:
    assert look(tmp_path / "gone.mp4").check.verdict is Verdict.UNREADABLE


AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_probe import look
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


def test_the_lease_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    assert writer_state(fd) == "closed"
    with open(path, "ab"):
        assert writer_state(fd) == "open"
    os.close(fd)


@pytest.mark.parametrize(
    ("writers", "is_shared", "age_ns", "settled"),
    [
        ("closed", False, 0, True),
        ("open", False, HOUR_NS, False),
        ("unknown", False, HOUR_NS, True),
        ("unknown", False, 10**9, False),
        ("closed", True, 10**9, False),
        ("closed", True, HOUR_NS, True),
        ("unknown", False, -HOUR_NS, False),
    ],
)
def test_only_a_lease_on_our_own_disk_or_a_long_quiet_settles_a_file(
    tmp_path: Path, writers: str, is_shared: bool, age_ns: int, settled: bool
) -> None:
    path = tmp_path / "file"
    path.touch()
    found = path.stat()
    now_ns = max(found.st_mtime_ns, found.st_ctime_ns) + age_ns
    reason = why_unsettled(found, writers=writers, is_shared=is_shared, now_ns=now_ns, quiet_s=120)
    assert (reason is None) == settled


def test_without_a_clock_a_shared_file_is_never_settled(tmp_path: Path) -> None:
    found = tmp_path.stat()
    assert why_unsettled(found, writers="closed", is_shared=True, now_ns=None, quiet_s=1)


def test_a_concat_script_opens_nothing(tmp_path: Path, decoder: Decoder) -> None:
    secret = media.encode(tmp_path / "secret.mp4")
    path = tmp_path / "video.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {secret}\n")
    assert look(path, Tier.DEMUX, decoder).check.verdict is Verdict.NOT_MEDIA
    fd = os.open(path, os.O_RDONLY)
    check, found = decoder.check(fd, path.stat().st_size, Tier.DEMUX)
    os.close(fd)
    assert (check.verdict, found) == (Verdict.CORRUPT, None)


def test_a_file_that_makes_the_checker_hang_is_not_called_anything(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4")
    fd = os.open(path, os.O_RDONLY)
    with Decoder(limit_s=1e-6) as impatient:
        check, _ = impatient.check(fd, 1, Tier.DEMUX)
        assert (check.verdict, "took longer" in check.reason) == (Verdict.UNSUPPORTED, True)
    os.close(fd)


def test_the_worker_comes_back_after_it_was_killed(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4")
    with Decoder() as decoder:
        assert look(path, Tier.DEMUX, decoder).check.verdict is Verdict.WHOLE
        assert decoder._worker is not None
        decoder._worker.process.kill()
        decoder._worker.process.wait()
        assert look(path, Tier.DEMUX, decoder).check.verdict is Verdict.UNSUPPORTED
        assert look(path, Tier.DEMUX, decoder).check.verdict is Verdict.WHOLE


@pytest.mark.parametrize("kind", ["mp4", "mov"])
def test_damage_inside_a_sample_is_found_by_decoding(tmp_path: Path, decoder: Decoder, kind: str) -> None:
    path = media.encode(tmp_path / f"video.{kind}", container=kind, frames=60)
    content = bytearray(path.read_bytes())
    at = content.index(b"mdat") + len(content) // 3
    content[at : at + 400] = bytes(value ^ 0x55 for value in content[at : at + 400])
    path.write_bytes(content)
    assert look(path, Tier.DECODE, decoder).check.verdict is not Verdict.WHOLE


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
