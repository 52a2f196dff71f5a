"""Duplicates on disk and among requests: what is found, what stays, what may go, on both databases."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from jobctl.core.duplicates import By, CopyGroup
from jobctl.core.requests import RequestGroup
from jobctl.errors import ExitCode
from jobctl.model.files import FileIdentity, Seen, Tier
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.hold import open_registered, visible_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.same import Search, SearchOptions, SearchReport, find_duplicates
from jobctl.ops.same_bytes import ByteComparison
from jobctl.ops.site import Progress
from jobctl.ops.sources import read_sources
from jobctl.source import sources_from_list
from jobctl.store import jobs, schema
from ops.world import World, a_job_id, set_age

Watch = Callable[[Progress], None]


def search(
    world: World, *, watch: Watch | None = None, **options: Any
) -> tuple[list[CopyGroup | RequestGroup], SearchReport]:
    with world.site() as site:
        searching: Search = find_duplicates(site, SearchOptions(**options), progress=watch)
        return list(searching), searching.report


def copies(world: World, **options: Any) -> list[dict[str, tuple[str, bool]]]:
    """The groups of the same bytes: the part of each path, and whether it may go."""
    groups, _ = search(world, by=frozenset({By.BYTES}), **options)
    return [
        {each.copy.path: (each.part.value, each.may_go) for each in group.judged}
        for group in groups
        if isinstance(group, CopyGroup)
    ]


def requests(world: World, **options: Any) -> list[tuple[str, list[str]]]:
    """The groups of the same request: by what they are, and the jobs with the keeper first."""
    groups, _ = search(world, by=frozenset({By.REQUEST}), **options)
    return [
        (group.same_by.value, [each.job.job_id for each in group.judged])
        for group in groups
        if isinstance(group, RequestGroup)
    ]


def name(number: int) -> str:
    return f"presentation_{a_job_id(number)}.mp4"


def padded(path: Path, *contents: bytes) -> Path:
    """Append boxes that every player skips: the video stays whole."""
    with open(path, "ab") as file:
        file.writelines(struct.pack(">I", len(content) + 8) + b"free" + content for content in contents)
    set_age(path, 7_200)
    return path


KEPT, GOES, STAYS, LINK = ("keeper", False), ("copy", True), ("copy", False), ("same-file", False)


# --- the same bytes ---------------------------------------------------------------------------


def test_copies_of_a_recorded_video_may_go_and_it_stays(world: World) -> None:
    world.video(0)
    world.recover()
    world.video(1, seed=0)
    world.video(2, seed=0, age_s=90_000)
    before = world.tables(), world.tree()
    [group], report = search(world)
    assert isinstance(group, CopyGroup)
    assert [(each.copy.path, each.may_go) for each in group.judged] == [
        (name(0), False),
        (name(2), True),
        (name(1), True),
    ]
    size = (world.root / name(0)).stat().st_size
    assert group.bytes_to_save == report.bytes_to_save == 2 * size
    assert group.group_id.startswith("sha256:")
    assert (report.videos, report.is_complete) == (3, True)
    assert (world.tables(), world.tree()) == before


def test_where_no_record_is_the_oldest_stays(world: World) -> None:
    world.video(0)
    world.video(1, seed=0, age_s=90_000)
    assert copies(world) == [{name(1): KEPT, name(0): GOES}]


def test_files_of_one_size_that_differ_only_in_the_middle_are_not_the_same(world: World) -> None:
    same = bytes(100_000)
    for number, middle in ((0, b"a"), (1, b"b"), (2, b"a")):
        padded(world.video(number, seed=0, age_s=0), same + middle + same)
    [group] = copies(world)
    assert group.keys() == {name(0), name(2)}


def test_files_that_differ_in_size_or_at_their_ends_are_not_the_same(world: World) -> None:
    padded(world.video(0, seed=0), b"a" * 200_000)
    padded(world.video(1, seed=0), b"b" * 200_000)
    padded(world.video(2, seed=0), b"a" * 200_001)
    assert copies(world) == []


def test_each_record_keeps_its_own_file(world: World) -> None:
    world.video(0)
    world.video(1, seed=0)
    world.recover()
    world.video(2, seed=0)
    assert copies(world) == [{name(0): KEPT, name(1): STAYS, name(2): GOES}]


def test_a_file_that_another_jobs_record_names_stays(world: World) -> None:
    world.video(0)
    world.video(1, seed=0)
    world.recover()
    with world.site() as site, site.store.write() as connection:
        connection.execute(
            update(schema.artifact).where(schema.artifact.c.job_id == a_job_id(1)).values(job_id=a_job_id(0))
        )
        jobs.delete_job(connection, a_job_id(1), actor="tester", at=site.store.now(connection))
    groups, _ = search(world)
    [group] = [group for group in groups if isinstance(group, CopyGroup)]
    assert not any(each.may_go for each in group.judged)
    assert f"the record of job {a_job_id(0)} names it" in group.judged[1].reason


def test_a_copy_whose_job_is_recorded_without_files_stays(world: World) -> None:
    world.video(0)
    world.recover()
    world.start_job(1)
    world.video(1, seed=0)
    assert copies(world) == [{name(0): KEPT, name(1): STAYS}]


def test_a_second_file_of_a_job_may_go_where_its_record_names_the_first(world: World) -> None:
    world.video(0)
    world.recover()
    second = world.root / "again"
    second.mkdir()
    (second / name(0)).write_bytes((world.root / name(0)).read_bytes())
    set_age(second / name(0), 90_000)
    assert copies(world) == [{name(0): KEPT, f"again/{name(0)}": GOES}]


def test_a_file_that_was_given_back_stays_while_it_is_the_same(world: World) -> None:
    world.video(0)
    pinned = world.video(1, seed=0)
    found = pinned.stat()
    with world.site() as site, site.store.write() as connection:
        [root_id] = connection.execute(schema.root.select()).scalars()
        row = {"root_id": root_id, "path": pinned.name, "inode": found.st_ino, "run_id": "run"}
        times = {"mtime_ns": found.st_mtime_ns, "at": site.store.now(connection)}
        connection.execute(insert(schema.pin), {**row, **times, "size": found.st_size})
    assert copies(world) == [{name(1): KEPT, name(0): GOES}]
    set_age(pinned, 60)
    assert copies(world) == [{name(0): KEPT, name(1): GOES}]


def a_reference(world: World, path: Path, *job_ids: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (id TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [(job_id,) for job_id in job_ids])
        database.commit()
    entry = {"name": "app", "table": "t", "database": str(path), "columns": {"job_id": "id"}}
    world.changes["sources"] = sources_from_list([entry], "test")


def test_a_copy_whose_job_another_table_names_stays(world: World, tmp_path: Path) -> None:
    world.video(0, age_s=90_000)
    world.video(1, seed=0)
    a_reference(world, tmp_path / "app.db", a_job_id(1))
    assert copies(world) == [{name(1): KEPT, name(0): GOES}]


def test_while_a_table_that_refers_to_jobs_cannot_be_read_nothing_may_go(
    world: World, tmp_path: Path
) -> None:
    world.video(0)
    world.video(1, seed=0)
    a_reference(world, tmp_path / "app.db")
    (tmp_path / "app.db").unlink()
    [group], report = search(world)
    assert isinstance(group, CopyGroup)
    assert not any(each.may_go for each in group.judged)
    assert "app could not be read" in group.judged[1].reason
    assert [error.exit_code for error in report.errors] == [ExitCode.INCOMPLETE]


def test_hard_links_are_one_file(world: World) -> None:
    world.video(0)
    (world.root / "sub").mkdir()
    os.link(world.root / name(0), world.root / "sub" / name(1))
    assert copies(world) == [{name(0): KEPT, f"sub/{name(1)}": LINK}]


def test_a_copy_with_several_names_is_not_proposed(world: World, tmp_path: Path) -> None:
    world.video(0, age_s=90_000)
    world.video(1, seed=0)
    os.link(world.root / name(1), world.root / name(2))
    world.video(3, seed=0)
    os.link(world.root / name(3), tmp_path / "elsewhere")
    world.video(4, seed=0)
    [group] = copies(world)
    assert group == {name(0): KEPT, name(1): STAYS, name(2): LINK, name(3): STAYS, name(4): GOES}


def test_what_is_not_whole_is_left_out(world: World) -> None:
    for number in (0, 1):
        path = world.video(number, seed=0)
        os.truncate(path, path.stat().st_size // 2)
        world.file(f"presentation_{a_job_id(number + 2)}.mp4", b"<html>")
    groups, report = search(world)
    assert groups == []
    assert (report.videos, report.left_out) == (0, [])


def test_a_file_that_is_still_written_is_left_out(world: World) -> None:
    world.video(0)
    world.video(1, seed=0)
    with open(world.root / name(1), "ab"):
        assert search(world)[0] == []
    world.scan()
    with open(world.root / name(1), "ab"):
        groups, report = search(world)
    assert groups == []
    assert [(file.path, file.reason) for file in report.left_out] == [(name(1), "it is open for writing")]
    assert not report.is_complete


def once(act: Callable[[], object]) -> Watch:
    """Act when the first bytes were read."""
    waiting = [act]

    def watch(step: Progress) -> None:
        if step.phase == "hash" and waiting:
            waiting.pop()()

    return watch


def test_a_file_that_changes_meanwhile_is_told_and_left_out(world: World) -> None:
    for number in (0, 1, 2):
        world.video(number, seed=0)

    def change() -> None:
        for number in (1, 2):
            padded(world.root / name(number), b"")

    groups, report = search(world, watch=once(change))
    assert groups == []
    assert {file.path for file in report.left_out} <= {name(0), name(1), name(2)}
    assert len(report.left_out) == 2
    assert not any(file.is_unreadable for file in report.left_out)


def test_a_file_that_is_gone_meanwhile_is_told_and_the_rest_goes_on(world: World) -> None:
    for number in (0, 1, 2):
        world.video(number, seed=0, age_s=7_200 - number)
    [group], report = search(world, watch=once((world.root / name(2)).unlink))
    assert isinstance(group, CopyGroup)
    assert len(group.judged) == 2
    # Files are read in the order in which they lie on the disk: it may be the one that is just read.
    (left_out,) = report.left_out
    assert left_out.reason in {"it is gone since it was seen", "it was changed while it was read"}


def test_where_a_file_cannot_be_read_none_of_its_size_may_go(world: World) -> None:
    for number in (0, 1):
        world.video(number, seed=0)
    (world.root / "sub").mkdir()
    world.video(2, seed=0).rename(world.root / "sub" / name(2))

    def exchange() -> None:
        (world.root / "sub").rename(world.root / "away")
        (world.root / "sub").write_text("a file in place of the directory")

    [group], report = search(world, watch=once(exchange))
    assert isinstance(group, CopyGroup)
    assert not any(each.may_go for each in group.judged)
    assert "a file of the same size could not be read" in group.judged[1].reason
    assert [(file.path, file.is_unreadable) for file in report.left_out] == [(f"sub/{name(2)}", True)]
    assert not report.is_complete


AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from jobctl.ops.hold import open_registered, visible_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.same import SearchOptions, find_duplicates
from ops.world import World

def told(name):
    world = World(str(place / name / "jobs.db"), place / f"{name}-outputs")
    videos = [world.video(number, seed=0) for number in range(3)]
    if name == "second":
        for path in [world.root, *videos]:
            os.chown(path, 65534, 65534)
        videos[2].chmod(0)
    world.init()
    with world.site() as site:
        search = find_duplicates(site, SearchOptions())
        may_go = [each.may_go for group in search for each in group.judged]
    return may_go, [file.reason for file in search.report.left_out]

# Once as root for root, so that every module is loaded before the machine's are out of reach.
place = Path(sys.argv[1])
place.mkdir()
print(*told("first"))
os.chmod(place, 0o755)
print(*told("second"))
"""


