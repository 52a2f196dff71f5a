"""Stamps: whose a file is, believed only while not one of its bytes has changed."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import media
from jobctl.model.files import Stamp, Tier, Verdict
from jobctl.outputs import container
from jobctl.outputs.stamp import BOX_TYPE, box_of, make_stamp, read_stamp, stamp_of_comment, verify_stamp

SHA256 = "0" * 64
PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=200)


@pytest.fixture
def stamped(tmp_path: Path) -> Path:
    path = media.encode(tmp_path / "video.mp4")
    fd = os.open(path, os.O_RDWR)
    stamp, box = make_stamp(fd, "job-1")
    os.pwrite(fd, box, stamp.size)
    os.close(fd)
    return path


def stamp_in(path: Path) -> tuple[Stamp | None, bool]:
    fd = os.open(path, os.O_RDONLY)
    try:
        stamp = read_stamp(fd, os.fstat(fd).st_size)
        return stamp, stamp is not None and verify_stamp(fd, stamp)
    finally:
        os.close(fd)


def test_a_stamped_file_says_whose_it_is_and_is_whole(stamped: Path) -> None:
    stamp, is_verified = stamp_in(stamped)
    assert stamp is not None
    assert (stamp.job_id, is_verified) == ("job-1", True)
    fd = os.open(stamped, os.O_RDONLY)
    check = container.check(fd, stamped.stat().st_size, Tier.PAYLOAD)
    os.close(fd)
    assert (check.verdict, check.warnings) == (Verdict.WHOLE, ())


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.95])
def test_one_changed_byte_and_it_is_not_verified(stamped: Path, where: float) -> None:
    stamp, _ = stamp_in(stamped)
    assert stamp is not None
    with open(stamped, "r+b") as file:
        file.seek(int(stamp.size * where))
        old = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old[0] ^ 1]))
    assert stamp_in(stamped) == (stamp, False)


@pytest.mark.parametrize("change", [lambda it: it[:-1], lambda it: it + b"\0", lambda it: it[:-200]])
def test_a_stamp_that_does_not_end_the_file_is_none(stamped: Path, change: Callable[[bytes], bytes]) -> None:
    stamped.write_bytes(change(stamped.read_bytes()))
    assert stamp_in(stamped)[0] is None


def test_a_stamp_on_other_bytes_is_none(stamped: Path) -> None:
    content = stamped.read_bytes()
    stamped.write_bytes(b"more in front" + content)
    assert stamp_in(stamped)[0] is None


def test_an_unstamped_file_has_none(tmp_path: Path) -> None:
    assert stamp_in(media.encode(tmp_path / "video.mp4"))[0] is None
    (tmp_path / "empty").touch()
    assert stamp_in(tmp_path / "empty")[0] is None


def stamp_box(body: bytes) -> bytes:
    return struct.pack(">I4s16s", 24 + len(body), b"uuid", BOX_TYPE) + body


def body(**changed: object) -> bytes:
    fields = {"v": 1, "job_id": "job-1", "size": 10, "sha256": SHA256, **changed}
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def test_the_boxes_below_would_be_stamps_but_for_one_thing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(10) + stamp_box(body()))
    assert stamp_in(tmp_path / "file")[0] == Stamp("job-1", 10, SHA256)


NO_STAMPS = {
    "another version": stamp_box(body(v=2)),
    "no version": stamp_box(body(v=None)),
    "no job": stamp_box(body(job_id=None)),
    "an empty job": stamp_box(body(job_id="")),
    "a number for a job": stamp_box(body(job_id=7)),
    "a job with an escape sequence": stamp_box(body(job_id="\x1b[31m")),
    "a job that no encoding has": stamp_box(body(job_id="\ud800")),
    "a job id without end": stamp_box(body(job_id="j" * 201)),
    "another size": stamp_box(body(size=11)),
    "a negative size": stamp_box(body(size=-10)),
    "an endless size": stamp_box(body().replace(b"10,", b"1e999,")),
    "no checksum": stamp_box(body(sha256=None)),
    "a checksum that is none": stamp_box(body(sha256="z" * 64)),
    "lists in lists": stamp_box(b"[" * 900),
    "a list": stamp_box(b"[]"),
    "no JSON": stamp_box(b"{"),
    "no text": stamp_box(b"\xff" * 50),
    "nothing": stamp_box(b""),
    "no box before the type": b"uuid" + BOX_TYPE,
    "a box longer than the file": struct.pack(">I4s16s", 2**32 - 1, b"uuid", BOX_TYPE) + body(),
    "a box of no length": struct.pack(">I4s16s", 0, b"uuid", BOX_TYPE) + body(),
}


@pytest.mark.parametrize("name", NO_STAMPS)
def test_what_is_not_quite_a_stamp_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(bytes(10) + NO_STAMPS[name])
    assert stamp_in(tmp_path / "file")[0] is None


@given(content=st.binary(max_size=200))
def test_any_content_of_the_box_is_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-stamp-{os.getpid()}"
    path.write_bytes(bytes(10) + stamp_box(content))
    assert stamp_in(path)[0] is None


@given(job_id=PRINTABLE)
def test_any_printable_job_id_comes_back(tmp_path_factory: pytest.TempPathFactory, job_id: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"job-stamp-{os.getpid()}"
    stamp = Stamp(job_id, 10, SHA256)
    path.write_bytes(bytes(10) + box_of(stamp))
    assert stamp_in(path)[0] == stamp


@pytest.mark.parametrize("character", ["j", '"', "\\", "é", "𝄞"])
def test_the_longest_job_id_fits_whatever_it_is_made_of(tmp_path: Path, character: str) -> None:
    stamp = Stamp(character * 200, 10, SHA256)
    (tmp_path / "file").write_bytes(bytes(10) + box_of(stamp))
    assert stamp_in(tmp_path / "file")[0] == stamp


@pytest.mark.parametrize("job_id", ["", "j" * 201, "new\nline", " job", "\udce9"])
def test_a_job_id_that_cannot_be_read_back_is_not_written(job_id: str) -> None:
    with pytest.raises(ValueError, match="no stamp can carry"):
        box_of(Stamp(job_id, 10, SHA256))


@pytest.mark.parametrize(
    ("comment", "job_id"),
    [
        ("jobctl:job-1", "job-1"),
        ("jobctl: job-1 ", "job-1"),
        ("jobctl:", None),
        ("jobctl:new\nline", None),
        ("JOBCTL:job-1", None),
        ("made by jobctl:job-1", None),
        ("a comment", None),
        ("", None),
        (None, None),
    ],
)
def test_a_comment_names_a_job(comment: str | None, job_id: str | None) -> None:
    assert stamp_of_comment(comment) == job_id
