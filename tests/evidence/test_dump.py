"""Dumps entry by entry: one bad entry is told with its place, and the rest is read."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.dump import Entry, Wrong
from jobctl.evidence import dump as module
from jobctl.evidence.dump import checked_fields, format_named, format_of, read_dump
from jobctl.model.dump import DumpFormat


def read(content: str | bytes, form: DumpFormat) -> list[Entry]:
    raw = content if isinstance(content, bytes) else content.encode()
    return list(read_dump(io.BytesIO(raw), form))


def documents(content: str, form: DumpFormat) -> list[Any]:
    return [entry.document for entry in read(content, form)]


def test_the_table_of_a_service_is_an_object_of_jobs() -> None:
    found = read('{"a": {"status": "queued"}, "b": {"jobId": "b", "status": "failed"}}', DumpFormat.JSON)
    assert found == [
        Entry("key 'a'", {"job_id": "a", "status": "queued"}),
        Entry("key 'b'", {"job_id": "b", "status": "failed"}),
    ]


def test_a_job_whose_id_is_a_number_is_the_one_its_key_names() -> None:
    found = read('{"17": {"job_id": 17, "status": "queued"}, "18": {"job_id": 17}}', DumpFormat.JSON)
    assert [(entry.document, entry.fault) for entry in found] == [
        ({"job_id": "17", "status": "queued"}, ""),
        (None, "it names another job, 17"),
    ]


def test_an_array_and_lines_are_read_alike() -> None:
    jobs = [{"job_id": "a"}, {"job_id": "b"}]
    assert documents(json.dumps(jobs), DumpFormat.JSON) == jobs
    assert documents("\n".join(map(json.dumps, jobs)), DumpFormat.JSON_LINES) == jobs


def test_a_bad_entry_is_told_and_the_rest_is_read() -> None:
    lines = read('{"job_id": "a"}\n{"job_id": \n\n17\n{"job_id": "b"}', DumpFormat.JSON_LINES)
    assert [(entry.where, entry.document is None) for entry in lines] == [
        ("line 1", False),
        ("line 2", True),
        ("line 4", True),
        ("line 5", False),
    ]
    entries = read('[{"job_id": "a"}, 17, {"job_id": "b"}]', DumpFormat.JSON)
    assert [entry.fault for entry in entries] == ["", "it is no JSON object", ""]
    keyed = read('{"a": {"job_id": "b"}, "c": null, "d": {}}', DumpFormat.JSON)
    assert [entry.fault for entry in keyed] == ["it names another job, 'b'", "it is no JSON object", ""]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"a": {"x": 1}, "b": {"x"', "nothing after it was read"),
        ('{"a": {"x": 1} "b": {}}', "nothing after it was read"),
        ('{"a": {"x": 1}', "nothing after it was read"),
        ('[{"x": 1}', "nothing after it was read"),
        ('[{"x": 1},', "the file is cut off"),
        ('[{"x": 1}] {}', "something follows"),
        ("", "neither a JSON array nor an object"),
        ("17", "neither a JSON array nor an object"),
    ],
)
def test_where_json_breaks_off_is_told_last(content: str, fault: str) -> None:
    *_, last = read(content, DumpFormat.JSON)
    assert last.document is None
    assert fault in last.fault


def test_what_no_reader_survives_is_told() -> None:
    assert read("[" * 100_000, DumpFormat.JSON)[-1].fault
    assert read('{"a": ' * 100_000, DumpFormat.JSON_LINES)[0].fault
    assert read(f"[{'9' * 10_000}]", DumpFormat.JSON)[0].fault
    assert read('{"a": ' + "9" * 10_000 + "}", DumpFormat.JSON_LINES)[0].fault


def test_bytes_that_are_no_utf8_do_not_lose_the_job() -> None:
    (entry,) = read(b'{"job_id": "a", "owner": "\xff"}', DumpFormat.JSON_LINES)
    assert entry.document == {"job_id": "a", "owner": "\udcff"}
    (entry,) = read(b'[{"owner": "\xff"}]', DumpFormat.JSON)
    assert entry.document == {"owner": "\udcff"}


def test_a_byte_order_mark_is_read_over() -> None:
    for form, content in (
        (DumpFormat.JSON, '[{"job_id": "a"}]'),
        (DumpFormat.JSON_LINES, '{"job_id": "a"}'),
        (DumpFormat.CSV, "job_id\na"),
    ):
        (entry,) = read("\ufeff" + content, form)
        assert entry.document == {"job_id": "a"}


def test_csv_has_a_heading_and_leaves_empty_cells_out() -> None:
    found = read('job_id,status,error\r\na,failed,"two\nlines"\r\nb,queued,\r\n', DumpFormat.CSV)
    assert found == [
        Entry("line 2", {"job_id": "a", "status": "failed", "error": "two\nlines"}),
        Entry("line 4", {"job_id": "b", "status": "queued"}),
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("job_id,status\na", "1 cells, the heading has 2"),
        ("job_id,job_id\na,b", "names a column twice"),
        ('job_id\n"a', "it is no CSV"),
    ],
)
def test_csv_that_is_none_is_told(content: str, fault: str) -> None:
    assert fault in read(content, DumpFormat.CSV)[-1].fault


def test_an_endless_line_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 64)
    found = read('{"job_id": "a", "x": "' + "y" * 300 + '"}\n{"job_id": "b"}', DumpFormat.JSON_LINES)
    assert found == [Entry("line 1", None, "it is too long"), Entry("line 2", {"job_id": "b"})]


def test_an_endless_line_of_csv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 64)
    found = read("job_id,status\na,queued\nb," + "c," * 100, DumpFormat.CSV)
    assert [entry.document for entry in found] == [{"job_id": "a", "status": "queued"}, None]
    assert "a line is too long" in found[-1].fault


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"SQLite format 3\0...", DumpFormat.SQLITE),
        (b' \n[{"job_id"', DumpFormat.JSON),
        (b'{"a": {"status": "queued"}}', DumpFormat.JSON),
        (b'{\n "a": {', DumpFormat.JSON),
        (b'{"job_id": "a", "created_files": []}\n{', DumpFormat.JSON_LINES),
        (b'{"job_id": "a"}', DumpFormat.JSON_LINES),
        (b"job_id,status\n", DumpFormat.CSV),
        (b"", DumpFormat.CSV),
    ],
)
def test_the_beginning_tells_the_format(head: bytes, form: DumpFormat) -> None:
    assert format_of(head) is form


def test_a_name_tells_the_format() -> None:
    assert format_named("/a/JOBS.NDJSON") is DumpFormat.JSON_LINES
    assert format_named("jobs.db") is DumpFormat.SQLITE
    assert format_named("jobs") is None


@pytest.mark.parametrize(
    "fields",
    [{"status": 3}, {"progress": True}, {"error": {}}, {"created_files": [1]}, {"created_at": [2026]}],
)
def test_fields_are_held_to_their_types(fields: dict[str, Any]) -> None:
    with pytest.raises(Wrong, match=f"its {next(iter(fields))} is of another type"):
        checked_fields(fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    jobs=st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=6),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 3]),
)
def test_json_is_read_whole_however_it_is_cut_into_pieces(
    jobs: list[Any], chunk: int, indent: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        assert documents(json.dumps(jobs, indent=indent), DumpFormat.JSON) == jobs
        raw = json.dumps(jobs, ensure_ascii=False).encode("utf-8", "surrogatepass")
        assert len(read(raw, DumpFormat.JSON)) == len(jobs)


@given(content=st.binary(max_size=200) | st.text(alphabet='{}[]",:ab1\\ \n').map(str.encode))
def test_nothing_in_a_dump_breaks_the_reading(content: bytes) -> None:
    for form in (DumpFormat.JSON, DumpFormat.JSON_LINES, DumpFormat.CSV):
        for entry in read(content, form):
            assert (entry.document is None) == bool(entry.fault)
    format_of(content)
