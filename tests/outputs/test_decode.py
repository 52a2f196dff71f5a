"""The decode worker: whole videos stay whole, torn ones are told, hostile ones cost a process."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

import media
from jobctl.errors import JobctlError
from jobctl.model.files import Check, Media, Tier, Verdict
from jobctl.outputs import decode
from jobctl.outputs.decode import Decoder

DEPTHS = [Tier.DEMUX, Tier.DECODE]
depths = pytest.mark.parametrize("depth", DEPTHS)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


def examine(decoder: Decoder, path: Path, depth: Tier = Tier.DEMUX) -> tuple[Check, Media | None]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return decoder.check(fd, os.fstat(fd).st_size, depth)
    finally:
        os.close(fd)


# --- whole ---------------------------------------------------------------------------------


def with_long_sound(path: Path, sound: str) -> Path:
    """Two seconds of pictures, twenty of sound."""
    with closing(av.open(str(path), "w")) as out:
        video = out.add_stream("libx264" if sound == "aac" else "libvpx", rate=12)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream(sound, rate=48_000)
        for number in range(24):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = number
            out.mux(video.encode(frame))
        for number in range(240):
            out.mux(audio.encode(media._silence(audio, number)))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def with_subtitles(path: Path) -> Path:
    """A text track, which is not made of frames."""
    media.encode(path.with_name("bare.mkv"), container="mkv")
    path.with_name("text.srt").write_text("1\n00:00:00,000 --> 00:00:01,500\nHello\n\n")
    with (
        closing(av.open(str(path.with_name("bare.mkv")))) as pictures,
        closing(av.open(str(path.with_name("text.srt")))) as text,
        closing(av.open(str(path), "w")) as out,
    ):
        streams = [(source, out.add_stream_from_template(source.streams[0])) for source in (pictures, text)]
        for source, stream in streams:
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    return path


def with_junk(path: Path) -> Path:
    media.encode(path, container=path.suffix[1:])
    with open(path, "ab") as file:
        file.write(b"\x00\x01 some junk behind the end \xff" * 3)
    return path


WHOLE: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda it: media.encode(it / "a.mp4"),
    "mp4, moov first": lambda it: media.encode(it / "a.mp4", moov="first"),
    "mp4, fragmented, sound": lambda it: media.encode(it / "a.mp4", moov="fragmented", audio="aac"),
    "mov": lambda it: media.encode(it / "a.mov", container="mov"),
    "mov with PCM": lambda it: media.encode(it / "a.mov", container="mov", audio="pcm_s16le"),
    "webm": lambda it: media.encode(it / "a.webm", container="webm", audio="libopus"),
    "webm, VP9": lambda it: media.encode(it / "a.webm", container="webm", codec="libvpx-vp9"),
    "mkv": lambda it: media.encode(it / "a.mkv", container="mkv", audio="aac"),
    "MPEG-4 part 2": lambda it: media.encode(it / "a.mp4", codec="mpeg4"),
    "one frame": lambda it: media.encode(it / "a.mp4", frames=1),
    "black": lambda it: media.encode(it / "a.mp4", picture="black", audio="aac"),
    "long group of pictures": lambda it: media.encode(it / "a.mp4", frames=120, gop=1_000),
    "mp4, sound goes on": lambda it: with_long_sound(it / "a.mp4", "aac"),
    "webm, sound goes on": lambda it: with_long_sound(it / "a.webm", "libopus"),
    "subtitles": lambda it: with_subtitles(it / "a.mkv"),
    "mp4, junk behind": lambda it: with_junk(it / "a.mp4"),
    "mkv, junk behind": lambda it: with_junk(it / "a.mkv"),
}


@depths
@pytest.mark.parametrize("name", WHOLE)
def test_no_whole_file_is_called_broken(tmp_path: Path, decoder: Decoder, name: str, depth: Tier) -> None:
    check, _ = examine(decoder, WHOLE[name](tmp_path), depth)
    said = "every packet was read" if depth is Tier.DEMUX else "every frame was decoded"
    assert check == Check(Verdict.WHOLE, depth, said)


@pytest.mark.parametrize(
    ("kind", "sound", "codecs"),
    [("mp4", "aac", ("h264", "aac")), ("webm", "libopus", ("vp8", "opus")), ("mkv", None, ("h264", None))],
)
def test_a_video_is_described(
    tmp_path: Path, decoder: Decoder, kind: str, sound: str | None, codecs: tuple[str, str | None]
) -> None:
    path = media.encode(tmp_path / f"video.{kind}", container=kind, audio=sound, comment="jobctl:job-1")
    _, found = examine(decoder, path)
    assert found is not None
    assert (found.width, found.height, found.comment) == (64, 48, "jobctl:job-1")
    assert found.duration_s == pytest.approx(2.0, abs=0.1)
    assert (found.video_codec, found.audio_codec) == codecs


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-31T23:59:58.000000Z", datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)),
        ("1970-01-01T00:00:00.000000Z", None),
        ("1904-01-01T00:00:00.000000Z", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_creation_time_that_nobody_set_is_none(
    tmp_path: Path, decoder: Decoder, written: str | None, read: datetime | None
) -> None:
    with closing(av.open(str(tmp_path / "video.mkv"), "w")) as out:
        if written:
            out.metadata["creation_time"] = written
        media._write(out, "libx264", 0, 3, "noise", 6, (64, 48), None)
    _, found = examine(decoder, tmp_path / "video.mkv")
    assert found is not None
    assert found.created_at == read


def test_a_comment_without_end_is_cut(tmp_path: Path, decoder: Decoder) -> None:
    path = media.encode(tmp_path / "video.mkv", container="mkv", comment="x" * 300_000)
    _, found = examine(decoder, path)
    assert found is not None
    assert found.comment == "x" * 1_024


# --- torn ----------------------------------------------------------------------------------


@depths
@pytest.mark.parametrize(
    ("kind", "moov", "keep"),
    [
        ("mp4", "last", 0.5),
        ("mp4", "first", 0.5),
        ("mp4", "first", 0.99),
        ("mp4", "fragmented", 0.5),
        ("mov", "first", 0.9),
        ("webm", "last", 0.5),
        ("webm", "last", 0.9),
        ("mkv", "last", 0.5),
    ],
)
def test_a_cut_file_is_partial(
    tmp_path: Path, decoder: Decoder, kind: str, moov: str, keep: float, depth: Tier
) -> None:
    path = media.encode(tmp_path / f"video.{kind}", container=kind, moov=moov, frames=60)
    check, _ = examine(decoder, media.truncate(path, keep=keep), depth)
    assert check.verdict is Verdict.PARTIAL
    assert check.reason


def damaged(path: Path) -> Path:
    media.encode(path, container=path.suffix[1:], frames=60)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(value ^ 0x55 for value in content[middle : middle + 400])
    path.write_bytes(content)
    return path


@depths
@pytest.mark.parametrize("kind", ["mp4", "mov", "webm", "mkv"])
def test_damage_is_found_each_time_one_looks(
    tmp_path: Path, decoder: Decoder, kind: str, depth: Tier
) -> None:
    path = damaged(tmp_path / f"video.{kind}")
    verdicts = [examine(decoder, path, depth)[0].verdict for _ in range(3)]
    assert verdicts == [Verdict.CORRUPT] * 3


def test_damage_does_not_rub_off_on_the_next_file(tmp_path: Path, decoder: Decoder) -> None:
    whole, torn = media.encode(tmp_path / "whole.mp4"), damaged(tmp_path / "torn.mp4")
    for path, verdict in ((torn, Verdict.CORRUPT), (whole, Verdict.WHOLE)) * 2:
        assert examine(decoder, path, Tier.DECODE)[0].verdict is verdict


def test_sound_alone_is_no_video(tmp_path: Path, decoder: Decoder) -> None:
    with closing(av.open(str(tmp_path / "sound.mp4"), "w")) as out:
        sound = out.add_stream("aac", rate=48_000)
        for number in range(12):
            out.mux(sound.encode(media._silence(sound, number)))
        out.mux(sound.encode(None))
    assert examine(decoder, tmp_path / "sound.mp4")[0].verdict is Verdict.NOT_MEDIA


# --- not for FFmpeg ------------------------------------------------------------------------


def test_a_script_opens_nothing(tmp_path: Path, decoder: Decoder) -> None:
    secret = media.encode(tmp_path / "secret.mp4")
    scripts = [
        f"ffconcat version 1.0\nfile {secret}\n",
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXTINF:2,\n{secret}\n",
    ]
    for script in scripts:
        (tmp_path / "video.mp4").write_text(script)
        check, found = examine(decoder, tmp_path / "video.mp4")
        assert check.verdict in {Verdict.UNSUPPORTED, Verdict.CORRUPT}
        assert found is None


def test_another_format_is_unsupported(tmp_path: Path, decoder: Decoder) -> None:
    path = media.encode(tmp_path / "video.mp4", container="avi", codec="mpeg4")
    assert examine(decoder, path)[0].verdict is Verdict.UNSUPPORTED


def test_a_disk_that_fails_says_nothing_of_the_file(decoder: Decoder) -> None:
    fd = os.open("/proc/self/mem", os.O_RDONLY)  # reading what is not mapped is an I/O error
    check, _ = decoder.check(fd, 1, Tier.DEMUX)
    os.close(fd)
    assert check.verdict is Verdict.UNREADABLE


# --- hostile -------------------------------------------------------------------------------


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def ints(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def movie(*, chunks: int, samples: int, size: int) -> bytes:
    """An mp4 file in which every chunk is the same place, with ``samples`` of ``size`` bytes each."""
    count, matrix = chunks * samples, ints(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    head = box(b"ftyp", b"isom", ints(0), b"isom")
    picture = struct.pack(">HH", 64, 48) + ints(0x480000, 0x480000, 0) + struct.pack(">H", 1)
    entry = box(b"mp4v", bytes(6), b"\0\1", bytes(16), picture, bytes(32), b"\0\x18\xff\xff")
    tables = box(
        b"stbl",
        box(b"stsd", ints(0, 1), entry),
        box(b"stts", ints(0, 1, count, 1)),
        box(b"stsc", ints(0, 1, 1, samples, 1)),
        box(b"stsz", ints(0, size, count)),
        box(b"stco", ints(0, chunks), ints(len(head) + 8) * chunks),
    )
    inner = box(
        b"mdia",
        box(b"mdhd", ints(0, 0, 0, 12, count), bytes(4)),
        box(b"hdlr", ints(0, 0), b"vide", bytes(13)),
        box(b"minf", box(b"vmhd", ints(1, 0, 0)), tables),
    )
    track = box(b"tkhd", ints(3, 0, 0, 1, 0, count), bytes(16), matrix, ints(64 << 16, 48 << 16))
    movie_head = box(b"mvhd", ints(0, 0, 0, 12, count, 0x10000), bytes(12), matrix, bytes(24), ints(2))
    return head + box(b"mdat", bytes(range(256)) * 8) + box(b"moov", movie_head, box(b"trak", track, inner))


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file of 15 kB that takes minutes to read: ten million samples."""
    (tmp_path / "endless.mp4").write_bytes(movie(chunks=10_000, samples=1_000, size=1))
    return tmp_path / "endless.mp4"


