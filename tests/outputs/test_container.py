"""The structural check on real media: damage is found and named, whole files stay whole."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media
from jobctl.model.files import Check, Tier, Verdict
from jobctl.outputs import container
from jobctl.outputs.stamp import make_stamp, read_stamp, verify_stamp
from outputs.containers import box, boxes_of, judge, moov_of, track_with_table

KINDS = {
    "mp4, moov last": {"container": "mp4"},
    "mp4, moov first": {"container": "mp4", "moov": "first"},
    "mp4, fragmented": {"container": "mp4", "moov": "fragmented"},
    "mp4, its begin in the index, the rest fragmented": {"container": "mp4", "moov": "hybrid"},
    "mov": {"container": "mov"},
    "webm": {"container": "webm"},
    "mkv": {"container": "mkv"},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def made(tmp_path: Path, kind: str, **more) -> Path:
    options = {**KINDS[kind], **more}
    return media.encode(tmp_path / f"video.{options['container']}", **options)


@kinds
@pytest.mark.parametrize("depth", [Tier.BOXES, Tier.TABLES, Tier.PAYLOAD])
def test_a_whole_file_is_whole_at_every_depth(tmp_path: Path, kind: str, depth: Tier) -> None:
    assert judge(made(tmp_path, kind), depth) == Check(Verdict.WHOLE, depth, "its container is complete")


WHOLE = {
    "aac sound": {"container": "mp4", "audio": "aac"},
    "silent pcm in mov": {"container": "mov", "audio": "pcm_s16le"},
    "silent pcm in mkv": {"container": "mkv", "audio": "pcm_s16le"},
    "silent opus in webm": {"container": "webm", "audio": "libopus"},
    "black frames": {"container": "mp4", "picture": "black"},
    "black frames in webm": {"container": "webm", "picture": "black"},
    "black mpeg-4 part 2": {"container": "mp4", "picture": "black", "codec": "mpeg4", "size": (640, 480)},
    "a long group of pictures": {"container": "mp4", "frames": 200, "gop": 1_000},
    "vp9": {"container": "webm", "codec": "libvpx-vp9"},
    "mpeg-4 part 2 in mov": {"container": "mov", "codec": "mpeg4"},
    "fragmented with sound": {"container": "mp4", "moov": "fragmented", "audio": "aac"},
    "one frame": {"container": "mp4", "frames": 1},
}


@pytest.mark.parametrize("name", WHOLE)
def test_no_whole_file_is_called_broken(tmp_path: Path, name: str) -> None:
    options = WHOLE[name]
    path = media.encode(tmp_path / f"video.{options['container']}", **options)
    assert judge(path).verdict is Verdict.WHOLE


@kinds
def test_appended_bytes_are_a_warning(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    with open(path, "ab") as file:
        file.write(b"\x00\x01 some junk behind the end \xff" * 3)
    check = judge(path)
    assert check.verdict is Verdict.WHOLE
    assert "bytes behind its" in check.warnings[0]


@kinds
@pytest.mark.parametrize("keep", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_never_whole(tmp_path: Path, kind: str, keep: float) -> None:
    assert judge(media.truncate(made(tmp_path, kind), keep=keep)).verdict is not Verdict.WHOLE


@kinds
def test_a_file_cut_by_one_byte_is_never_whole(tmp_path: Path, kind: str) -> None:
    assert judge(media.truncate(made(tmp_path, kind), cut=1)).verdict is Verdict.PARTIAL


@kinds
@pytest.mark.parametrize(
    ("start", "end"), [(0.9, 1.0), (0.4, 0.6), (0.5, 1.0)], ids=["tail", "middle", "half"]
)
def test_a_zero_filled_part_is_found(tmp_path: Path, kind: str, start: float, end: float) -> None:
    path = media.zero_fill(made(tmp_path, kind, frames=60), start, end)
    assert judge(path).verdict in {Verdict.CORRUPT, Verdict.PARTIAL, Verdict.UNSUPPORTED}


@pytest.mark.parametrize("kind", ["mp4, moov last", "mp4, moov first", "mov", "webm", "mkv"])
def test_a_hole_in_the_data_is_found(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind, frames=200, size=(320, 240))
    content = path.read_bytes()
    third = len(content) // 3 // 4096 * 4096
    with open(path, "wb") as file:
        file.write(content[:third])
        file.seek(2 * third)
        file.write(content[2 * third :])
    assert judge(path).verdict is Verdict.CORRUPT


@pytest.mark.parametrize("kind", ["mp4, moov last", "mp4, moov first", "mov"])
def test_without_its_index_a_file_is_partial(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    content = path.read_bytes()
    at = content.index(b"moov") - 4
    length = int.from_bytes(content[at : at + 4])
    path.write_bytes(content[:at] + content[at + length :])
    check = judge(path)
    assert check.verdict is Verdict.PARTIAL
    assert "moov is missing" in check.reason


@pytest.mark.parametrize(
    ("name", "moov"),
    [("mp4", "last"), ("mp4", "fragmented"), ("mov", "last"), ("webm", "last"), ("mkv", "last")],
)
def test_what_a_killed_encoder_leaves_is_never_whole(tmp_path: Path, name: str, moov: str) -> None:
    path = media.killed_encode(tmp_path / f"video.{name}", container=name, moov=moov)
    assert judge(path).verdict in {Verdict.PARTIAL, Verdict.CORRUPT, Verdict.UNSUPPORTED}
    assert judge(path, Tier.TABLES).verdict is not Verdict.WHOLE


NO_MEDIA = {
    "an error page": b"<!DOCTYPE html><html><body>502</body></html>",
    "a concat script": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a playlist": b"#EXTM3U\n#EXT-X-VERSION:3\nfile:///etc/passwd\n",
    "one byte": b"\x00",
}


@pytest.mark.parametrize("name", NO_MEDIA)
def test_what_is_no_media_is_told_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "video.mp4").write_bytes(NO_MEDIA[name])
    assert judge(tmp_path / "video.mp4").verdict in {Verdict.NOT_MEDIA, Verdict.CORRUPT}


def test_an_empty_file_is_partial(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").touch()
    assert judge(tmp_path / "video.mp4") == Check(Verdict.PARTIAL, Tier.BOXES, "the file is empty")


@pytest.mark.parametrize(
    "head", [b"RIFF\x00\x00\x00\x00AVI ", b"OggS" + bytes(60), b"\x00\x00\x01\xba" + bytes(60)]
)
def test_other_media_is_unsupported_not_broken(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "video.mp4").write_bytes(head)
    assert judge(tmp_path / "video.mp4").verdict is Verdict.UNSUPPORTED


def nested(levels: int) -> bytes:
    content = b""
    for _ in range(levels):
        content = box(b"trak", content)
    return content


FOUR_BILLION = struct.pack(">I", 0xFFFFFFFF)
HOSTILE = {
    "sixteen nested boxes": moov_of(nested(16)),
    "a table of four billion sizes": moov_of(track_with_table(box(b"stsz", bytes(8) + FOUR_BILLION))),
    "a table of four billion chunks": moov_of(
        track_with_table(box(b"stsz", bytes(12)) + box(b"stco", bytes(4) + FOUR_BILLION))
    ),
    "four billion samples of one size": moov_of(
        track_with_table(
            box(b"stsz", bytes(4) + struct.pack(">I", 1) + FOUR_BILLION)
            + box(b"stco", bytes(4) + struct.pack(">II", 1, 24))
            + box(b"stsc", bytes(4) + struct.pack(">IIII", 1, 1, 0xFFFFFFFF, 1))
        )
    ),
    "a compressed index": moov_of(box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", bytes(1_000)))),
    "a box of size one": box(b"ftyp", bytes(8)) + struct.pack(">I4sQ", 1, b"mdat", 3),
    "a box larger than any disk": box(b"ftyp", bytes(8)) + struct.pack(">I4sQ", 1, b"mdat", 2**63),
    "ten thousand tiny boxes in the index": moov_of(box(b"free") * 10_000),
    "an EBML size of zero bytes": b"\x1a\x45\xdf\xa3\x00",
    "an EBML header of unknown size": b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(40),
    "a segment larger than any disk": b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\x7f\xff\xff\xff\xff\xff\xff",
    "a segment of void elements": b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x10\x00\x9c\x40"
    + b"\xec\x80" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_a_verdict_without_growing_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    check = judge(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert check.verdict is not Verdict.WHOLE
    assert check.reason
    assert peak < 8 << 20


def test_a_stamp_is_read_back_and_breaks_with_its_bytes(tmp_path: Path) -> None:
    path = made(tmp_path, "mp4, moov last")
    fd = os.open(path, os.O_RDWR)
    stamp, box_ = make_stamp(fd, "job-1")
    os.pwrite(fd, box_, stamp.size)
    assert read_stamp(fd, os.fstat(fd).st_size) == stamp
    assert verify_stamp(fd, stamp)
    assert judge(path).verdict is Verdict.WHOLE
    os.pwrite(fd, b"!", stamp.size // 2)
    assert not verify_stamp(fd, stamp)
    os.close(fd)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    directory = tmp_path_factory.mktemp("originals")
    return [made(directory, kind, frames=8).read_bytes() for kind in KINDS]


@settings(max_examples=300)
@given(content=st.binary(max_size=2_000))
def test_any_bytes_get_a_verdict(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-{os.getpid()}"
    path.write_bytes(content)
    assert judge(path).verdict is not Verdict.WHOLE


@settings(max_examples=400)
@given(data=st.data())
def test_any_damage_gets_a_verdict(originals: list[bytes], tmp_path_factory, data) -> None:
    content = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(
            st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8), st.just(bytes(8)))
        )
        content[at : at + len(patch)] = patch
    path = tmp_path_factory.getbasetemp() / f"damaged-{os.getpid()}"
    path.write_bytes(content)
    assert judge(path).verdict in set(Verdict)


@pytest.mark.parametrize("lost", ["the first", "one in the middle", "the last", "none, one is there twice"])
def test_a_fragment_that_is_gone_is_noticed(tmp_path: Path, lost: str) -> None:
    path = made(tmp_path, "mp4, fragmented", frames=60)
    content = path.read_bytes()
    boxes = boxes_of(content)
    moofs = [number for number, (kind, _, _) in enumerate(boxes) if kind == b"moof"]
    at = {"the first": 0, "one in the middle": len(moofs) // 2, "the last": -1}.get(lost, 1)
    start, end = boxes[moofs[at]][1], boxes[moofs[at] + 1][2]
    twice = content[start:end] if lost.startswith("none") else b""
    path.write_bytes(content[:start] + twice + twice + content[end:])
    assert judge(path, Tier.TABLES).verdict is Verdict.CORRUPT


@pytest.mark.parametrize("kind", ["webm", "mkv"])
@pytest.mark.parametrize("how", ["removed", "voided"])
def test_a_cluster_that_is_gone_is_noticed(tmp_path: Path, kind: str, how: str) -> None:
    path = made(tmp_path, kind, frames=400, gop=12)
    content = path.read_bytes()
    cluster = b"\x1f\x43\xb6\x75"
    first = content.index(cluster)
    second = content.index(cluster, first + 4)
    third = content.find(cluster, second + 4)
    end = third if third > 0 else content.index(b"\x1c\x53\xbb\x6b", second)
    if how == "voided":
        void = b"\xec\x08" + (end - second - 9).to_bytes(7) + bytes(end - second - 9)
        changed = content[:second] + void + content[end:]
    else:
        segment = content.index(b"\x18\x53\x80\x67") + 4
        size = int.from_bytes(content[segment : segment + 8]) - (end - second)
        changed = content[:segment] + size.to_bytes(8) + content[segment + 8 : second] + content[end:]
    path.write_bytes(changed)
    assert judge(path, Tier.TABLES).verdict is Verdict.CORRUPT


def length(path: Path, depth: Tier = Tier.TABLES) -> float | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        return container.examine(fd, os.fstat(fd).st_size, depth).duration_s
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", WHOLE)
def test_the_length_is_the_one_that_the_decoder_tells(tmp_path: Path, name: str) -> None:
    path = media.encode(tmp_path / f"video.{WHOLE[name]['container']}", **WHOLE[name])
    if "fragmented" in name:
        # Its header does not know how much follows.
        assert length(path) is None
        return
    with av.open(str(path)) as opened:
        assert length(path) == pytest.approx(opened.duration / av.time_base, abs=0.001)
    assert length(path, Tier.BOXES) is None


@pytest.mark.parametrize(
    ("at", "value"), [(12, bytes(4)), (16, bytes(4)), (16, b"\xff" * 4), (0, b"\1" + b"\xff" * 40)]
)
def test_a_length_that_cannot_be_is_none_and_breaks_no_video(tmp_path: Path, at: int, value: bytes) -> None:
    path = patched(made(tmp_path, "mp4, moov last"), b"mvhd", at, value)
    assert length(path) is None
    assert judge(path).verdict is Verdict.WHOLE


@pytest.mark.parametrize("value", [b"\x7f\xf0" + bytes(6), b"\xff" * 8, bytes(8), b"\x80" + bytes(7)])
def test_a_length_of_matroska_that_cannot_be_is_none_too(tmp_path: Path, value: bytes) -> None:
    path = patched(made(tmp_path, "mkv"), b"\x44\x89\x88", -4 + 3, value)
    assert length(path) is None
    assert judge(path).verdict is Verdict.WHOLE


def patched(path: Path, table: bytes, at: int, value: bytes) -> Path:
    """Overwrite bytes of the first table of this type, counted from behind its type."""
    content = bytearray(path.read_bytes())
    start = content.index(table) + 4 + at
    content[start : start + len(value)] = value
    path.write_bytes(content)
    return path


PATCHES = {
    "fewer samples are timed than there are": (b"stts", 8, struct.pack(">I", 3)),
    "no time scale": (b"mdhd", 12, bytes(4)),
    "a sync sample behind the end": (b"stss", 8, struct.pack(">I", 999)),
    "more chunks than there are": (b"stsc", 8, struct.pack(">I", 7)),
    "a size that leads out of the data": (b"stsz", 12, struct.pack(">I", 0x7FFFFFFF)),
}


@pytest.mark.parametrize("name", PATCHES)
def test_an_index_that_contradicts_itself_is_corrupt(tmp_path: Path, name: str) -> None:
    path = patched(made(tmp_path, "mp4, moov last"), *PATCHES[name])
    assert judge(path, Tier.TABLES).verdict is Verdict.CORRUPT


def test_chunks_that_share_bytes_are_corrupt(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "video.mp4", audio="aac", frames=60)
    content = path.read_bytes()
    tables = [at for at in range(len(content)) if content.startswith(b"stco", at)]
    first = content[tables[0] + 12 : tables[0] + 16]
    path.write_bytes(content[: tables[1] + 12] + first + content[tables[1] + 16 :])
    assert judge(path, Tier.TABLES).verdict is Verdict.CORRUPT


def test_mpeg_video_stuffed_with_zeros_is_whole(tmp_path: Path) -> None:
    options = {"container": "mp4", "codec": "mpeg2video", "picture": "black", "size": (640, 480)}
    assert judge(media.encode(tmp_path / "video.mp4", **options)).verdict is Verdict.WHOLE
