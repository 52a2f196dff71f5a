"""The walk sees every file of ours, and says what it could not look at; the spool keeps the order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.layout import PRESENTATIONS
from jobctl.model.records import DirectoryMark
from jobctl.outputs.root import OpenRoot, open_root, register
from jobctl.outputs.spool import Spool
from jobctl.outputs.walk import Walk, walk

J = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
VIDEO = f"presentation_{J}.mp4"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[OpenRoot]:
    (tmp_path / "root").mkdir()
    register(str(tmp_path / "root"), store_id="s", root_id="r", others=[], store_path=None)
    with open_root(str(tmp_path / "root"), root_id="r", store_id="s", generation=0) as opened:
        yield opened


def walked(root: OpenRoot, **how) -> tuple[list[str], Walk]:
    walking = walk(root, PRESENTATIONS, **how)
    return sorted(row[2] for row in walking), walking


def make(root: OpenRoot, path: str) -> Path:
    file = Path(root.path) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 10)
    return file


def test_files_of_ours_are_seen_wherever_they_are_and_others_counted(root: OpenRoot) -> None:
    make(root, VIDEO)
    make(root, f"a/b/c/{VIDEO}")
    make(root, "a/notes.txt")
    seen, walking = walked(root)
    assert seen == [f"a/b/c/{VIDEO}", VIDEO]
    assert (walking.result.files, walking.result.bytes, walking.result.foreign) == (2, 20, 1)


@pytest.mark.parametrize(
    "place", [".jobctl", "lost+found", ".snapshot", "static_design_images", "a/static_design_images/b"]
)
def test_some_places_are_never_entered(root: OpenRoot, place: str) -> None:
    make(root, f"{place}/{VIDEO}")
    assert walked(root)[0] == []


def test_directory_symlinks_are_not_followed(root: OpenRoot, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / VIDEO).touch()
    os.symlink(tmp_path / "elsewhere", Path(root.path) / "link")
    os.symlink(".", Path(root.path) / "loop")
    assert walked(root)[0] == []


def test_names_are_bytes(root: OpenRoot) -> None:
    hostile = os.fsdecode(b"caf\xe9 \x1b[31m\n[bold]")
    make(root, f"{hostile}/{VIDEO}")
    assert walked(root)[0] == [f"{hostile}/{VIDEO}"]


def test_a_very_deep_tree_is_walked(root: OpenRoot) -> None:
    deep = "d/" * 1_500
    fd = os.dup(root.fd)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open(VIDEO, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    assert walked(root)[0] == [deep + VIDEO]


def test_a_directory_exchanged_during_the_walk_does_not_lead_out_of_the_root(
    root: OpenRoot, tmp_path: Path
) -> None:
    make(root, f"a/{VIDEO}")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / VIDEO).touch()

    def exchange(fd: int):
        inside = Path(root.path) / "a"
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
            inside.symlink_to(tmp_path / "elsewhere")
            return os.scandir(tmp_path)
        return os.scandir(fd)

    seen, walking = walked(root, scandir=exchange)
    assert seen == []
    assert all(not place.path.startswith("/") for place in walking.result.unknown)


def quiet(marks: list[DirectoryMark]) -> dict[str, DirectoryMark]:
    return {mark.path: mark._replace(is_quiet=True) for mark in marks}


def test_an_unchanged_quiet_directory_is_skipped_and_a_changed_one_is_not(root: OpenRoot) -> None:
    make(root, f"a/{VIDEO}")
    make(root, f"b/{VIDEO}")
    for name in ("a", "b", "."):
        os.utime(Path(root.path) / name, (1_700_000_000, 1_700_000_000))
    marks = quiet(walked(root)[1].result.marks)
    seen, walking = walked(root, remembered=marks)
    assert (seen, walking.result.skipped, walking.result.files) == ([], {"", "a", "b"}, 2)
    make(root, f"b/thumbnail_{J}.jpg")
    seen, walking = walked(root, remembered=marks)
    assert seen == [f"b/{VIDEO}", f"b/thumbnail_{J}.jpg"]
    assert walking.result.skipped == {"", "a"}


def test_a_directory_that_changed_just_before_the_walk_is_read_again(root: OpenRoot) -> None:
    make(root, f"a/{VIDEO}")
    marks = quiet(walked(root)[1].result.marks)
    assert walked(root, remembered=marks)[0] == [f"a/{VIDEO}"]


def test_a_restless_directory_is_read_again(root: OpenRoot) -> None:
    make(root, VIDEO)
    os.utime(root.path, (1_700_000_000, 1_700_000_000))
    marks = {mark.path: mark for mark in walked(root)[1].result.marks}
    assert walked(root, remembered=marks)[0] == [VIDEO]


def test_a_change_of_layout_reads_everything_again(root: OpenRoot) -> None:
    make(root, VIDEO)
    os.utime(root.path, (1_700_000_000, 1_700_000_000))
    marks = {
        path: mark._replace(layout="another") for path, mark in quiet(walked(root)[1].result.marks).items()
    }
    assert walked(root, remembered=marks)[0] == [VIDEO]


rows = st.lists(st.tuples(st.text("0123456789abcdef", max_size=3), st.integers(0, 99)), max_size=200)


@given(rows, st.integers(1, 50))
def test_a_spool_gives_back_all_rows_in_order_and_covers_every_key(
    added: list[tuple[str, int]], run_size: int
) -> None:
    with Spool(run_size=run_size) as spool:
        for row in added:
            spool.add(row)
        partitions = list(spool.partitions())
    assert [row for _, _, part in partitions for row in part] == sorted(added)
    assert partitions[0][0] == ""
    assert partitions[-1][1] is None
    for (_, high, _), (low, _, _) in pairwise(partitions):
        assert high == low
    for low, high, part in partitions:
        assert all(low <= row[0] and (high is None or row[0] < high) for row in part)
