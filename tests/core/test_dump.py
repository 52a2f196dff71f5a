"""Documents of any origin into job rows: what is understood, what is kept, what is refused."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.cells import from_cell, from_columns, to_cell, to_columns
from jobctl.core.dump import (
    EXPORTED,
    DumpTerms,
    Wrong,
    differences,
    from_document,
    from_dump,
    split_fields,
    to_document,
)
from jobctl.core.job_rows import why_no_job
from jobctl.core.lawfulness import why_unlawful
from jobctl.core.sidecar import fields_of
from jobctl.model.plan import Action, Verb

JOB = "0d9f7a34-7a35-4a33-8b5c-0a6b7c8d9e0f"
NOW = "2026-11-05T12:00:00.000000Z"
TERMS = DumpTerms("dump.json", UTC, NOW)


def dumped(terms: DumpTerms = TERMS, **document: Any) -> dict[str, Any]:
    return from_dump(*split_fields({"job_id": JOB, "status": "queued", **document}), "line 1", terms)


def test_names_in_either_spelling_are_one_field() -> None:
    row = dumped(createdAt="2026-01-31T12:00:00", video_url="/v", createdFiles=["a.mp4"])
    assert row["created_at"] == "2026-01-31T12:00:00.000000Z"
    assert (row["video_url"], row["created_files"]) == ("/v", ["a.mp4"])


def test_a_field_that_says_two_things_is_refused() -> None:
    with pytest.raises(Wrong, match="two things as created_at"):
        dumped(createdAt="2026-01-31T12:00:00", created_at="2026-01-31T13:00:00")


def test_naive_moments_are_meant_in_the_dumps_zone() -> None:
    row = dumped(DumpTerms("d", ZoneInfo("Europe/Berlin"), NOW), created_at="2026-01-31T12:00:00")
    assert row["created_at"] == "2026-01-31T11:00:00.000000Z"


@pytest.mark.parametrize(
    "zero", ["0001-01-01T00:00:00Z", "0001-01-01 00:00:00", "0001-01-01T00:00:00.0000000"]
)
def test_a_moment_that_a_program_never_set_is_not_known(zero: str) -> None:
    assert dumped(completed_at=zero)["completed_at"] is None
    assert fields_of({"done": zero, "who": "ada"}, {"completed_at": ["done"], "owner": ["who"]}) == {
        "owner": "ada"
    }


def test_what_no_job_has_is_kept_in_the_payload() -> None:
    row = dumped(theme="dark", payload={"slides": 3}, result="fine", version=7)
    assert row["body"]["payload"] == {"theme": "dark", "version": 7, "slides": 3}
    assert row["body"]["result"] == "fine"
    assert dumped(payload=[1], theme="dark")["body"]["payload"] == {"theme": "dark", "payload": [1]}
    assert dumped(payload=[1])["body"]["payload"] == [1]


def test_an_imported_record_says_where_each_field_comes_from() -> None:
    row = dumped(owner="ada")
    assert (row["origin"], row["confidence"], row["recovered_at"]) == ("imported", "high", NOW)
    entry = {"value": "ada", "source": "dump.json", "locator": "line 1", "trust": "E3"}
    assert row["provenance"]["owner"] == entry
    assert row["provenance"].keys() == {"owner", "status"}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"status": None}, "says no status"),
        ({"status": "half-baked"}, "status 'half-baked' is not understood"),
        ({"job_id": None}, "names no job"),
        ({"job_id": "unknown"}, "job_id 'unknown'"),
        ({"created_at": "soon"}, "created_at 'soon'"),
        ({"progress": "much"}, "progress 'much'"),
        ({"attempt": 1.5}, "attempt 1.5"),
        ({"attempt": 2**40}, "attempt"),
        ({"created_files": "a.mp4"}, "created_files"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        dumped(**document)


def test_secrets_in_urls_are_not_kept() -> None:
    assert dumped(video_url="https://ada:pw@host/v.mp4?token=x")["video_url"] == "https://host/v.mp4"


def exact(**changes: Any) -> dict[str, Any]:
    return {**to_document(dumped(owner="ada")), **changes}


ARTIFACT = {
    "root_id": "r",
    "path": "a.mp4",
    "role": "video",
    "state": "present",
    **dict.fromkeys(("size", "sha256", "mtime_ns", "verdict", "tier", "media", "noted_at", "run_id")),
}
EVENT = {
    "at": NOW,
    "kind": "created",
    "actor": "ada",
    **dict.fromkeys(("run_id", "attempt", "from_status", "to_status", "detail")),
}
EXECUTOR = {"host": "h", "boot_id": "b", "pid": 1, "pid_start": 2, "instance": ""}


def test_an_export_is_read_back_as_it_was() -> None:
    document = exact(artifacts=[ARTIFACT], events=[EVENT], executor=EXECUTOR, origin="created")
    assert to_document(from_document(document)) == document


def test_an_export_of_a_version_that_did_not_count_spared_attempts_says_none() -> None:
    earlier = exact(attempt=3)
    del earlier["spared"]
    row = from_document(earlier)
    assert (row["attempt"], row["spared"]) == (3, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extra": 1}, "field no export has: 'extra'"),
        ({"status": "weird"}, "its status"),
        ({"origin": "forged"}, "its origin"),
        ({"attempt": True}, "its attempt is no whole number"),
        ({"attempt": 2**31}, "its attempt"),
        ({"progress": "75"}, "its progress"),
        ({"progress": float("nan")}, "its progress"),
        ({"owner": "a\0b"}, "no database takes"),
        ({"payload": {"a": "\ud800"}}, "no database takes"),
        ({"created_at": "2026-01-31T12:00:00"}, "its created_at is no moment"),
        ({"created_at": "2026-01-31T12:00:00.1+05:00"}, "its created_at is no moment"),
        ({"created_at": "0001-01-01T00:00:00.000000Z"}, "its created_at is no moment"),
        ({"run_at": "9999-12-31T00:00:00.000000Z"}, "its run_at is no moment"),
        ({"events": [{**EVENT, "at": "9999-12-31T23:59:59.999999Z"}]}, "its at is no moment"),
        ({"executor": {"host": "h"}}, "its executor"),
        ({"provenance": {"status": "x"}}, "its provenance"),
        ({"artifacts": [{"path": "a"}]}, "in its artifacts"),
        ({"artifacts": [{**ARTIFACT, "path": "../a"}]}, "path below a root"),
        ({"artifacts": [{**ARTIFACT, "path": "/a"}]}, "path below a root"),
        ({"artifacts": [ARTIFACT, ARTIFACT]}, "names a file twice"),
        ({"artifacts": [{**ARTIFACT, "state": "stolen"}]}, "its state"),
        ({"events": {"a": 1}}, "no list"),
        ({"events": [{**EVENT, "at": None}]}, "its at is no moment"),
        ({"events": [{**EVENT, "to_status": "weird"}]}, "its to_status is no status"),
        ({"events": [{**EVENT, "detail": {"retry_after_s": "long"}}]}, "its detail"),
        ({"events": [{**EVENT, "detail": ["cause"]}]}, "its detail"),
        ({"artifacts": [{**ARTIFACT, "media": {"duration_s": "long"}}]}, "its media"),
        ({"job_id": ""}, "its job id is none"),
        ({"job_id": "x" * 201}, "its job id is none"),
    ],
)
def test_an_altered_export_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        from_document(exact(**changes))


def test_only_what_a_dump_speaks_of_is_compared() -> None:
    recorded = dumped(owner="ada", progress=75)
    assert differences(dumped(owner="ada"), recorded, exact=False) == []
    assert differences(dumped(owner="bob", status="failed"), recorded, exact=False) == ["status", "owner"]
    assert differences(dumped(theme="dark"), recorded, exact=False) == ["payload"]
    assert "progress" in differences(dumped(owner="ada"), recorded, exact=True)


def step(**changes: Any) -> Action:
    fields = {"job_id": JOB, "reason": "dump.json: line 1", "to_status": "queued", "job_after": dumped()}
    return Action(seq=1, verb=Verb.IMPORT, **{**fields, **changes})


def test_a_step_read_from_a_plan_is_held_to_the_same_rules() -> None:
    assert why_unlawful(step(), command="import") is None
    assert why_unlawful(step(), command="undo")
    assert why_unlawful(step(job_before=dumped()), command="import")
    assert why_unlawful(step(job_after={**dumped(), "owner": 3}), command="import") == "its owner is no text"
    assert why_unlawful(step(job_after={**dumped(), "job_id": "other"}), command="import")
    without_body = {name: value for name, value in dumped().items() if name != "body"}
    assert why_unlawful(step(job_after=without_body), command="import") == "its fields are not those of a job"


@given(st.none() | st.text() | st.floats(allow_nan=False) | st.integers())
def test_a_cell_of_a_table_is_read_back_and_is_no_formula(value: Any) -> None:
    cell = to_cell(value)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_cell(cell) == (None if value is None else str(value))


def test_columns_are_read_back_from_native_values_and_from_text() -> None:
    document = exact(artifacts=[ARTIFACT], payload={"a": [1.5, None]}, progress=0.1, owner="")
    columns = to_columns(document)
    assert list(columns) == list(EXPORTED)
    assert from_columns(columns) == document
    assert from_columns({name: from_cell(to_cell(value)) for name, value in columns.items()}) == document
    with pytest.raises(Wrong, match="its attempt 'x'"):
        from_columns({"attempt": "x"})


def test_nothing_but_a_row_of_a_job_is_one() -> None:
    assert why_no_job(dumped()) is None
    assert why_no_job({}) == "its fields are not those of a job"
    assert why_no_job({**dumped(), "body": None}) == "its body is none"


def test_equal_numbers_are_no_difference_however_a_database_writes_them() -> None:
    one = dumped(payload={"a": [6.340756387544185e16, 1.0]}, result=6.682540313265169e16)
    other = dumped(payload={"a": [63407563875441850, 1]}, result=int(6.682540313265169e16))
    assert differences(one, other, exact=False) == []
    assert differences(one, dumped(payload={"a": [63407563875441950, 1]}), exact=False) == [
        "payload",
        "result",
    ]
    assert differences(dumped(payload=[10**400]), dumped(payload=[10**400 + 1]), exact=False) == ["payload"]
