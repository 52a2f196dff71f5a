"""Which of several files with the same bytes stays, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.duplicates import Copy, CopyGroup, JudgedCopy, Part, judge_copies
from jobctl.model.files import FileIdentity

SIZE = 1_000


def copy(path: str, *, inode: int = 0, mtime_ns: int = 5, **facts: Any) -> Copy:
    identity = FileIdentity(1, inode or sum(map(ord, path)), SIZE, mtime_ns, 9)
    return Copy(facts.pop("root_id", "r1"), path, facts.pop("job_id", f"job-{path}"), identity, **facts)


def parts(judged: list[JudgedCopy]) -> dict[str, tuple[str, bool]]:
    return {each.copy.path: (each.part.value, each.may_go) for each in judged}


def saved(judged: list[JudgedCopy]) -> int:
    return CopyGroup("", judged).bytes_to_save


def keeper(*copies: Copy) -> str:
    first = judge_copies(copies)[0]
    assert first.part is Part.KEEPER
    return first.copy.path


LISTED = copy("z-listed", mtime_ns=9, named_by=("job-z-listed",))
RECORDED = copy("y-recorded", mtime_ns=8, has_record=True)
PINNED = copy("x-pinned", mtime_ns=7, is_pinned=True)
IN_TABLE = copy("w-in-table", mtime_ns=6, table_row="app:7")
OLDEST = copy("v-oldest", mtime_ns=1)
FIRST = copy("a-first", mtime_ns=2)
SECOND = copy("b-second", mtime_ns=2)
BY_RANK = [LISTED, RECORDED, PINNED, IN_TABLE, OLDEST, FIRST, SECOND]


@pytest.mark.parametrize("better", range(len(BY_RANK) - 1))
def test_what_is_referred_to_is_kept_before_what_is_older_and_that_before_the_path(better: int) -> None:
    for worse in BY_RANK[better + 1 :]:
        assert keeper(BY_RANK[better], worse) == keeper(worse, BY_RANK[better]) == BY_RANK[better].path


def test_every_copy_that_something_refers_to_stays_and_only_the_rest_may_go() -> None:
    judged = judge_copies(BY_RANK)
    assert [each.copy.path for each in judged if each.may_go] == ["v-oldest", "a-first", "b-second"]
    assert saved(judged) == 3 * SIZE


def test_each_copy_has_its_reason() -> None:
    reasons = {each.copy.path: each.reason for each in judge_copies(BY_RANK)}
    assert reasons == {
        "z-listed": "it stays: the record of job job-z-listed names it",
        "y-recorded": "it stays as well: its job is recorded, and its record names none of the others",
        "x-pinned": "it stays as well: it was given back from quarantine",
        "w-in-table": "it stays as well: app:7 refers to its job",
        "v-oldest": "nothing refers to it, and z-listed has the same bytes",
        "a-first": "nothing refers to it, and z-listed has the same bytes",
        "b-second": "nothing refers to it, and z-listed has the same bytes",
    }


def test_where_nothing_refers_to_any_the_oldest_stays() -> None:
    judged = judge_copies([FIRST, OLDEST])
    assert parts(judged) == {"v-oldest": ("keeper", False), "a-first": ("copy", True)}
    assert judged[0].reason == "nothing refers to any of them, and it is the oldest"


def test_equally_old_copies_are_told_apart_by_path() -> None:
    judged = judge_copies([SECOND, FIRST])
    assert judged[0].copy.path == "a-first"
    assert judged[0].reason == "nothing refers to any of them; among the oldest its path comes first"


def test_a_second_file_of_a_job_may_go_where_its_record_names_the_first() -> None:
    listed = copy("one", job_id="job", named_by=("job",), has_record=True)
    second = copy("two", job_id="job", has_record=True)
    assert parts(judge_copies([second, listed])) == {"one": ("keeper", False), "two": ("copy", True)}


def test_a_copy_stays_for_its_record_where_that_names_no_file_of_the_group() -> None:
    other = copy("one", named_by=("job-one",), has_record=True)
    recorded = copy("two", has_record=True)
    assert parts(judge_copies([recorded, other])) == {"one": ("keeper", False), "two": ("copy", False)}


def test_hard_links_are_one_file_and_save_nothing() -> None:
    judged = judge_copies([copy("b", inode=7), copy("a", inode=7), copy("c", inode=7)])
    assert parts(judged) == {"a": ("keeper", False), "b": ("same-file", False), "c": ("same-file", False)}
    assert saved(judged) == 0
    assert judged[0].reason == "the only file with these bytes"
    assert judged[1].reason == "a hard link: the same file as a"


def test_one_file_seen_through_two_mounts_is_no_copy_of_itself() -> None:
    here = copy("a", inode=7)
    there = copy("b", root_id="r2")._replace(identity=here.identity._replace(dev=99))
    assert parts(judge_copies([here, there])) == {"a": ("keeper", False), "b": ("same-file", False)}


def test_a_copy_with_several_names_is_told_and_not_proposed() -> None:
    judged = judge_copies([copy("a", mtime_ns=1), copy("b", inode=7), copy("c", inode=7)])
    assert parts(judged) == {"a": ("keeper", False), "b": ("copy", False), "c": ("same-file", False)}
    assert judged[1].reason.startswith("it has several names (hard links)")


def test_a_copy_with_a_name_outside_of_what_was_seen_is_not_proposed() -> None:
    judged = judge_copies([copy("a", mtime_ns=1, links=3), copy("b", links=2), copy("c", links=1)])
    assert parts(judged) == {"a": ("keeper", False), "b": ("copy", False), "c": ("copy", True)}


def test_the_root_is_named_where_the_keeper_lies_in_another() -> None:
    judged = judge_copies([copy("a", mtime_ns=1), copy("b", root_id="r2")])
    assert judged[1].reason == "nothing refers to it, and a in root r1 has the same bytes"


def test_a_doubt_keeps_everything_and_is_told() -> None:
    judged = judge_copies([OLDEST, FIRST, LISTED], doubt="another of this size could not be read")
    assert not any(each.may_go for each in judged)
    assert judged[1].reason == judged[2].reason == "another of this size could not be read"


def test_hostile_names_become_plain_sentences() -> None:
    judged = judge_copies([copy("a\n\x1b[31m\udcff", mtime_ns=1), copy("b")])
    assert judged[1].reason == r"nothing refers to it, and a\n\x1b[31m\xff has the same bytes"


@st.composite
def groups(draw: st.DrawFn) -> list[Copy]:
    paths = draw(
        st.lists(st.tuples(st.sampled_from(["r1", "r2"]), st.text(max_size=3)), min_size=1, unique=True)
    )
    ages = draw(st.lists(st.integers(0, 2), min_size=5, max_size=5))
    made = []
    for root_id, path in paths:
        inode = draw(st.integers(0, 4))
        made.append(
            Copy(
                root_id,
                path,
                draw(st.sampled_from(["", "j1", "j2", "j3"])),
                FileIdentity(1, inode, SIZE, ages[inode], 0),
                named_by=draw(st.sampled_from([(), (), ("j1",), ("j2", "j3")])),
                has_record=draw(st.booleans()),
                is_pinned=draw(st.booleans()),
                table_row=draw(st.sampled_from(["", "", "app:1"])),
                links=draw(st.sampled_from([None, 1, 2])),
            )
        )
    return made


@given(groups(), st.sampled_from(["", "", "a doubt"]))
def test_a_keeper_stays_and_nothing_referred_to_goes(group: list[Copy], doubt: str) -> None:
    judged = judge_copies(group, doubt=doubt)
    assert sorted(each.copy for each in judged) == sorted(group)
    assert [each.part for each in judged].count(Part.KEEPER) == 1
    assert judged[0].part is Part.KEEPER
    assert not judged[0].may_go
    for each in judged:
        assert each.reason
        if each.may_go:
            assert each.part is Part.COPY
            assert not any([each.copy.named_by, each.copy.is_pinned, each.copy.table_row, doubt])
            assert (each.copy.links or 1) == 1
            assert [other.identity.inode for other in group].count(each.copy.identity.inode) == 1


@given(groups())
def test_hard_links_are_never_counted_as_copies(group: list[Copy]) -> None:
    judged = judge_copies(group)
    counted = [each.copy.identity.inode for each in judged if each.part is not Part.SAME_FILE]
    assert sorted(counted) == sorted({each.identity.inode for each in group})
    assert saved(judged) <= (len(counted) - 1) * SIZE


@given(groups(), st.randoms())
def test_the_order_in_which_files_were_met_decides_nothing(group: list[Copy], chance: Any) -> None:
    shuffled = list(group)
    chance.shuffle(shuffled)
    assert judge_copies(shuffled) == judge_copies(group)


@given(groups())
def test_a_record_that_may_lose_a_file_has_another_that_stays(group: list[Copy]) -> None:
    judged = judge_copies(group)
    for gone in judged:
        if gone.may_go and gone.copy.has_record:
            assert any(gone.copy.job_id in each.copy.named_by for each in judged if not each.may_go)
