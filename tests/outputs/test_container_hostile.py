"""Damage that leaves a file's boxes in order: nothing of it passes for a whole video, and nothing hangs."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media
from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container import ebml, tracks
from jobctl.outputs.container.payload import Codec, why_torn
from outputs.containers import box, boxes_of, judge, moov_of, track_with_table

Change = Callable[[bytes], bytes]

BASES = {
    "plain": {"moov": "first"},
    "with sound": {"moov": "first", "audio": "aac"},
    "one frame": {"moov": "first", "frames": 1},
    "vp9": {"moov": "first", "codec": "libvpx-vp9"},
    "fragmented": {"moov": "fragmented", "frames": 60},
    "fragmented pcm": {"container": "mov", "moov": "fragmented", "frames": 60, "audio": "pcm_s16le"},
    "hybrid": {"moov": "hybrid", "frames": 60},
    "dash": {"moov": "dash", "frames": 60},
    "webm": {"container": "webm"},
    "mkv": {"container": "mkv"},
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("bases")
    return {name: media.encode(directory / name, **options).read_bytes() for name, options in BASES.items()}


def number(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4])


def u32(*values: int) -> bytes:
    return b"".join(struct.pack(">I", value & 0xFFFFFFFF) for value in values)


def put(kind: bytes, at: int, value: bytes, *, all_of_them: bool = True) -> Change:
    """Overwrite bytes of each box of a type, counted from behind its type."""

    def change(content: bytes) -> bytes:
        start = content.index(kind)
        while start >= 0:
            begin = start + 4 + at
            content = content[:begin] + value + content[begin + len(value) :]
            start = content.find(kind, start + 1) if all_of_them else -1
        return content

    return change


def without_edits(change: Change) -> Change:
    """Where no edit list says more of the times than their table."""
    return lambda content: change(put(b"elst", -4, b"free")(content))


def last_run_empty(content: bytes) -> bytes:
    at = content.rindex(b"trun") + 8
    return content[:at] + u32(0) + content[at + 4 :]


def without_sizes(content: bytes) -> bytes:
    at = content.index(b"stsz") + 4
    return (
        content[: at + 12]
        + bytes(4 * number(content, at + 8))
        + content[at + 12 + 4 * number(content, at + 8) :]
    )


def without_last_size(content: bytes) -> bytes:
    at = content.index(b"stsz") + 4
    last = at + 8 + 4 * number(content, at + 8)
    return content[:last] + u32(0) + content[last + 4 :]


def moved(by: int) -> Change:
    """All chunks somewhere else."""

    def change(content: bytes) -> bytes:
        at = content.index(b"stco") + 4
        for place in range(at + 8, at + 8 + 4 * number(content, at + 4), 4):
            content = content[:place] + u32(number(content, place) + by) + content[place + 4 :]
        return content

    return change


def cut_at_fragment(which: int) -> Change:
    """What is on the disk before a fragment, and before the index of its own."""

    def change(content: bytes) -> bytes:
        boxes = boxes_of(content)
        moofs = [place for place, (kind, _, _) in enumerate(boxes) if kind == b"moof"]
        place = moofs[which]
        while boxes[place - 1][0] == b"sidx":
            place -= 1
        return content[: boxes[place][1]]

    return change


def zero_end(count: int) -> Change:
    """The last bytes of the media data were never written."""

    def change(content: bytes) -> bytes:
        kind, start, end = [each for each in boxes_of(content) if each[0] == b"mdat"][-1]
        del kind
        first = max(start + 8, end - count)
        return content[:first] + bytes(end - first) + content[end:]

    return change


def zero_in_midst(content: bytes) -> bytes:
    """Sixteen zeros within the first NAL unit, whose length stays."""
    at = content.index(b"mdat") + 4 + 48
    return content[:at] + bytes(16) + content[at + 16 :]


def grown(content: bytes) -> bytes:
    """The media data claims all that follows, and was cut."""
    kind, start, end = next(each for each in boxes_of(content) if each[0] == b"mdat")
    del kind
    return content[:start] + u32(0) + content[start + 4 : (start + end) // 2]


DAMAGE: dict[str, tuple[str, Change, Tier]] = {
    "samples without bytes": ("plain", without_sizes, Tier.TABLES),
    "one frame without bytes": ("plain", without_last_size, Tier.PAYLOAD),
    "frames that are shown for no time": ("plain", without_edits(put(b"stts", 12, u32(0))), Tier.TABLES),
    "a track without times": ("plain", without_edits(put(b"stts", -4, b"free")), Tier.TABLES),
    "an edit list that shows nothing": ("plain", put(b"elst", 12, u32(-1)), Tier.TABLES),
    "an edit list that shows an instant": ("plain", put(b"elst", 8, u32(1)), Tier.TABLES),
    "an edit list that begins behind the end": ("one frame", put(b"elst", 12, u32(10**7)), Tier.TABLES),
    "media data up to the end of a file that was cut": ("plain", grown, Tier.TABLES),
    "chunks in another box": ("plain", moved(-100_000), Tier.TABLES),
    "frames that begin one byte later": ("plain", moved(1), Tier.PAYLOAD),
    "frames of vp9 that begin one byte earlier": ("vp9", moved(-1), Tier.PAYLOAD),
    "a last frame that ends in zeros": ("plain", zero_end(8), Tier.PAYLOAD),
    "a frame with zeros in its midst": ("plain", zero_in_midst, Tier.PAYLOAD),
    "an only frame that is zeros": ("one frame", zero_end(1_000_000), Tier.PAYLOAD),
    "zeros in fragments beside pcm": ("fragmented pcm", zero_end(1_000_000), Tier.PAYLOAD),
    "fragments whose samples have no bytes": ("fragmented", put(b"trun", 4, u32(0)), Tier.TABLES),
    "a last fragment that names no samples": ("fragmented", last_run_empty, Tier.TABLES),
    "fragments of an unknown track": ("fragmented", put(b"tfhd", 4, u32(9)), Tier.TABLES),
    "fragments that begin before the file": ("fragmented", put(b"trun", 8, u32(-(2**31))), Tier.TABLES),
    "an index that leads astray before the fragments": ("hybrid", put(b"stco", 8, u32(1)), Tier.TABLES),
    "an index that names more samples than it has": ("hybrid", put(b"stsc", 12, u32(9_999)), Tier.TABLES),
    "fragments that break off after the first": ("dash", cut_at_fragment(1), Tier.TABLES),
    "fragments that break off before the last": ("dash", cut_at_fragment(-1), Tier.TABLES),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_between_the_boxes_is_no_whole_video(
    tmp_path: Path, bases: dict[str, bytes], name: str
) -> None:
    base, change, depth = DAMAGE[name]
    path = tmp_path / "video"
    path.write_bytes(change(bases[base]))
    assert path.read_bytes() != bases[base]
    assert judge(path, depth).verdict is not Verdict.WHOLE


ZEROS, TEXT = bytes(12), b"not a frame!"


@pytest.mark.parametrize(
    ("codec", "sample", "is_torn"),
    [
        ("vp08", b"\x10\x02\x00\x9d\x01\x2a\x40\x00", False),  # a key frame
        ("vp08", b"\x11\x02\x00", False),  # one that goes on from the frame before
        ("vp08", b"\x10\x02\x00\x00\x00\x00\x40\x00", True),
        ("V_VP8", ZEROS, True),
        ("V_VP9", b"\x82\x49\x83\x42", False),
        ("V_VP9", b"", False),  # it was dropped
        ("V_VP9", ZEROS, True),
        ("vp09", TEXT, True),
        ("av01", b"\x0a\x0b\x00", False),
        ("av01", ZEROS, True),
        ("V_AV1", b"\x8a\x0b\x00", True),
        ("mjpg", ZEROS, False),
        ("mjpg", bytes(16), True),
    ],
)
def test_a_frame_of_these_codecs_shows_that_it_was_written(codec: str, sample: bytes, is_torn: bool) -> None:
    assert bool(why_torn(sample, Codec(codec, is_video=True))) is is_torn


@pytest.mark.parametrize("of_fragment", [None, 10, 11])
@pytest.mark.parametrize("of_all", [10, 11])
def test_samples_of_a_fragment_have_the_size_of_all_unless_it_says_another(
    tmp_path: Path, of_all: int, of_fragment: int | None
) -> None:
    """14496-12, 8.8.3 and 8.8.7: there are ten samples in a hundred bytes."""
    path = tmp_path / "video.mp4"
    path.write_bytes(fragment_of_ten(of_all, of_fragment))
    is_whole = (of_all if of_fragment is None else of_fragment) == 10
    assert judge(path, Tier.TABLES).verdict is (Verdict.WHOLE if is_whole else Verdict.CORRUPT)


def fragment_of_ten(of_all: int, of_fragment: int | None) -> bytes:
    tables = b"".join(box(kind, u32(0, 0)) for kind in (b"stco", b"stsc", b"stts"))
    track = with_header(track_with_table(box(b"stsz", u32(0, 0, 0)) + tables))
    tkhd = box(b"tkhd", bytes(12) + u32(1) + bytes(68))
    track = box(b"trak", tkhd + track[8:])
    moov = box(b"moov", track + box(b"mvex", box(b"trex", u32(0, 1, 1, 0, of_all, 0))))
    tfhd = u32(0, 1) if of_fragment is None else u32(0x10, 1, of_fragment)

    def moof(data_at: int) -> bytes:
        trun = box(b"trun", u32(1, 10, data_at))
        return box(b"moof", box(b"mfhd", u32(0, 1)) + box(b"traf", box(b"tfhd", tfhd) + trun))

    before = box(b"ftyp", b"isom" + bytes(4)) + moov
    index = box(b"mfra", box(b"tfra", u32(0, 1, 0, 1, 0, len(before)) + b"\1\1\1"))
    return before + moof(len(moof(0)) + 8) + box(b"mdat", b"x" * 100) + index


def with_header(track: bytes) -> bytes:
    """A track with a time scale."""
    mdhd = box(b"mdhd", bytes(12) + u32(12) + bytes(8))
    track = track.replace(b"mdia", b"mdia" + mdhd)
    for kind in (b"mdia", b"trak"):
        at = track.index(kind) - 4
        track = track[:at] + u32(number(track, at) + len(mdhd)) + track[at + 4 :]
    return track


@settings(max_examples=150)
@given(data=st.data())
def test_a_file_cut_anywhere_is_never_whole(
    bases: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bases[data.draw(st.sampled_from(sorted(BASES)))]
    path = tmp_path_factory.getbasetemp() / f"cut-{os.getpid()}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert judge(path).verdict is not Verdict.WHOLE


@settings(max_examples=150)
@given(data=st.data())
def test_a_file_whose_end_was_never_written_is_never_whole(
    bases: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """From anywhere to the end there are zeros, as after a power loss."""
    content = bases[data.draw(st.sampled_from(sorted(set(BASES) - {"vp9", "with sound"})))]
    path = tmp_path_factory.getbasetemp() / f"zeros-{os.getpid()}"
    kept = data.draw(st.integers(0, len(content) - 16))
    path.write_bytes(content[:kept] + bytes(len(content) - kept))
    assert judge(path).verdict is not Verdict.WHOLE


def many_chunks(count: int, *, step: int) -> bytes:
    """A video of ``count`` frames of a byte, each a chunk; a ``step`` of -1 names them backwards."""
    offsets = [32 + place for place in range(count)][::step]
    tables = (
        box(b"stsz", u32(0, 0, count) + u32(1) * count)
        + box(b"stco", u32(0, count) + struct.pack(f">{count}I", *offsets))
        + box(b"stsc", u32(0, 1, 1, 1, 1))
        + box(b"stts", u32(0, 1, count, 1))
    )
    return moov_of(with_header(track_with_table(tables))).replace(
        box(b"mdat", bytes(64)), box(b"mdat", b"x" * count)
    )


def test_a_large_index_is_checked_in_the_memory_it_takes_itself(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(many_chunks(30_000, step=1))
    tracemalloc.start()
    check = judge(path, Tier.TABLES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert check.verdict is Verdict.WHOLE
    assert peak < 2 << 20


def test_chunks_in_any_order_are_checked_as_long_as_they_are_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(many_chunks(100, step=-1))
    assert judge(path, Tier.TABLES).verdict is Verdict.WHOLE
    monkeypatch.setattr(tracks, "_MOST_UNORDERED", 99)
    assert judge(path, Tier.TABLES).verdict is Verdict.UNSUPPORTED


def test_a_segment_of_more_elements_than_there_is_time_for_is_not_whole(
    tmp_path: Path, bases: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ebml, "_MOST_ELEMENTS", 1_000)
    content, voids = bases["webm"], b"\xec\x80" * 1_000
    at = content.index(b"\x18\x53\x80\x67") + 4
    size = (int.from_bytes(content[at : at + 8]) + len(voids)).to_bytes(8)
    path = tmp_path / "video.webm"
    path.write_bytes(content)
    assert judge(path).verdict is Verdict.WHOLE
    path.write_bytes(content[:at] + size + content[at + 8 :] + voids)
    check = judge(path)
    assert (check.verdict, check.reason) == (Verdict.UNSUPPORTED, "it has more than 1,000 elements")


def test_packed_frames_of_matroska_are_not_judged(tmp_path: Path, bases: dict[str, bytes]) -> None:
    """Older muxers leave the first bytes of each frame out (RFC 9559, 5.1.4.1.31)."""
    content = bases["mkv"]
    # In place of the number that tells the track from all others, which nobody needs.
    packed = content.replace(b"\x73\xc5", b"\x6d\x80", 1)
    path = tmp_path / "video.mkv"
    path.write_bytes(media_without_chain(packed))
    assert judge(path).verdict is Verdict.WHOLE
    path.write_bytes(media_without_chain(content))
    assert judge(path).verdict is Verdict.CORRUPT


def media_without_chain(content: bytes) -> bytes:
    """The first byte of the last frame is another."""
    at = content.rindex(b"\xa3") + 1
    width = 9 - content[at].bit_length()
    first = at + width + 4
    return content[:first] + b"\x7f" + content[first + 1 :]