def test_the_hostile_files_are_so_only_by_their_numbers(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "tame.mp4").write_bytes(movie(chunks=2, samples=5, size=10))
    assert examine(decoder, tmp_path / "tame.mp4")[0].verdict is Verdict.WHOLE


@pytest.mark.parametrize(
    ("content", "length"),
    [
        pytest.param(movie(chunks=1, samples=1, size=0x3FFFFFF0), 1 << 30, id="a sample of a gigabyte"),
        pytest.param(movie(chunks=60_000, samples=1_000, size=1), None, id="an index of a gigabyte"),
    ],
)
def test_a_file_that_wants_too_much_memory_is_unsupported(
    tmp_path: Path, decoder: Decoder, content: bytes, length: int | None
) -> None:
    path = tmp_path / "bomb.mp4"
    path.write_bytes(content)
    if length is not None:
        os.truncate(path, length)
    assert examine(decoder, path)[0].verdict is Verdict.UNSUPPORTED
    assert examine(decoder, media.encode(tmp_path / "video.mp4"))[0].verdict is Verdict.WHOLE


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path, endless: Path) -> None:
    with Decoder(limit_s=0.5) as impatient:
        check, _ = examine(impatient, endless)
        assert check == Check(Verdict.UNSUPPORTED, Tier.DEMUX, "reading it took longer than 0 s")
    with Decoder() as patient:
        assert examine(patient, media.encode(tmp_path / "video.mp4"))[0].verdict is Verdict.WHOLE


