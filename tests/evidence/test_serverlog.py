"""Server logs: a record is believed where it stands in its place, however hostile the text around it."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl.errors import UsageError
from jobctl.evidence.rules import rule_sets
from jobctl.evidence.serverlog import LogReader, zone_of
from jobctl.model.logs import Mention, Says

JOB = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
OTHER = "1c8f7a5b-9b64-4e9a-8b54-1f5a6c2e8d22"
SVC = "INFO:svc:"


def read(
    text: str | bytes, *, size: int = 1 << 20, reader: LogReader | None = None
) -> list[tuple[str, Mention]]:
    content = text if isinstance(text, bytes) else text.encode()
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    reader = reader or LogReader(rule_sets({}), latest="2030")
    return [mention for batch in reader.read(blocks) for mention in batch.mentions]


def said(text: str | bytes) -> list[tuple[Says, str]]:
    return [(mention.says, mention.job_id) for _, mention in read(text)]


@pytest.mark.parametrize(
    "head",
    [
        "",
        "INFO:svc:",
        "INFO:app.services.presentation_service:🎬 ",
        "INFO:     ",
        "2025-11-04 21:01:34,123 - app.svc - INFO - ",
        "2025-11-04T21:01:34.458117Z INFO:svc:",
        "presentation-1  | INFO:svc:",
        "\x1b[36mpresentation-1  |\x1b[0m INFO:svc:",
        "presentation-1  | 2025-11-04T21:01:34.458117123Z INFO:svc:✅ ",
    ],
)
def test_a_record_is_known_behind_every_usual_head(head: str) -> None:
    assert said(f"{head}Created presentation job: {JOB}\n") == [(Says.CREATED, JOB)]


@pytest.mark.parametrize(
    "line",
    [
        f"INFO:svc:user wrote: Created presentation job: {JOB}",
        f'{{"text": "Created presentation job: {JOB}"}}',
        f"the line Created presentation job: {JOB}",
        f"frame=1 INFO svc Created presentation job: {JOB}",
    ],
)
def test_a_record_inside_other_text_is_none(line: str) -> None:
    assert read(line) == []


def test_the_container_names_the_instance_and_the_head_the_time() -> None:
    ((instance, mention),) = read(
        f"api-2  | 2025-11-04T21:01:34.458117123Z {SVC}Created presentation job: {JOB}\n"
    )
    assert (instance, mention.at, mention.line) == ("api-2", "2025-11-04T21:01:34.458117Z", 1)


def test_two_records_glued_together_are_two() -> None:
    text = (
        f"{SVC}[HEARTBEAT] Job {JOB}: status=processing, progress=10%{SVC}Created presentation job: {OTHER}\n"
    )
    assert said(text) == [(Says.REPORT, JOB), (Says.CREATED, OTHER)]


def test_a_torn_record_says_nothing_and_spoils_nothing() -> None:
    torn = f"{SVC}[HEARTBEAT] Job {JOB[:20]}"
    text = f"{torn}{SVC}Created presentation job: {OTHER}\n{SVC}Created presentation job: "
    assert said(text) == [(Says.CREATED, OTHER)]


def test_progress_bars_overwrite_their_line() -> None:
    text = f"frame=1 fps=2\rframe=2 fps=2\r{SVC}Created presentation job: {JOB}\n"
    assert said(text) == [(Says.CREATED, JOB)]


def test_a_reason_goes_on_to_the_next_record_without_what_others_print() -> None:
    text = (
        f"api-1  | ERROR:svc:Presentation {JOB} failed: no luck\n"
        "api-1  | Traceback (most recent call last):\n"
        f"api-2  | {SVC}Created presentation job: {OTHER}\n"
        "api-1  |   RuntimeError: https://host/a.mp4?signature=secret\n"
        f"api-1  | {SVC}Created presentation job: {OTHER}\n"
        "api-1  | more\n"
    )
    failed = next(mention for _, mention in read(text) if mention.says is Says.FAILED)
    assert failed.text == "no luck\nTraceback (most recent call last):\n  RuntimeError: https://host/a.mp4"


def test_a_reason_is_cut_at_a_glued_record_and_never_endless() -> None:
    glued = f"ERROR:svc:Presentation {JOB} failed: no luck{SVC}Created presentation job: {OTHER}\nmore\n"
    assert [mention.text for _, mention in read(glued)] == ["no luck", ""]
    endless = f"ERROR:svc:Presentation {JOB} failed: " + "x" * 100_000 + "\n" * 50
    assert len(read(endless)[0][1].text) == 2_000
    lines = f"ERROR:svc:Presentation {JOB} failed: no luck\n" + "".join(f"{n}\n" for n in range(100))
    assert read(lines)[0][1].text.splitlines() == ["no luck", *map(str, range(20))]


def test_a_line_without_end_does_not_pile_up() -> None:
    blocks = [f"ERROR:svc:Presentation {JOB} failed: x\n".encode(), *[b"y" * (1 << 20)] * 8]
    batches = list(LogReader(rule_sets({}), latest="2030").read(blocks))
    assert [mention.says for batch in batches for _, mention in batch.mentions] == [Says.FAILED]
    assert batches[3].end_byte >= 2 << 20


@given(size=st.integers(1, 400))
def test_the_size_of_blocks_changes_nothing(size: int) -> None:
    text = (
        f"{SVC}Created presentation job: {JOB}\n"
        f"{SVC}[HEARTBEAT] Job {JOB}: status=processing, progress=10%\n"
        f"ERROR:svc:Presentation {JOB} failed: first\nsecond\nthird\n{SVC}[HEARTBEAT] Keeping on - x\n"
        f"{SVC}Created presentation job: {OTHER}\n{SVC}Presentation {OTHER} failed: at the end\nof the log"
    )
    assert read(text, size=size) == read(text)


def test_a_last_line_without_end_is_read_but_not_counted() -> None:
    text = f"{SVC}Created presentation job: {JOB}\n{SVC}Created presentation job: {OTHER}"
    batches = list(LogReader(rule_sets({}), latest="2030").read([text.encode()]))
    assert sum(len(batch.mentions) for batch in batches) == 2
    assert (batches[-1].end_byte, batches[-1].end_line) == (text.index("\n") + 1, 1)
    assert batches[-1].tail == text[: text.index("\n") + 1].encode()


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2025-11-04T21:01:34.458117", "2025-11-04T19:01:34.458117Z"),
        ("2025-11-04 21:01:34,458", "2025-11-04T19:01:34.458000Z"),
        ("2025-11-04T21:01:34Z", "2025-11-04T21:01:34.000000Z"),
        ("2025-11-04 21:01:34 +0100", "2025-11-04T20:01:34.000000Z"),
        ("04/Nov/2025:21:01:34 -0500", "2025-11-05T02:01:34.000000Z"),
        ("2025-13-04T21:01:34", ""),
        ("1970-01-01T00:00:00", ""),
        ("2999-01-01T00:00:00", ""),
    ],
)
def test_moments_are_read_in_their_zone_and_impossible_ones_dropped(written: str, moment: str) -> None:
    reader = LogReader(rule_sets({}), zone=timezone(timedelta(hours=2)), latest="2030")
    ((_, mention),) = read(f"{SVC}[HEARTBEAT] Keeping connection alive - {written}\n", reader=reader)
    assert mention.at == moment


def test_moments_without_a_zone_are_counted() -> None:
    reader = LogReader(rule_sets({}), latest="2030")
    read("[JOB_STATUS_UPDATE] Timestamp: 2025-11-04T21:01:34\n" * 3, reader=reader)
    assert reader.naive == 3


def own(pattern: str, line: str) -> list[Mention]:
    """What somebody's own rule makes of a line."""
    rules = {"own": {"rules": [{"name": "own", "says": "report", "pattern": pattern}]}}
    reader = LogReader(rule_sets(rules), latest="2030")
    return [mention for _, mention in read(line, reader=reader)]


