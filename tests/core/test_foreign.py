"""Rows of other tables in jobctl's words."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.foreign import (
    SourceRow,
    as_job_id,
    facts_of_row,
    file_list,
    job_id_named,
    json_safe,
    moment_text,
    number,
    status_named,
    without_secrets,
)
from jobctl.model.evidence import Fact, Trust

JOB = "0d9f7a34-7a35-4a33-8b5c-0a6b7c8d9e0f"
BERLIN = ZoneInfo("Europe/Berlin")


def facts(**fields: Any) -> dict[str, Fact]:
    return {fact.field: fact for fact in facts_of_row("t", SourceRow(JOB, fields, "t:1"), zone=UTC)}


@pytest.mark.parametrize(
    ("value", "job_id"),
    [
        (JOB, JOB),
        (f" {JOB}\n", JOB),
        (JOB.upper(), JOB),
        ("render-17", "render-17"),
        (17, "17"),
        ("unknown", None),
        ("None", None),
        ("", None),
        (True, None),
        ("a b", None),
        ("../etc", None),
        (["x"], None),
    ],
)
def test_what_is_a_job_id(value: Any, job_id: str | None) -> None:
    assert as_job_id(value) == job_id


def test_a_row_is_about_the_job_it_names_else_about_the_one_in_its_url() -> None:
    url = f"https://host.example/api/custom/presentations/{JOB}/video"
    assert job_id_named({"job_id": "a-1", "video_url": url}) == "a-1"
    assert job_id_named({"job_id": "unknown", "video_url": url}) == JOB
    assert job_id_named({"thumbnail_url": f"/presentations/{JOB}/thumbnail"}) == JOB
    assert job_id_named({"job_id": "unknown", "video_url": "/presentations/unknown/video"}) is None


def test_every_row_says_that_it_names_the_job_with_the_trust_of_a_row() -> None:
    (fact,) = facts_of_row("projects", SourceRow(JOB, {}, "projects:17"), zone=UTC)
    assert fact == Fact(JOB, "job_id", JOB, "projects", "projects:17", Trust.SIDECAR, "it names the job")


def test_moments_are_in_utc() -> None:
    assert moment_text("2026-01-31 12:00:00", BERLIN) == "2026-01-31T11:00:00.000000Z"
    assert moment_text("2026-01-31T12:00:00.5+02:00", BERLIN) == "2026-01-31T10:00:00.500000Z"
    assert moment_text("2026-01-31T12:00:00Z", BERLIN) == "2026-01-31T12:00:00.000000Z"
    assert moment_text(1_769_860_800, UTC) == "2026-01-31T12:00:00.000000Z"
    assert moment_text(1_769_860_800_500, UTC) == "2026-01-31T12:00:00.500000Z"


@pytest.mark.parametrize(
    "value",
    [
        *("", "infinity", "2026-01-31", "soon", True, 17, -1, float("nan"), [], "9" * 99),
        *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.999999Z"),
        *("1979-12-31T23:59:59Z", "2100-01-01T00:00:00Z", 4_102_444_800),
        *(float("inf"), pytest.param(10**400, id="huge"), pytest.param(-(10**400), id="huge, negative")),
    ],
)
def test_what_is_no_moment_is_none(value: Any) -> None:
    assert moment_text(value, UTC) is None


def test_words_of_other_programs_stand_for_statuses() -> None:
    assert status_named("DONE") == "completed"
    assert status_named(" In Progress ") == "processing"
    assert status_named("canceled") == "cancelled"
    assert status_named("half-baked") is None
    assert status_named(3) is None


def test_an_unknown_status_is_no_fact_but_a_note() -> None:
    told = facts(status="half-baked", owner="ada", progress="much")
    assert told.keys() == {"job_id", "owner"}
    assert "its status 'half-baked' is not understood" in told["job_id"].note
    assert "progress" in told["job_id"].note


def test_progress_is_a_number_or_nothing() -> None:
    assert [number(value) for value in ("75", "75 %", 125.5, Decimal("3.5"))] == [75, 75, 125.5, 3.5]
    assert [number(value) for value in (True, "x", "nan", float("inf"), None, [])] == [None] * 6


def test_created_files_are_a_list_of_names_or_nothing() -> None:
    assert file_list(["a.mp4"]) == file_list('["a.mp4"]') == ["a.mp4"]
    assert file_list("a.mp4") is file_list([1]) is file_list({"a": 1}) is None


def test_no_secret_of_a_url_becomes_evidence() -> None:
    told = facts(video_url="https://user:pw@host/v.mp4?X-Amz-Signature=abc&X-Amz-Credential=x")
    assert told["video_url"].value == "https://host/v.mp4"
    assert without_secrets("/presentations/1/video?v=2") == "/presentations/1/video?v=2"
    assert without_secrets("https://host/a@b?sig=1") == "https://host/a@b"


def test_a_url_without_end_is_read_in_no_time() -> None:
    """Seen to take hours: each word for a secret made a new search of all that follows."""
    url = "https://host/v?" + "key" * 200_000
    assert without_secrets(url) == url
    assert without_secrets(f"{url}=1") == "https://host/v"


def test_values_of_any_type_become_json() -> None:
    value = {"u": UUID(JOB), 1: b"\xff", "t": (Decimal("1.5"), float("nan")), "n": "a\0b\udcff"}
    assert json_safe(value) == {"u": JOB, "1": "\\xff", "t": ["1.5", None], "n": "a\\x00b\\udcff"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    fields=st.dictionaries(
        st.sampled_from(["status", "progress", "created_at", "created_files", "owner", "video_url"]), ANYTHING
    )
)
def test_nothing_in_a_row_breaks_the_reading(fields: dict[str, Any]) -> None:
    plain = {name: json_safe(value) for name, value in fields.items()}
    for fact in facts_of_row("t", SourceRow(JOB, plain, "t:1"), zone=BERLIN):
        assert fact.job_id == JOB
        assert fact.trust is Trust.SIDECAR
