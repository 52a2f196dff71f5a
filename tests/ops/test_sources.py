"""Every configured source read once: facts sorted by job, references, and what could not be read."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobctl.core.foreign import facts_of_row
from jobctl.model.evidence import Trust
from jobctl.ops.site import Progress
from jobctl.ops.sources import SourceCount, read_sources
from jobctl.source import sources_from_list
from jobctl.store.foreign import read_source
from ops.world import World


@pytest.fixture
def world(store_url: str, tmp_path: Path) -> World:
    return World(store_url, tmp_path / "outputs")


def a_table(path: Path, rows: list[tuple[Any, ...]]) -> str:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (id TEXT, owner TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        database.commit()
    return str(path)


def an_entry(name: str, database: str, **more: Any) -> dict[str, Any]:
    columns = {"job_id": "id", "owner": "owner"}
    return {"name": name, "table": "t", "database": database, "columns": columns, **more}


def configure(world: World, *entries: dict[str, Any]) -> None:
    world.changes["sources"] = sources_from_list(list(entries), "test")


def test_without_sources_there_is_nothing(world: World) -> None:
    with world.site() as site, read_sources(site) as read:
        assert list(read.stream()) == []
        assert (read.counts, read.errors) == ({}, [])
        assert read.knows_all_references


def test_facts_come_sorted_by_job_whatever_the_order_of_rows(world: World, tmp_path: Path) -> None:
    ids = [f"job-{number}" for number in range(3_000)] + ["Z", "a", "a-b", "a.b", "a_b"]
    shuffled = random.Random(1).sample(ids, len(ids))
    half = len(ids) // 2
    first = a_table(tmp_path / "1.db", [(job_id, "ada") for job_id in shuffled[:half]])
    second = a_table(tmp_path / "2.db", [(job_id, "bob") for job_id in shuffled[half:]])
    configure(world, an_entry("one", first), an_entry("two", second))
    with world.site() as site, read_sources(site) as read:
        streamed = [job_id for job_id, fact in read.stream() if fact.field == "owner"]
        assert streamed == sorted(ids, key=str.encode)
        parts = [read.stream("", "a"), read.stream("a", "job-2"), read.stream("job-2", None)]
        assert [job_id for part in parts for job_id, fact in part if fact.field == "owner"] == streamed
        assert read.counts == {"one": SourceCount(half, 0), "two": SourceCount(len(ids) - half, 0)}


def test_a_fact_comes_out_of_the_spool_as_it_was(world: World, tmp_path: Path) -> None:
    configure(world, an_entry("one", a_table(tmp_path / "1.db", [("a", "ada")])))
    (source,) = world.settings.sources
    (row,) = read_source(source, default_database="unused")
    direct = list(facts_of_row(source.name, row, zone=ZoneInfo(source.timezone)))
    with world.site() as site, read_sources(site) as read:
        assert [fact for _, fact in read.stream()] == direct
    assert direct[1][:6] == ("a", "owner", "ada", "one", "t:1", Trust.SIDECAR)


def test_one_source_that_fails_is_told_and_the_rest_goes_on(world: World, tmp_path: Path) -> None:
    good = an_entry("good", a_table(tmp_path / "1.db", [("a", "ada"), ("unknown", "x")]))
    configure(world, an_entry("gone", str(tmp_path / "none.db")), good)
    with world.site() as site, read_sources(site) as read:
        assert [error.code for error in read.errors] == ["source-unusable"]
        assert read.unread == ["gone"]
        assert not read.knows_all_references
        assert read.counts["good"] == SourceCount(1, 1)
        assert {job_id for job_id, _ in read.stream()} == {"a"}


def test_a_source_that_does_not_refer_protects_nothing(world: World, tmp_path: Path) -> None:
    one = an_entry("one", a_table(tmp_path / "1.db", [("a", "ada")]))
    two = an_entry("two", a_table(tmp_path / "2.db", [("b", "ada")]), references=False)
    configure(world, one, two, an_entry("gone", str(tmp_path / "none.db"), references=False))
    with world.site() as site, read_sources(site) as read:
        assert list(read.references()) == [("a", "t:1")]
        assert read.knows_all_references


def test_long_readings_say_how_far_they_are(world: World, tmp_path: Path) -> None:
    configure(world, an_entry("one", a_table(tmp_path / "1.db", [(f"j{n}", "") for n in range(2_500)])))
    told: list[Progress] = []
    with world.site() as site, read_sources(site, progress=told.append):
        assert [(step.phase, step.done, step.detail) for step in told] == [
            ("evidence", 1_000, "one"),
            ("evidence", 2_000, "one"),
        ]