@pytest.mark.parametrize("job_id", ["two words", "a\0b", "../etc", "x" * 201, "\udcff"])
def test_what_a_loose_rule_takes_for_a_job_id_and_can_be_none_is_passed_over(job_id: str) -> None:
    line = f"INFO:svc:at work on <{job_id}>\n".encode("utf-8", "surrogateescape").decode("latin-1")
    assert own("at work on <(?P<job_id>[^>]*)>", line) == []
    assert [each.job_id for each in own("at work on <(?P<job_id>[^>]*)>", "at work on <job-1>")] == ["job-1"]


@pytest.mark.parametrize("progress", ["1.2.3", "half", "inf", "nan", ""])
def test_progress_that_is_no_number_is_none(progress: str) -> None:
    pattern = "job {job_id} is (?P<status>[^ ]*) at (?P<progress>[^ ]*)%"
    (mention,) = own(pattern, f"job job-1 is running at {progress}%")
    assert (mention.job_id, mention.progress) == ("job-1", None)
    (mention,) = own(pattern, "job job-1 is " + "x\0" * 100 + " at 75%")
    assert (len(mention.status) < 200, "\0" in mention.status, mention.progress) == (True, False, 75.0)


def test_zones_are_names_or_offsets() -> None:
    assert zone_of("utc") is UTC
    assert zone_of("+05:30") == timezone(timedelta(hours=5, minutes=30))
    with pytest.raises(UsageError, match="names no time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(UsageError):
        zone_of("../etc/passwd")


_PIECES = [
    f"{SVC}Created presentation job: {JOB}",
    f"{SVC}[JOB_STATUS_UPDATE] Job {JOB}: queued→processing, 0%→5%",
    f"{SVC}[HEARTBEAT] Job {OTHER}: status=",
    f"Presentation {JOB} failed: ",
    '"GET /presentations/',
    "api-1  | ",
    "\n",
    "\r",
    "INFO:",
    "avatar_690a2adf7614c96f64167739.mp4 ffmpeg ",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=30) | st.binary(max_size=30), max_size=40))
def test_any_bytes_are_read_without_error_and_no_job_is_invented(pieces: list[str | bytes]) -> None:
    text = b"".join(
        piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogatepass") for piece in pieces
    )
    for _, mention in read(text):
        assert mention.job_id in {"", JOB, OTHER}
        assert mention.job_id.encode() in text