def test_where_permission_is_missing_it_is_told_and_nothing_of_that_size_may_go(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for parent in [tmp_path, *tmp_path.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    command = [sys.executable, "-c", AS_NOBODY, str(tmp_path / "site"), *sys.path]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "[False, True, True] []",
        "[False, False] ['it cannot be opened: Permission denied']",
    ]


def test_copies_below_several_roots_are_found(world: World, tmp_path: Path) -> None:
    second = World(world.url, tmp_path / "second")
    second.init()
    world.video(0, age_s=90_000)
    second.video(1, seed=0)
    [group], _ = search(world)
    assert isinstance(group, CopyGroup)
    assert len({each.copy.root_id for each in group.judged}) == 2
    assert group.judged[1].may_go
    assert copies(world, root=str(world.root)) == []


def test_a_root_that_is_away_is_told_and_the_rest_goes_on(world: World, tmp_path: Path) -> None:
    second = World(world.url, tmp_path / "second")
    second.init()
    second.root.rename(tmp_path / "away")
    world.video(0)
    world.video(1, seed=0)
    groups, report = search(world)
    assert len(groups) == 1
    assert [error.exit_code for error in report.errors] == [ExitCode.ROOT]


def test_the_largest_files_come_first(world: World) -> None:
    for number, length in ((0, 10), (2, 200_000), (4, 5_000)):
        for copy in (number, number + 1):
            padded(world.video(copy, seed=0), bytes(length))
    groups, _ = search(world)
    sizes = [group.judged[0].copy.identity.size for group in groups if isinstance(group, CopyGroup)]
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)