def test_the_worker_ends_itself_when_nobody_watches_its_cpu_time(endless: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, open(endless, "rb") as file:
        with theirs:
            worker = subprocess.Popen(
                [sys.executable, "-m", "jobctl.outputs.decode_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        assert json.loads(ours.recv(100)) == {"is_ready": True}
        order = json.dumps({"decode": False, "cpu_s": 1}).encode()
        socket.send_fds(ours, [order], [file.fileno()])
        assert worker.wait() == -signal.SIGXCPU


class Alarm(Exception):
    pass


def test_an_interrupted_check_leaves_no_answer_for_the_next_file(tmp_path: Path, endless: Path) -> None:
    def interrupt(*_: object) -> None:
        raise Alarm

    video = media.encode(tmp_path / "video.mp4")
    with Decoder() as decoder:
        assert examine(decoder, video)[0].verdict is Verdict.WHOLE
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Alarm):
            examine(decoder, endless)
        signal.signal(signal.SIGALRM, before)
        check, found = examine(decoder, video)
        assert (check.verdict, found.video_codec if found else None) == (Verdict.WHOLE, "h264")


# --- the worker itself ---------------------------------------------------------------------


def test_a_worker_that_died_of_something_else_costs_no_verdict(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4")
    with Decoder() as decoder:
        for _ in range(3):
            assert examine(decoder, path)[0].verdict is Verdict.WHOLE
            assert decoder._worker is not None
            decoder._worker.process.kill()
            decoder._worker.process.wait()


def impostor(tmp_path: Path, answer: bytes) -> str:
    """A worker that notes its start and its environment, says it is ready, and answers this and ends."""
    script = tmp_path / "worker"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"open({str(tmp_path / 'starts')!r}, 'a').write(repr(sorted(os.environ)) + '\\n')\n"
        f"fd = int(sys.argv[-1])\nos.write(fd, b'{{}}\\n')\nos.read(fd, 1)\nos.write(fd, {answer!r})\n"
    )
    script.chmod(0o700)
    return str(script)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no JSON\n",
        b"[]\n",
        b"7\n",
        b'{"verdict": "perfect", "reason": "", "media": null}\n',
        b'{"verdict": "whole", "reason": "", "media": {"size": 7}}\n',
        b'{"verdict": "whole", "reason": "", "media": "all of it"}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_only_a_file_that_ends_a_fresh_worker_too_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    path = media.encode(tmp_path / "video.mp4")
    monkeypatch.setattr(sys, "executable", impostor(tmp_path, answer))
    with Decoder() as decoder:
        check, found = examine(decoder, path)
    assert check == Check(Verdict.UNSUPPORTED, Tier.DEMUX, "reading it made its checker die")
    assert found is None
    assert len((tmp_path / "starts").read_text().splitlines()) == 2


def test_the_worker_is_given_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.encode(tmp_path / "video.mp4")
    monkeypatch.setenv("JOBCTL_DATABASE_URL", "postgresql://user:secret@host/jobs")
    monkeypatch.setattr(sys, "executable", impostor(tmp_path, b""))
    with Decoder() as decoder:
        examine(decoder, path)
    assert "JOBCTL_DATABASE_URL" not in (tmp_path / "starts").read_text()


def test_a_worker_that_cannot_start_is_told_and_blames_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.encode(tmp_path / "video.mp4")
    monkeypatch.setattr(decode, "_MODULE", "jobctl.outputs.no_such_worker")
    with Decoder() as decoder, pytest.raises(JobctlError, match="cannot be started") as raised:
        examine(decoder, path)
    assert "no_such_worker" in raised.value.hint


PARENT = """
import os, sys
from jobctl.model.files import Tier
from jobctl.outputs.decode import Decoder
decoder = Decoder()
decoder.check(os.open(sys.argv[1], os.O_RDONLY), 1, Tier.DEMUX)
print(decoder._worker.process.pid, flush=True)
if sys.argv[2] == "busy":
    decoder.check(os.open(sys.argv[3], os.O_RDONLY), 1, Tier.DEMUX)
else:
    sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_the_worker_dies_with_its_parent(tmp_path: Path, endless: Path, state: str) -> None:
    path = media.encode(tmp_path / "video.mp4")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(path), state, str(endless)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    worker = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert select.select([worker], [], [], 30)[0], "the worker is still there"
    os.close(worker)


def test_the_parent_stays_light(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4")
    script = PARENT + "print(sorted(name for name in sys.modules if re.match('av|jobctl', name)))"
    said = subprocess.run(
        [sys.executable, "-c", "import re\n" + script, str(path), "idle"],
        input=b"",
        capture_output=True,
        check=True,
    )
    loaded = said.stdout.decode().splitlines()[-1]
    assert "jobctl.outputs.decode'" in loaded
    assert not re.search(r"'av['.]|decode_worker", loaded)
