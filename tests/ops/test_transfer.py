"""Export and import, on both databases: exact, planned, never overwriting, taken back whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from cli.calling import answer
from jobctl import __version__
from jobctl.core.dump import EXPORTED, to_document
from jobctl.core.job_rows import comparable
from jobctl.errors import ExitCode, Locked, PlanStale, UsageError
from jobctl.model.dump import DumpFormat
from jobctl.model.job import Job
from jobctl.model.names import to_stored
from jobctl.model.plan import Verb
from jobctl.model.status import Cause, Status
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.hold import hold_again, hold_store
from jobctl.ops.plan import Plan, load_plan
from jobctl.ops.runs import list_runs
from jobctl.ops.site import Site
from jobctl.ops.transfer import Dump, export_jobs, plan_import
from jobctl.ops.undo import plan_undo, roots_of_run
from jobctl.store import jobs, schema, transfer
from jobctl.store.engine import create_store
from ops.world import World, a_job_id
from store.records import show_life

FORMATS = list(DumpFormat)
_numbers = count()


@pytest.fixture
def world(store_url: str, tmp_path: Path) -> World:
    return World(store_url, tmp_path / "outputs", host="")


@pytest.fixture
def other(tmp_path: Path) -> World:
    """A fresh store of the embedded kind."""
    return fresh(tmp_path)


def fresh(directory: Path) -> World:
    url = str(directory / f"fresh-{next(_numbers)}" / "jobs.db")
    create_store(url, now=datetime.now(UTC), version=__version__)[0].close()
    return World(url, directory / "outputs", host="")


def export(world: World, file: Path | str, **options: Any) -> Path:
    with world.site() as site:
        export_jobs(site, str(file), standard_output=io.BytesIO(), **options)
    return Path(file)


def bring_in(world: World, file: Path | str, **options: Any) -> tuple[RunReport, list[str], int]:
    """Import a dump; gives the report, the reasons of what was not imported, and how much was there."""
    with world.site() as site, hold_store(site, command="import") as hold:
        proposed = plan_import(hold, Dump(file=str(file), **options), standard_input=io.BytesIO())
        with proposed.plan as plan:
            return apply_plan(hold, plan), [finding.reason for finding in plan.told()], proposed.same


def take_back(world: World, run_id: str | None) -> RunReport:
    assert run_id is not None
    with (
        world.site() as site,
        hold_again(site, roots_of_run(site, run_id), command="undo") as hold,
        plan_undo(hold, run_id) as plan,
    ):
        return apply_plan(hold, plan)


def content(world: World) -> list[dict[str, Any]]:
    """Every record as it would be exported, without what the import itself noted."""
    with world.site() as site, site.store.read() as connection:
        documents = [to_document(record) for record in transfer.stream_records(connection)]
    for document in documents:
        document["events"] = [event for event in document["events"] if event["kind"] != "imported"]
    return documents


def write(tmp_path: Path, dump: Any, name: str = "dump.json") -> Path:
    path = tmp_path / name
    path.write_text(dump if isinstance(dump, str) else json.dumps(dump))
    return path


def a_rich_store(world: World) -> None:
    """Jobs in several statuses, with all that can hang on a record."""
    with world.site() as site, site.store.write() as connection:
        at = site.store.now(connection) - timedelta(days=1)
        for number, text in enumerate(["=1+1", "'quoted", "", "-5\n;\t", "Ü\u202e[bold]", "@x"]):
            job = Job(job_id=a_job_id(number), owner=text, priority=-number, idempotency_key=f"k{number}")
            payload = {"slides": [1, 2.5, None, {"deep": text}]} if number else None
            jobs.create_job(connection, job, actor="service", at=at, payload=payload)
        first = a_job_id(0)
        changes = {"executor": site.executor, "created_files": ["a.mp4", "=b"]}
        jobs.change_status(
            connection,
            first,
            Status.PROCESSING,
            expect=Status.QUEUED,
            cause=Cause.CLAIM,
            actor="worker",
            at=at,
            changes=changes,
        )
        show_life(connection, first, progress=0.1 + 0.2, at=at)
        show_life(connection, first, progress=-12.5, at=at)
        connection.execute(
            insert(schema.artifact),
            {
                "job_id": first,
                "root_id": "some-root",
                "path": to_stored("sub/caf\udce9 \\ x.mp4"),
                "role": "video",
                "state": "missing",
                "size": 2**40,
                "mtime_ns": -1,
                "media": {"duration_s": 12.5},
                "noted_at": at,
                "run_id": "20260101-000000-abcd",
                "version": 5,
            },
        )
        result = {"result": {"ok": True, "text": "ü"}}
        known = schema.job_body.c.job_id == a_job_id(1)
        connection.execute(update(schema.job_body).where(known).values(result))


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_imported_exactly_into_a_fresh_store(
    world: World, other: World, tmp_path: Path, form: DumpFormat
) -> None:
    a_rich_store(world)
    file = export(world, tmp_path / "dump", form=form)
    report, told, _ = bring_in(other, file)
    assert (report.exit_code, report.counts["done"], told) == (ExitCode.CLEAN, 6, [])
    assert content(other) == content(world)


@pytest.mark.parametrize("form", FORMATS)
def test_what_one_kind_of_store_exports_the_other_takes(
    world: World, other: World, tmp_path: Path, form: DumpFormat
) -> None:
    a_rich_store(other)
    file = export(other, tmp_path / "dump", form=form)
    report, told, _ = bring_in(world, file)
    assert (report.exit_code, report.counts["done"], told) == (ExitCode.CLEAN, 6, [])
    assert content(world) == content(other)


@pytest.mark.parametrize("form", FORMATS)
def test_importing_again_finds_nothing_to_do(world: World, tmp_path: Path, form: DumpFormat) -> None:
    a_rich_store(world)
    before = world.tables("job", "job_body", "artifact", "event")
    report, told, same = bring_in(world, export(world, tmp_path / "dump", form=form))
    assert (report.run_id, told, same) == (None, [], 6)
    assert world.tables("job", "job_body", "artifact", "event") == before


def test_the_bytes_of_an_export_do_not_depend_on_the_database(
    world: World, other: World, tmp_path: Path
) -> None:
    a_rich_store(world)
    first = export(world, tmp_path / "1.jsonl")
    bring_in(other, first)
    lines = [json.loads(line) for line in export(other, tmp_path / "2.jsonl").read_text().splitlines()]
    for line in lines:
        assert list(line) == list(EXPORTED)
        assert line["events"].pop()["kind"] == "imported"
    assert lines == [json.loads(line) for line in first.read_text().splitlines()]


def test_history_says_that_a_job_was_imported(world: World, tmp_path: Path) -> None:
    report, _, _ = bring_in(world, write(tmp_path, {a_job_id(): {"status": "failed", "error": "x"}}))
    with world.site() as site, site.store.read() as connection:
        (event,) = jobs.history(connection, a_job_id())
    assert (event.kind, event.to_status, event.actor) == ("imported", "failed", "tester")
    assert event.run_id == report.run_id
    assert event.detail is not None
    assert event.detail["reason"] == f"dump.json: key '{a_job_id()}'"


def test_the_dump_of_a_service_in_memory(world: World, tmp_path: Path) -> None:
    dump = {
        a_job_id(0): {
            "jobId": a_job_id(0),
            "status": "completed",
            "progress": 100.0,
            "videoUrl": f"/presentations/{a_job_id(0)}/video",
            "createdAt": "2026-01-31 12:00:00.5",
            "theme": "dark",
        },
        a_job_id(1): {"status": "processing", "progress": 125, "created_files": ["a.mp4"]},
    }
    report, told, _ = bring_in(world, write(tmp_path, dump), timezone="Europe/Berlin", source="memory")
    assert (report.counts["done"], told) == (2, [])
    job = world.job(0)
    assert (job.status, job.origin, job.confidence) == ("completed", "imported", "high")
    assert job.created_at == datetime(2026, 1, 31, 11, 0, 0, 500_000, UTC)
    assert job.recovered_at is not None
    assert job.provenance is not None
    assert job.provenance["video_url"]["source"] == "memory"
    assert world.job(1).progress == 125
    (body,) = world.tables("job_body")["job_body"]
    assert body == (a_job_id(0), {"theme": "dark"}, None)


def test_a_bad_entry_is_told_and_the_rest_is_imported(world: World, tmp_path: Path) -> None:
    lines = [
        '{"job_id": "a", "status": "queued"}',
        "{",
        '{"job_id": "b", "status": 7}',
        '{"status": "queued"}',
    ]
    report, told, _ = bring_in(world, write(tmp_path, "\n".join(lines), "dump.jsonl"))
    assert (report.exit_code, report.counts["done"]) == (ExitCode.INCOMPLETE, 1)
    assert [reason.split(":")[0] for reason in told] == ["line 2", "line 3", "line 4"]
    assert "its status is of another type" in told[1]
    assert world.job_ids() == {"a"}


@pytest.mark.parametrize(
    ("field", "called", "exact"),
    [
        ("kind", "task", False),
        ("kind", "task", True),
        ("queue", "queue", False),
        ("idempotency_key", "idempotency key", True),
    ],
)
def test_a_name_that_no_index_takes_is_told_and_the_rest_is_imported(
    world: World, other: World, tmp_path: Path, field: str, called: str, exact: bool
) -> None:
    """Of other programs, and of exports: enqueueing refuses it on both databases as well."""
    long, longest = "é" * 2_000, "x" * 500
    documents = [
        {"job_id": name, "status": "queued", field: text} for name, text in (("a", longest), ("b", long))
    ]
    if exact:
        with other.site() as site, site.store.write() as connection:
            for each in documents:
                job = Job(job_id=each["job_id"], **{field: each[field]})
                jobs.create_job(connection, job, actor="ada", at=site.store.now(connection))
        file = export(other, tmp_path / "dump.jsonl")
    else:
        file = write(tmp_path, "\n".join(map(json.dumps, documents)), "dump.jsonl")
    report, (told,), _ = bring_in(world, file)
    assert (report.exit_code, report.counts["done"]) == (ExitCode.INCOMPLETE, 1)
    assert told.endswith(f": its {called} is 4,000 bytes long, more than 500")
    assert world.job_ids() == {"a"}


def test_an_owner_may_have_any_length(world: World, tmp_path: Path) -> None:
    owner = "".join(chr(0x4E00 + number % 20_000) for number in range(5_000))
    file = write(tmp_path, {"a": {"status": "queued", "owner": owner}})
    assert bring_in(world, file)[0].counts["done"] == 1


def test_a_record_that_differs_is_told_and_never_overwritten(world: World, tmp_path: Path) -> None:
    world.start_job(0)
    before = world.tables("job", "event")
    file = write(tmp_path, {a_job_id(0): {"status": "failed", "owner": "ada", "error": "x"}})
    report, (told,), _ = bring_in(world, file)
    assert report.exit_code is ExitCode.INCOMPLETE
    assert "recorded already, with another status, error" in told
    assert world.tables("job", "event") == before


def test_a_deleted_job_is_not_brought_back(world: World, tmp_path: Path) -> None:
    world.start_job(0)
    file = export(world, tmp_path / "dump.jsonl")
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(0), actor="ada", at=site.store.now(connection))
    report, (told,), _ = bring_in(world, file)
    assert "ended for good (deleted)" in told
    assert report.exit_code is ExitCode.INCOMPLETE
    assert world.job_ids() == set()


def test_entries_that_contradict_each_other_are_told_and_neither_is_taken(
    world: World, tmp_path: Path
) -> None:
    lines = [
        '{"job_id": "a", "status": "queued"}',
        '{"job_id": "b", "status": "queued"}',
        '{"job_id": "a", "status": "failed"}',
        '{"job_id": "b", "status": "queued"}',
    ]
    report, (told,), same = bring_in(world, write(tmp_path, "\n".join(lines), "dump.jsonl"))
    assert told == "line 1 and line 3: they say different things of one job"
    assert (report.counts["done"], same) == (1, 1)
    assert world.job_ids() == {"b"}


def test_an_idempotency_key_stays_with_the_job_that_has_it(
    world: World, other: World, tmp_path: Path
) -> None:
    for each, number in ((world, 0), (other, 1)):
        with each.site() as site, site.store.write() as connection:
            new = Job(job_id=a_job_id(number), idempotency_key="once")
            jobs.create_job(connection, new, actor="service", at=site.store.now(connection))
    _, (told,), _ = bring_in(world, export(other, tmp_path / "dump.jsonl"))
    assert f"job {a_job_id(0)} has its idempotency key" in told
    assert world.job_ids() == {a_job_id(0)}


def test_one_key_for_two_jobs_of_a_dump_is_a_conflict(world: World, other: World, tmp_path: Path) -> None:
    a_rich_store(other)
    lines = export(other, tmp_path / "dump.jsonl").read_text().replace('"k3"', '"k2"')
    report, _, _ = bring_in(world, write(tmp_path, lines, "altered.jsonl"))
    assert (report.counts["done"], report.counts["conflict"]) == (5, 1)
    assert report.exit_code is ExitCode.INCOMPLETE


def test_undo_removes_what_was_imported_and_importing_again_brings_it_back(
    world: World, other: World, tmp_path: Path
) -> None:
    a_rich_store(other)
    file = export(other, tmp_path / "dump.jsonl")
    imported, _, _ = bring_in(world, file)
    undone = take_back(world, imported.run_id)
    assert undone.counts["done"] == 6
    assert world.tables("job", "job_body", "artifact", "declined") == {
        "job": [],
        "job_body": [],
        "artifact": [],
        "declined": [],
    }
    again, told, _ = bring_in(world, file)
    assert (again.counts["done"], told) == (6, [])
    assert [strip(document) for document in content(world)] == [
        strip(document) for document in content(other)
    ]


def strip(document: dict[str, Any]) -> dict[str, Any]:
    """Without the history of having been taken back, which stays."""
    document["events"] = [event for event in document["events"] if event["kind"] != "undone"]
    return document


def test_what_changed_since_is_not_taken_back(world: World, tmp_path: Path) -> None:
    dump = {a_job_id(number): {"status": "failed"} for number in range(3)}
    imported, _, _ = bring_in(world, write(tmp_path, dump))
    with world.site() as site, site.store.write() as connection:
        at = site.store.now(connection)
        retry = {"expect": Status.FAILED, "cause": Cause.OPERATOR, "actor": "ada", "at": at}
        jobs.change_status(connection, a_job_id(0), Status.QUEUED, **retry)
        linked = {"root_id": "r", "path": "a.mp4", "role": "video", "state": "present", "version": 1}
        connection.execute(insert(schema.artifact), {"job_id": a_job_id(1), **linked})
    report = take_back(world, imported.run_id)
    assert (report.counts["done"], report.counts["conflict"]) == (1, 2)
    assert world.job_ids() == {a_job_id(0), a_job_id(1)}


def a_plan(site: Site, file: Path) -> Plan:
    with hold_store(site, command="import") as hold:
        return plan_import(hold, Dump(file=str(file)), standard_input=io.BytesIO()).plan


def test_a_saved_plan_is_applied_as_it_was_saved(world: World, tmp_path: Path) -> None:
    file = write(tmp_path, {"a": {"status": "queued", "extra": "x" * 2_000_000}})
    with world.site() as site:
        with a_plan(site, file) as plan:
            plan.save(str(tmp_path / "plan"))
        file.unlink()
        with (
            load_plan(str(tmp_path / "plan")) as saved,
            hold_again(site, saved.header.roots, command="apply") as hold,
        ):
            assert [action.verb for action in saved] == [Verb.IMPORT]
            assert apply_plan(hold, saved).counts["done"] == 1
    assert world.job_ids() == {"a"}


def test_what_was_made_since_the_plan_is_a_conflict(world: World, tmp_path: Path) -> None:
    dump = {a_job_id(number): {"status": "queued"} for number in range(3)}
    with world.site() as site, a_plan(site, write(tmp_path, dump)) as plan:
        world.start_job(0)
        world.start_job(1)
        with site.store.write() as connection:
            jobs.delete_job(connection, a_job_id(1), actor="ada", at=site.store.now(connection))
        with hold_store(site, command="apply") as hold:
            report = apply_plan(hold, plan)
    assert (report.counts["done"], report.counts["conflict"]) == (1, 2)
    assert world.job(0).status == "processing"


def test_a_plan_of_another_kind_may_not_import(world: World, tmp_path: Path) -> None:
    with world.site() as site, a_plan(site, write(tmp_path, {"a": {"status": "queued"}})) as plan:
        plan.save(str(tmp_path / "plan"))
    text = (tmp_path / "plan").read_text()
    forged = text.replace('"command": "import"', '"command":"recover"').replace(
        '"command":"import"', '"command":"recover"'
    )
    assert forged != text
    (tmp_path / "plan").write_text(rehashed(forged))
    with pytest.raises(PlanStale, match="import is no step of this kind of plan"):
        load_plan(str(tmp_path / "plan"))


def rehashed(text: str) -> str:
    *lines, _ = text.splitlines(keepends=True)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return "".join(lines) + json.dumps({"plan_id": digest}) + "\n"


def test_an_interrupted_import_is_gone_on_with(world: World, tmp_path: Path) -> None:
    dump = {f"job-{number:05}": {"status": "queued"} for number in range(3_000)}
    file = write(tmp_path, dump)
    with world.site() as site, a_plan(site, file) as plan:

        def die_after_the_first_chunk(transaction: Any) -> None:
            transaction.commit()
            if world.job_ids():
                site.store.commit_hook = None
                raise KeyboardInterrupt

        site.store.commit_hook = die_after_the_first_chunk
        with pytest.raises(KeyboardInterrupt), hold_store(site, command="apply") as hold:
            apply_plan(hold, plan)
    assert 0 < len(world.job_ids()) < 3_000
    report, told, same = bring_in(world, file)
    assert told == []
    assert report.counts["done"] + same == len(world.job_ids()) == 3_000
    with world.site() as site:
        states = [run.state for run in list_runs(site)]
    assert states == ["finished", "abandoned"]


def test_imports_wait_for_each_other(world: World) -> None:
    with world.site() as site, world.site() as second, hold_store(site, command="import"):
        with pytest.raises(Locked, match="jobctl import"), hold_store(second, command="import"):
            pass


def test_standard_input_is_read_and_its_format_is_told_by_its_beginning(world: World) -> None:
    for number, text in enumerate(
        [
            '{"a0": {"status": "queued"}}',
            '{"job_id": "a1", "status": "queued"}\n',
            "job_id,status\na2,queued\n",
        ]
    ):
        with world.site() as site, hold_store(site, command="import") as hold:
            given_input = io.BytesIO(text.encode())
            with plan_import(hold, Dump(file="-"), standard_input=given_input).plan as plan:
                assert apply_plan(hold, plan).counts["done"] == 1
        assert f"a{number}" in world.job_ids()


def test_a_pipe_is_read_as_well(world: World) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b'[{"job_id": "a", "status": "queued"}]')
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe, world.site() as site, hold_store(site, command="import") as hold:
        with plan_import(hold, Dump(file="-"), standard_input=pipe).plan as plan:
            assert plan.total == 1


@pytest.mark.parametrize(
    ("dump", "message"),
    [
        ({"file": "missing.json"}, "cannot be read: No such file"),
        ({"file": "."}, "cannot be read: Is a directory"),
        ({"file": "dump.json", "timezone": "Mars/X"}, "no zone"),
        ({"file": "dump.json", "table": "t"}, "--table"),
        ({"file": "-", "format": DumpFormat.SQLITE}, "standard input"),
        ({"file": "dump.json", "format": DumpFormat.SQLITE}, "as a SQLite file"),
    ],
)
def test_a_dump_that_cannot_be_read_at_all_is_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dump: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"a": {"status": "queued", "why": "some text" * 200}})
    with world.site() as site, hold_store(site, command="import") as hold:
        with pytest.raises(UsageError, match=message):
            plan_import(hold, Dump(**dump), standard_input=io.BytesIO())


# --- SQLite files --------------------------------------------------------------------------


def a_sqlite_file(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return path


def test_a_table_of_any_sqlite_file_is_a_dump(world: World, tmp_path: Path) -> None:
    file = a_sqlite_file(
        tmp_path / "service.db",
        'CREATE TABLE "our jobs" (jobId TEXT, status TEXT, progress INTEGER, created_files TEXT, blob BLOB)',
        """INSERT INTO "our jobs" VALUES ('a', 'done', 100, '["a.mp4"]', x'00ff')""",
        """INSERT INTO "our jobs" VALUES (NULL, 'done', 1, NULL, NULL)""",
        "CREATE TABLE other (x)",
    )
    with pytest.raises(UsageError, match="2 tables") as told:
        bring_in(world, file)
    assert "other, our jobs" in told.value.hint
    with pytest.raises(UsageError, match="no table 'jobs'"):
        bring_in(world, file, table="jobs")
    report, (told_row,), _ = bring_in(world, file, table="our jobs")
    assert report.counts["done"] == 1
    assert told_row == "our jobs:2: it names no job"
    (body,) = world.tables("job_body")["job_body"]
    assert body[1] == {"blob": "\\x00\\xff"}


def test_an_exported_sqlite_file_can_be_asked_questions(world: World, tmp_path: Path) -> None:
    a_rich_store(world)
    file = export(world, tmp_path / "jobs.sqlite")
    with closing(sqlite3.connect(file)) as database:
        asked = database.execute(
            "SELECT count(*), typeof(max(progress)), sum(json_array_length(events)) FROM jobs"
        )
        assert asked.fetchone() == (6, "real", 7)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- exports -------------------------------------------------------------------------------


def test_only_the_statuses_asked_for_are_exported(world: World, tmp_path: Path) -> None:
    a_rich_store(world)
    file = export(world, tmp_path / "dump.jsonl", statuses=[Status.PROCESSING])
    assert [json.loads(line)["job_id"] for line in file.read_text().splitlines()] == [a_job_id(0)]


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_store_is_exported_and_imported(
    world: World, other: World, tmp_path: Path, form: DumpFormat
) -> None:
    report, told, same = bring_in(other, export(world, tmp_path / "dump", form=form), format=form)
    assert (report.run_id, told, same) == (None, [], 0)


def test_many_jobs_are_exported_page_by_page(world: World, other: World, tmp_path: Path) -> None:
    dump = {f"job-{number}": {"status": "queued"} for number in range(1_203)}
    bring_in(world, write(tmp_path, dump))
    report, _, _ = bring_in(other, export(world, tmp_path / "dump.csv"))
    assert report.counts["done"] == 1_203
    assert other.job_ids() == set(dump)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_there_is_not_replaced(world: World, tmp_path: Path, form: DumpFormat) -> None:
    (tmp_path / "dump").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        export(world, tmp_path / "dump", form=form)
    assert (tmp_path / "dump").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == sorted({"dump", *os.listdir(tmp_path)} - {".dump"})


def test_a_failed_export_leaves_nothing(world: World, tmp_path: Path) -> None:
    a_rich_store(world)

    def stop(step: Any) -> None:
        raise KeyboardInterrupt

    dump = {f"job-{number}": {"status": "queued"} for number in range(1_000)}
    bring_in(world, write(tmp_path, dump))
    (tmp_path / "out").mkdir()
    for form in FORMATS:
        with pytest.raises(KeyboardInterrupt):
            export(world, tmp_path / "out" / "dump", form=form, progress=stop)
    assert os.listdir(tmp_path / "out") == []
    with pytest.raises(UsageError, match="cannot be made"):
        export(world, tmp_path / "missing" / "dump")


def test_standard_output_takes_all_but_sqlite(world: World) -> None:
    a_rich_store(world)
    out = io.BytesIO()
    with world.site() as site:
        done = export_jobs(site, "-", standard_output=out)
        assert (done.jobs, done.format) == (6, DumpFormat.JSON_LINES)
        assert len(out.getvalue().splitlines()) == 6
        with pytest.raises(UsageError, match="standard output"):
            export_jobs(site, "-", form=DumpFormat.SQLITE, standard_output=out)


# --- whatever a record holds -----------------------------------------------------------------

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=64)
MOMENT = st.datetimes(timezones=st.just(UTC)).map(format_timestamp)
STATUS = st.sampled_from([status.value for status in Status])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.none() | st.dictionaries(TEXT, JSON, max_size=3)
INT32 = st.integers(-(2**31), 2**31 - 1)
ARTIFACT = st.fixed_dictionaries(
    {
        "root_id": TEXT,
        "path": st.from_regex(r"[a-z =\n]{1,9}", fullmatch=True),
        "role": TEXT,
        "state": st.sampled_from(["present", "missing", "quarantined", "purged"]),
        "size": st.none() | st.integers(0, 2**62),
        "sha256": st.none() | TEXT,
        "mtime_ns": st.none() | st.integers(-(2**62), 2**62),
        "verdict": st.none() | TEXT,
        "tier": st.none() | TEXT,
        "media": OBJECT,
        "noted_at": st.none() | MOMENT,
        "run_id": st.none() | TEXT,
    }
)
EVENT = st.fixed_dictionaries(
    {
        "at": MOMENT,
        "kind": TEXT,
        "actor": TEXT,
        "run_id": st.none() | TEXT,
        "attempt": st.none() | INT32,
        "from_status": st.none() | STATUS,
        "to_status": st.none() | STATUS,
        "detail": OBJECT,
    }
)
EXECUTOR = st.fixed_dictionaries(
    {"host": TEXT, "boot_id": TEXT, "pid": INT32, "pid_start": st.integers(0, 2**62), "instance": TEXT}
)
RECORD = st.fixed_dictionaries(
    {
        "job_id": st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9),
        "status": STATUS,
        **dict.fromkeys(("progress", "max_progress"), st.none() | NUMBER),
        **dict.fromkeys(
            ("error", "video_url", "thumbnail_url", "slide_image_path", "owner"), st.none() | TEXT
        ),
        **dict.fromkeys(("error_code", "idempotency_key", "root_id"), st.none() | TEXT),
        **dict.fromkeys(("kind", "queue"), TEXT),
        **dict.fromkeys(("created_at", "completed_at", "last_heartbeat"), st.none() | MOMENT),
        **dict.fromkeys(("run_at", "started_at", "recovered_at"), st.none() | MOMENT),
        **dict.fromkeys(("priority", "attempt", "spared", "max_attempts"), INT32),
        "created_files": st.none() | st.lists(TEXT, max_size=3),
        "executor": st.none() | EXECUTOR,
        "provenance": st.none() | st.dictionaries(TEXT, st.dictionaries(TEXT, JSON, max_size=2), max_size=2),
        "origin": st.sampled_from(["created", "recovered", "imported"]),
        "confidence": st.none() | st.sampled_from(["certain", "high", "medium", "low"]),
        "body": st.fixed_dictionaries(
            {
                "payload": st.none() | JSON,
                "result": st.none() | JSON,
                "artifacts": st.lists(
                    ARTIFACT, max_size=2, unique_by=lambda file: (file["root_id"], file["path"])
                ),
                "events": st.lists(EVENT, max_size=3),
            }
        ),
    }
)


@given(
    records=st.lists(
        RECORD,
        min_size=1,
        max_size=3,
        unique_by=(lambda r: r["job_id"], lambda r: (r["kind"], r["idempotency_key"])),
    ),
    form=st.sampled_from(FORMATS),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_a_record_holds_comes_back_from_a_dump(
    world: World, tmp_path: Path, records: list[dict[str, Any]], form: DumpFormat
) -> None:
    directory = tmp_path / str(next(_numbers))
    directory.mkdir()
    documents = sorted(map(to_document, records), key=lambda each: each["job_id"])
    for document in documents:
        document["artifacts"].sort(key=lambda file: (file["root_id"], file["path"]))
    first = write(directory, "\n".join(map(json.dumps, documents)), "first.jsonl")
    with world.site() as site, site.store.write() as connection:
        for name in ("job", "job_body", "artifact", "event", "run", "run_action"):
            connection.execute(delete(schema.metadata.tables[name]))
    _, told, _ = bring_in(world, first)
    assert told == []
    assert comparable(content(world)) == comparable(documents)
    file = export(world, directory / "second", form=form)
    target = fresh(directory)
    _, told, _ = bring_in(target, file, format=form)
    assert told == []
    assert comparable(content(target)) == comparable(documents)


def test_a_table_that_the_settings_name_is_imported_like_a_dump(world: World, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.execute(
            "CREATE TABLE presentation_jobs (job_id, status, progress, created_at, video_url, error)"
        )
        rows = [
            (a_job_id(0), "processing", 45, "2026-01-31T10:00:00", None, None),
            (
                a_job_id(1),
                "completed",
                100,
                "2026-01-31T10:00:00",
                f"/presentations/{a_job_id(1)}/video",
                None,
            ),
        ]
        database.executemany("INSERT INTO presentation_jobs VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.close()
    names = ("job_id", "status", "progress", "created_at", "video_url", "error")
    columns = ", ".join(f'{name} = "{name}"' for name in names)
    config = tmp_path / "jobctl.toml"
    config.write_text(
        f'[[source]]\nname = "jobs"\ndatabase = "{tmp_path / "app.db"}"\n'
        f'table = "presentation_jobs"\ncolumns = {{ {columns} }}\n'
    )
    place = ["--config", str(config)]
    told = answer("import", "source:jobs", "--yes", *place, database=world.url)
    assert (told["exit_code"], told["counts"]["done"]) == (0, 2)
    assert (world.job(0).status, world.job(0).progress) == ("processing", 45)
    assert world.job(1).status == "completed"
    unknown = answer("import", "source:gone", "--yes", *place, database=world.url)
    assert (unknown["exit_code"], unknown["errors"][0]["hint"]) == (2, "sources of the configuration: jobs")