def test_hostile_names_are_compared_like_others(world: World) -> None:
    for number, directory in enumerate([b"a\nb", b"\x1b[31mred", b"[bold]", b"caf\xe9", b"back\\slash"]):
        place = world.root / os.fsdecode(directory)
        place.mkdir()
        world.video(number, seed=0).rename(place / name(number))
    world.recover()
    groups, _ = search(world)
    [group] = [group for group in groups if isinstance(group, CopyGroup)]
    assert len(group.judged) == 5
    assert all("names it" in each.reason for each in group.judged)


def test_recorded_checksums_save_reading_unless_the_file_changed_or_they_are_not_trusted(
    world: World,
) -> None:
    same = bytes(100_000)
    for number, middle in ((0, b"a"), (1, b"b")):
        padded(world.video(number, seed=0), same + middle + same)
    world.recover()
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.artifact).values(sha256="0" * 64))
    assert copies(world) == [{name(0): KEPT, name(1): STAYS}]
    assert copies(world, trusts_records=False) == []
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.artifact).values(sha256="no checksum"))
    assert copies(world) == []
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.artifact).values(sha256="0" * 64, mtime_ns=1))
    assert copies(world) == []


def test_an_identity_is_what_the_walk_saw(world: World) -> None:
    world.video(0)
    world.video(1, seed=0)
    [group], _ = search(world)
    assert isinstance(group, CopyGroup)
    for each in group.judged:
        found = (world.root / each.copy.path).stat()
        assert each.copy.identity == FileIdentity(
            found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )


