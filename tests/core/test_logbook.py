"""The logbook: what each life of an instance says of each job."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl.core import logbook
from jobctl.core.accounts import End, Lives, Statement, account_of, heirs_of
from jobctl.core.logbook import (
    Instance,
    Key,
    Logbook,
    Trace,
    instance_from_json,
    instance_to_json,
    stream_of,
    trace_from_json,
    trace_to_json,
)
from jobctl.evidence.rules import rule_sets
from jobctl.evidence.serverlog import LogReader
from jobctl.model.evidence import Bound, Fact

JOB = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
OTHER = "1c8f7a5b-9b64-4e9a-8b54-1f5a6c2e8d22"
RENDER = "690a2adf7614c96f64167739"  # made 2025-11-04T16:33:35Z
BOOT = "INFO:     Started server process [1]"


def created(job: str = JOB) -> str:
    return f"INFO:svc:Created presentation job: {job}"


def started(job: str = JOB) -> str:
    return f"INFO:svc:Starting presentation processing for job: {job}"


def beat(progress: float, job: str = JOB) -> str:
    return f"INFO:svc:[HEARTBEAT] Job {job}: status=processing, progress={progress}%"


def alive(time: str) -> str:
    return f"INFO:svc:[HEARTBEAT] Keeping connection alive - 2025-11-04T{time}"


def book_of(*lines: str, book: Logbook | None = None, before: int = 0) -> Logbook:
    book = book or Logbook("log", {}, lambda key: None)
    reader = LogReader(rule_sets({}), latest="2030")
    for batch in reader.read(["".join(f"{line}\n" for line in lines).encode()]):
        book.note("a.log", batch.mentions, lines_before=before)
    return book


def account(book: Logbook, job: str = JOB) -> tuple[End | None, str, dict[str, list[Fact]]]:
    """Fate, sentence and facts by field."""
    lives = Lives(
        boots={stream_of("log", name): instance.boots for name, instance in book.instances.items()},
        names={stream_of("log", name): name or "a.log" for name in book.instances},
    )
    statements = [
        Statement(key.stream, key.life, trace) for key, trace in book.traces.items() if key.job_id == job
    ]
    found = account_of(job, statements, lives)
    facts: dict[str, list[Fact]] = {}
    for fact in found.facts:
        facts.setdefault(fact.field, []).append(fact)
    return (found.fate.end, found.fate.sentence, facts) if found.fate else (None, "", facts)


def test_the_moment_on_the_next_line_dates_the_record() -> None:
    book = book_of(created(), beat(10), alive("21:00:00"), beat(20), alive("21:00:30"))
    (trace,) = book.traces.values()
    assert trace.report is not None
    assert (trace.report.at, trace.report.where, trace.progress) == (
        "2025-11-04T21:00:30.000000Z",
        "a.log:4",
        20.0,
    )


def test_a_moment_further_away_dates_nothing_but_bounds() -> None:
    book = book_of(alive("20:00:00"), created(), "DEBUG:x:y", "DEBUG:x:z", alive("21:00:00"))
    _, _, facts = account(book)
    assert [(fact.value[11:19], fact.bound) for fact in facts["created_at"]] == [
        ("21:00:00", Bound.NOT_LATER),
        ("20:00:00", Bound.NOT_BEFORE),
    ]


def test_a_moment_from_the_past_bounds_nothing() -> None:
    """Lines of several processes change places, and a clock may be set back."""
    book = book_of(alive("20:00:00"), created(), "DEBUG:x:y", "DEBUG:x:z", alive("19:00:00"))
    _, _, facts = account(book)
    assert [(fact.value[11:19], fact.bound) for fact in facts["created_at"]] == [
        ("20:00:00", Bound.NOT_BEFORE)
    ]
    assert book.instances[""].clock == "2025-11-04T20:00:00.000000Z"


def test_a_log_without_moments_and_without_ends_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "_MOST_UNDATED", 10)
    monkeypatch.setattr(logbook, "_MOST_WORKING", 20)
    book = book_of(*(created(f"{number:08x}{JOB[8:]}") for number in range(100)))
    instance = book.instances[""]
    assert (len(book.traces), len(instance.undated), len(instance.working)) == (100, 10, 20)


def test_among_containers_the_moment_may_stand_further_away() -> None:
    lines = [f"api-1  | {beat(10)}", f"api-2  | {created(OTHER)}", f"api-1  | {alive('21:00:00')}"]
    book = book_of(*lines)
    trace = book.traces[Key(JOB, "log/api-1", 0)]
    assert trace.report is not None
    assert trace.report.at == "2025-11-04T21:00:00.000000Z"


def test_start_and_completion_time_belong_to_the_completed_job() -> None:
    book = book_of(
        created(),
        f"INFO:svc:✅ Presentation {JOB} processing completed successfully",
        "INFO:svc:Job start time: 2025-11-04 20:30:00.5",
        "INFO:svc:Job completion time: 2025-11-04 21:00:00",
        f"INFO:svc:Presentation {JOB} completed successfully",
    )
    end, _, facts = account(book)
    assert end is End.COMPLETED
    assert facts["completed_at"][0].value == "2025-11-04T21:00:00.000000Z"
    assert facts["started_at"][0].value == "2025-11-04T20:30:00.500000Z"
    assert facts["created_at"][-1][2:] == (
        "2025-11-04T20:30:00.500000Z",
        "log",
        "a.log:3",
        *facts["created_at"][-1][5:],
    )


def test_a_boot_interrupts_what_had_not_ended_with_its_last_progress() -> None:
    book = book_of(created(), beat(10), alive("21:00:00"), beat(42.5), BOOT, created(OTHER))
    assert account(book)[:2] == (
        End.INTERRUPTED,
        "interrupted at 42.5 % by restart 1 of a.log (a.log:5) after 2025-11-04T21:00:00Z",
    )
    assert account(book, OTHER)[0] is End.OPEN


def test_what_ended_before_the_boot_was_lost_in_it_but_not_interrupted() -> None:
    book = book_of(created(), f"INFO:svc:Presentation {JOB} completed successfully", BOOT)
    end, _, facts = account(book)
    assert end is End.COMPLETED
    assert facts["lost_in"][0].value == "restart 1 of a.log (a.log:3)"


def test_several_markers_are_one_boot() -> None:
    marker = "INFO:svc:🎬 Professional Presentation Service initialized"
    book = book_of(BOOT, marker, created(), marker, BOOT, marker)
    assert len(book.instances[""].boots) == 1


def test_a_boot_speaks_only_for_its_own_container() -> None:
    book = book_of(f"api-1  | {created()}", f"api-2  | {created(OTHER)}", f"api-2  | {BOOT}")
    assert account(book)[0] is End.OPEN
    assert account(book, OTHER)[0] is End.INTERRUPTED


def test_a_boot_that_a_job_outlives_proves_nothing() -> None:
    book = book_of(created(), created(OTHER), BOOT, beat(50, OTHER))
    assert account(book)[0] is End.OPEN


def test_where_several_workers_share_a_log_only_their_parents_start_is_a_boot() -> None:
    parent, worker = "INFO:     Started parent process [1]", "INFO:     Started server process [8]"
    book = book_of(parent, worker, worker, created(), created(OTHER), "INFO:     Started server process [12]")
    assert account(book)[0] is account(book, OTHER)[0] is End.OPEN
    assert account(book_of(parent, book=book, before=6))[0] is End.INTERRUPTED


def test_a_job_begun_anew_after_the_boot_is_judged_by_its_new_life() -> None:
    book = book_of(created(), created(OTHER), BOOT, started(), beat(70))
    assert account(book)[0] is End.OPEN
    assert account(book, OTHER)[0] is End.INTERRUPTED


def test_failure_and_a_new_start_reopen_the_job() -> None:
    book = book_of(created(), f"ERROR:svc:Presentation {JOB} failed: no luck")
    assert account(book)[:2] == (End.FAILED, "no luck")
    assert account(book_of(started(), book=book, before=2))[0] is End.OPEN


def test_a_render_dates_what_has_no_date() -> None:
    line = f"INFO:svc:FFmpeg -i /tmp/avatar_{RENDER}.mp4 /out/presentation_{JOB}.mp4"
    end, sentence, facts = account(book_of(created(), line, BOOT))
    assert end is End.INTERRUPTED
    assert sentence.endswith("after 2025-11-04T16:33:35Z")
    assert facts["remote_ids"][0].value == [RENDER]
    assert [(fact.value, fact.bound) for fact in facts["created_at"]] == [
        ("2025-11-04T16:33:35.000000Z", Bound.NOT_LATER)
    ]


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        ([f'"GET /presentations/{JOB} HTTP/1.1" 200 OK'], None),
        ([f'"GET /presentations/{JOB} HTTP/1.1" 200 OK'] * 2, End.ASKED),
        ([f'"GET /presentations/{JOB}/video HTTP/1.1" 206'], End.ASKED),
    ],
)
def test_one_request_proves_nothing(lines: list[str], end: End | None) -> None:
    assert account(book_of(*lines))[0] is end


def test_access_lines_do_not_make_a_job_outlive_a_boot() -> None:
    book = book_of(created(), BOOT, f'INFO:     10.0.0.1:5 - "GET /presentations/{JOB} HTTP/1.1" 200 41')
    assert account(book)[0] is End.INTERRUPTED


LINES = st.lists(
    st.sampled_from(
        [
            created(),
            created(OTHER),
            started(),
            started(OTHER),
            beat(5),
            beat(70, OTHER),
            alive("21:00:00"),
            alive("22:00:00"),
            f"INFO:svc:Presentation {JOB} completed successfully",
            "INFO:svc:Job completion time: 2025-11-04 21:30:00",
            f"ERROR:svc:Presentation {OTHER} failed: no luck",
            f'INFO:     10.0.0.1:5 - "GET /presentations/{JOB} HTTP/1.1" 200 41',
            "INFO:     Started parent process [1]",
            BOOT,
        ]
    ),
    max_size=25,
)


@given(lines=LINES, share=st.floats(0, 1))
def test_reading_in_pieces_comes_to_the_same(lines: list[str], share: float) -> None:
    cut = int(len(lines) * share)
    first = book_of(*lines[:cut])
    kept = {key: trace_to_json(trace) for key, trace in first.traces.items()}
    states = {name: json.loads(json.dumps(instance_to_json(each))) for name, each in first.instances.items()}
    second = Logbook(
        "log",
        {name: instance_from_json(state) for name, state in states.items()},
        lambda key: trace_from_json(json.loads(json.dumps(kept[key]))) if key in kept else None,
    )
    reader = LogReader(rule_sets({}), latest="2030")
    for batch in reader.read(["".join(f"{line}\n" for line in lines[cut:]).encode()], at_line=cut):
        second.note("a.log", batch.mentions)
    whole = book_of(*lines)
    assert {**first.traces, **second.traces} == whole.traces
    assert second.instances == whole.instances


@given(lines=LINES)
@example(
    lines=[
        "INFO:svc:[HEARTBEAT] Keeping connection alive - 2025-11-04T22:00:00",
        f"INFO:svc:Created presentation job: {JOB}",
        "INFO:     Started parent process [1]",
        f"INFO:svc:Created presentation job: {JOB}",
        # An end that says to have been before the restart.
        f"INFO:svc:Presentation {JOB} completed successfully",
        "INFO:svc:Job completion time: 2025-11-04 21:30:00",
    ]
)
def test_only_what_had_not_ended_when_its_own_instance_booted_is_interrupted(lines: list[str]) -> None:
    book = book_of(*lines)
    for job in (JOB, OTHER):
        if account(book, job)[0] is End.INTERRUPTED:
            last = max(number for number, line in enumerate(lines) if job in line and "GET" not in line)
            assert "completed" not in lines[last]
            assert "failed" not in lines[last]
            assert any("Started" in line for line in lines[last:])


def test_a_log_split_over_files_goes_on_where_a_job_does() -> None:
    first = Statement("a", 2, Trace(created=book_mark(), first=book_mark(), last=book_mark()))
    second = Statement("b", 0, Trace(report=book_mark(), first=book_mark(), last=book_mark()))
    assert heirs_of([(JOB, [second, first])], {"a": 2, "b": 1}) == {"a": "b"}
    assert heirs_of([(JOB, [second, first])], {"a": 3, "b": 1}) == {}
    third = second._replace(stream="c")
    assert heirs_of([(JOB, [first, second]), (OTHER, [first, third])], {"a": 2, "b": 1, "c": 1}) == {}
    begun_anew = Statement("b", 0, Trace(created=book_mark(), first=book_mark(), last=book_mark()))
    assert heirs_of([(JOB, [first, begun_anew])], {"a": 2, "b": 1}) == {}


def book_mark() -> object:
    (trace,) = book_of(created()).traces.values()
    return trace.created


def test_an_instance_keeps_its_state_as_json() -> None:
    book = book_of(created(), beat(5), BOOT, started(), beat(6))
    instance = book.instances[""]
    assert instance_from_json(json.loads(json.dumps(instance_to_json(instance)))) == instance
    assert instance != Instance()
