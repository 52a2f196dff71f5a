"""Rules for logs: the built-in ones fit the lines they are for, and wrong ones are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from jobctl.errors import ConfigurationError
from jobctl.evidence.rules import BUILT_IN, built_in, rule_sets, rules_from_mapping

JOB = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
RENDER = "690a2adf7614c96f64167739"


def rules_that_fit(message: str) -> list[str]:
    rules = [rule for name in BUILT_IN for rule in built_in(name).rules]
    return [rule.name for rule in rules if rule.pattern.match(message.encode())]


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (f"Created presentation job: {JOB}", "created"),
        (f"[PRESENTATION_SERVICE] Job ID: {JOB}", "accepted"),
        (f"Starting presentation processing for job: {JOB}", "started"),
        (f"[JOB_STATUS_UPDATE] Job {JOB}: processing→processing, 5.0%→10.0%", "status"),
        (f"[JOB_STATUS_UPDATE] Job {JOB}: queued→processing, 0%→5%", "status"),
        (
            f"[JOB_STATUS_UPDATE] Job {JOB}: processing→completed, 95%→100%".encode().decode("cp1252"),
            "status",
        ),
        ("[JOB_STATUS_UPDATE] Timestamp: 2025-11-04T21:01:34.458117", "status-time"),
        (f"[HEARTBEAT] Job {JOB}: status=processing, progress=10.0% (beat #2)", "heartbeat"),
        ("[HEARTBEAT] Keeping connection alive - 2025-11-04T21:01:34", "heartbeat-time"),
        (f"Presentation {JOB} processing completed successfully", "completed"),
        (f"Presentation {JOB} completed successfully", "completed"),
        ("Job start time: 2025-11-04 21:01:34.458117", "start-time"),
        ("Job completion time: 2025-11-04 21:01:34.458117+00:00", "completion-time"),
        (f"Presentation {JOB} failed: no space left", "failed"),
        (f"Thumbnail creation failed for job {JOB}: ffmpeg", "thumbnail-failed"),
        (f"FFmpeg -y -i /app/temp/avatar_{RENDER}.mp4 /app/presentation_{JOB}.mp4", "render"),
        (f"🎬 Running ffmpeg -i 'x/avatar_{RENDER}.mp4' slide_3_{JOB}.mp4", "render"),
        (f"Individual video for slide 2 composed: /out/slide_2_{JOB}.mp4", "slide"),
        (f"Cleaned up temporary file: /out/slide_2_{JOB}.mp4", "cleaned"),
        (f"Video product created with metadata: {JOB}", "product"),
        ("Started parent process [1]", "workers"),
        ("Starting gunicorn 21.2.0", "workers"),
        ("Started server process [1]", "process"),
        ("Professional Presentation Service initialized", "service"),
        (f'"GET /api/custom/presentations/{JOB}/video HTTP/1.1" 206', "served"),
        (f'"GET /api/custom/download/presentation_{JOB}.mp4 HTTP/1.1" 200', "served-file"),
        (f'"GET /api/custom/presentations/{JOB} HTTP/1.1" 200 41', "unknown"),
        (f'"GET /presentations/{JOB}?sig=x HTTP/2.0" 404', "unknown"),
        (f'"GET /api/custom/presentations/{JOB} HTTP/1.1" 200 OK', "asked"),
    ],
)
def test_the_built_in_rules_know_the_lines_of_the_service(message: str, rule: str) -> None:
    assert rules_that_fit(message)[:1] == [rule]


@pytest.mark.parametrize(
    "message",
    [
        f"Created presentation job: {JOB[:-1]}",  # torn
        f"Created presentation job: {JOB}ab",
        f"Request of user {JOB}",
        f'{{"jobId": "{JOB}", "note": "Created presentation job: {JOB}"}}',
        f"[HEARTBEAT] Job {JOB}: status=processing, progress=1",
        f"Presentation {JOB} will be completed successfully",
        f'"POST /api/custom/presentations/{JOB} HTTP/1.1" 200',
    ],
)
def test_what_only_looks_like_it_fits_no_rule(message: str) -> None:
    assert rules_that_fit(message) == []


RULE = {"name": "made", "says": "created", "pattern": "made {job_id}"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "not a table"),
        ({}, "no rules"),
        ({"rules": RULE}, "no rules"),
        ({"rules": [RULE], "record": "x"}, "unknown key 'record'"),
        ({"rules": ["made"]}, "rule 1 is not a table"),
        ({"rules": [{**RULE, "colour": 1}]}, "rule 1: unknown key 'colour'"),
        ({"rules": [{**RULE, "name": ""}]}, "rule 1 has no name"),
        ({"rules": [{**RULE, "says": "born"}]}, "rule made says 'born'"),
        ({"rules": [{**RULE, "pattern": "made ("}]}, "no regular expression of RE2"),
        ({"rules": [{**RULE, "pattern": r"(?P<job_id>.)\1"}]}, "no regular expression of RE2"),
        ({"rules": [{**RULE, "pattern": "made"}]}, "without a group job_id"),
        ({"rules": [{**RULE, "pattern": "made {job_id} (x)"}]}, "a group without a name"),
        ({"rules": [{**RULE, "pattern": "made {job_id} (?P<who>x)"}]}, "unknown group 'who'"),
        ({"rules": [{**RULE, "pattern": "x" * 3_000}]}, "longer than 2000"),
        ({"rules": [{**RULE, "dates": ["made"]}]}, "rules that say time date others"),
        ({"rules": [{"name": "t", "says": "time", "pattern": "{at}"}]}, "rules that say time date others"),
        ({"rules": [{"name": "t", "says": "time", "pattern": "{at}", "dates": ["x"]}]}, "dates 'x'"),
        ({"rules": [{**RULE, "within": 0}]}, "within is no number of lines"),
        ({"rules": [{**RULE, "field": "birth"}]}, "field is neither"),
        ({"rules": [{**RULE, "continues": "yes"}]}, "continues is neither"),
        ({"rules": [{**RULE, "says": "render"}]}, "without a group remote_id"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(table: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        rules_from_mapping("mine", table)
    assert said in refused.value.message
    assert refused.value.message.startswith("log rules mine: ")
    assert refused.value.message.endswith("nothing was read")


def test_own_rules_come_first_and_may_take_the_place_of_built_in_ones() -> None:
    assert [each.name for each in rule_sets({"mine": {"rules": [RULE]}})] == ["mine", *BUILT_IN]
    assert [each.name for each in rule_sets({"access": {"rules": [RULE]}})] == ["access", "presentations"]