CONTENTS = st.lists(st.tuples(st.binary(max_size=1), st.integers(0, 2)), max_size=12)
"""What is in each file, and which of the files before it, if any, it is another name of."""


@given(CONTENTS)
@settings(max_examples=50)
def test_whatever_the_files_the_groups_are_those_of_the_same_content(
    contents: list[tuple[bytes, int]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        world = World(f"{place}/jobs.db", Path(place, "outputs"))
        world.init()
        expected: dict[bytes, set[str]] = {}
        for number, (content, linked) in enumerate(contents):
            path = world.root / f"f{number}"
            earlier = world.root / f"f{linked}"
            if linked and earlier.exists():
                os.link(earlier, path)
            else:
                path.write_bytes(content)
            expected.setdefault(path.read_bytes(), set()).add(path.name)
        found = [{each.copy.path for each in group.judged} for group in compared(world)]
    assert len(found) == len({frozenset(group) for group in found})
    assert {frozenset(group) for group in found} == {
        frozenset(paths) for paths in expected.values() if len(paths) > 1
    }


def compared(world: World) -> list[CopyGroup]:
    """All files of the root, compared as if they were whole videos."""
    with ExitStack() as stack:
        site = stack.enter_context(world.site())
        [row] = visible_roots(site)
        root = stack.enter_context(open_registered(site, row))
        inspector = stack.enter_context(Inspector(site, [root], Tier.TABLES))
        comparison = stack.enter_context(ByteComparison(site, inspector, lambda _: None, trusts_records=True))
        sources = stack.enter_context(read_sources(site))
        for path in world.root.glob("f*"):
            found = path.stat()
            times = (found.st_mtime_ns, found.st_ctime_ns)
            comparison.add(
                Seen("", row.root_id, path.name, "video", found.st_dev, found.st_ino, found.st_size, *times)
            )
        return list(comparison.groups(sources))


# --- the same request -------------------------------------------------------------------------


def ask(
    world: World, number: int, payload: Any = None, *, status: Status = Status.QUEUED, **fields: Any
) -> str:
    job_id = a_job_id(number)
    fields = {"owner": "ada", **fields}
    with world.site() as site, site.store.write() as connection:
        at = site.store.now(connection)
        jobs.create_job(connection, Job(job_id=job_id, **fields), actor="service", at=at, payload=payload)
        steps = [(Status.QUEUED, Status.PROCESSING, Cause.CLAIM)]
        steps += [(Status.PROCESSING, Status.COMPLETED, Cause.EXECUTOR)]
        for old, new, cause in steps if status is Status.COMPLETED else []:
            jobs.change_status(connection, job_id, new, expect=old, cause=cause, actor="service", at=at)
    return job_id


def test_jobs_of_one_owner_with_the_same_payload_are_told(world: World) -> None:
    first = ask(world, 0, {"title": "x", "pages": [1, 2]})
    second = ask(world, 1, {"pages": [1, 2], "title": "x"})
    ask(world, 2, {"pages": [2, 1], "title": "x"})
    ask(world, 3, {"pages": [1, 2], "title": "x"}, owner="bob")
    before = world.tables()
    assert requests(world) == [("payload", [first, second])]
    assert world.tables() == before


def test_the_same_user_and_slides_are_told_where_the_rest_differs(world: World) -> None:
    first = ask(world, 0, {"user": "u", "slides": [1], "at": 1})
    second = ask(world, 1, {"user": "u", "slides": [1], "at": 2})
    assert requests(world) == [("slides", [first, second])]


def test_one_group_is_told_once_by_the_strongest_sameness(world: World) -> None:
    payload = {"user": "u", "slides": [1]}
    first = ask(world, 0, payload, idempotency_key="k")
    second = ask(world, 1, payload, idempotency_key="k", kind="avatar")
    assert requests(world) == [("payload", [first, second])]


def test_one_idempotency_key_under_two_kinds_is_told(world: World) -> None:
    first = ask(world, 0, idempotency_key="k")
    second = ask(world, 1, idempotency_key="k", kind="avatar")
    ask(world, 2, idempotency_key="k", kind="slide", owner="bob")
    assert requests(world) == [("idempotency-key", [first, second])]


def test_the_completed_job_with_its_whole_video_is_proposed(world: World) -> None:
    payload = {"title": "x"}
    first = ask(world, 0, payload)
    without = ask(world, 1, payload, status=Status.COMPLETED)
    served = ask(world, 2, payload, status=Status.COMPLETED)
    world.video(2)
    assert requests(world) == [("payload", [served, first, without])]


def test_a_video_below_a_root_that_is_not_walked_is_believed_to_be_there(
    world: World, tmp_path: Path
) -> None:
    second = World(world.url, tmp_path / "second")
    second.init()
    payload = {"title": "x"}
    first = ask(world, 0, payload)
    served = ask(world, 1, payload, status=Status.COMPLETED)
    second.video(1)
    with second.site() as site, site.store.write() as connection:
        [root_id] = [
            row.root_id for row in connection.execute(schema.root.select()) if row.path == str(second.root)
        ]
        place = {"job_id": served, "root_id": root_id, "path": name(1)}
        connection.execute(insert(schema.artifact), {**place, "role": "video", "state": "present"})
    assert requests(world, root=str(world.root)) == [("payload", [served, first])]
    second.root.rename(tmp_path / "away")
    assert requests(world) == [("payload", [served, first])]


def test_jobs_of_which_no_request_is_known_are_not_the_same(world: World) -> None:
    for number in range(3):
        ask(world, number, {} if number else None)
    assert requests(world) == []


def test_both_kinds_are_told_and_counted(world: World) -> None:
    for number in (0, 1):
        ask(world, number, {"title": "x"})
        world.video(number, seed=0)
    groups, report = search(world)
    assert [type(group) for group in groups] == [CopyGroup, RequestGroup]
    assert report.groups == {By.BYTES: 1, By.REQUEST: 1}
