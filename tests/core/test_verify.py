"""What is told where journal, quarantine and records do not agree, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.verify import Claim, Held, Step, compare, interrupted, judge, matched
from jobctl.model.commands import shell_word
from jobctl.model.difference import DifferenceKind
from jobctl.model.files import FileIdentity
from jobctl.model.plan import Outcome, Verb
from jobctl.model.quarantine import Entry, Whereabouts

RUN = "20260131-120000-4f1a"
HOSTILE = "a\nb\x1b[31m'; rm -rf ~\udcff.mp4"


def entry(action: int = 1, whereabouts: Whereabouts = Whereabouts.QUARANTINED, **told: Any) -> Entry:
    fields = {
        "run_id": RUN,
        "path": f"{action}.mp4",
        "job_id": f"job-{action}",
        "note": None,
        **told,
    }
    return Entry(
        action=action,
        identity=FileIdentity(1, action, 1, 1, 1),
        mode=0o644,
        uid=0,
        gid=0,
        reason="a leftover",
        role=None,
        sha256=None,
        root_id="r1",
        store_id="s1",
        at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        whereabouts=whereabouts,
        age=timedelta(days=1),
        **fields,
    )


def step(action: int = 1, outcome: Outcome = Outcome.DONE, **told: Any) -> Step:
    run_id = told.pop("run_id", RUN)
    return Step("r1", run_id, action, f"job-{action}", f"{action}.mp4", outcome, **told)


def claim(state: str, role: str = "video", status: str = "completed", job_id: str = "j1") -> Claim:
    return Claim(job_id, "r1", "1.mp4", role, state, status)


def told(found: Any) -> tuple[str, str] | None:
    return None if found is None else (found.kind.value, found.mend)


# --- journal and disk --------------------------------------------------------------------------

RESTORE = f"jobctl quarantine restore {RUN}/1"
SHOW = f"jobctl quarantine show {RUN}/1"
GONE = [Whereabouts.RESTORED, Whereabouts.PURGED, Whereabouts.IN_PLACE]


def test_a_file_that_no_run_of_the_store_moved_can_be_given_back() -> None:
    assert told(compare(entry(), None)) == ("unjournalled", RESTORE)


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.CONFLICT, Outcome.FAILED, Outcome.PENDING])
def test_a_file_is_in_quarantine_though_its_step_was_not_taken(outcome: Outcome) -> None:
    found = compare(entry(), step(outcome=outcome))
    assert told(found) == ("unjournalled", RESTORE)
    assert found is not None
    assert outcome.value in found.reason


@pytest.mark.parametrize("verb", [Verb.RESTORE, Verb.PURGE])
def test_a_file_is_still_there_that_was_released(verb: Verb) -> None:
    assert told(compare(entry(), step(released_by=verb))) == ("not-released", RESTORE)


@pytest.mark.parametrize("where", GONE)
def test_a_file_left_and_the_journal_does_not_say_so(where: Whereabouts) -> None:
    assert told(compare(entry(whereabouts=where), step())) == ("behind", SHOW)


def test_a_file_is_lost_from_quarantine() -> None:
    lost = entry(whereabouts=Whereabouts.LOST, note="another file stands at its place")
    found = compare(lost, step())
    assert told(found) == ("lost", SHOW)
    assert found is not None
    assert found.reason.endswith("another file stands at its place")


def test_a_file_is_lost_with_its_manifest() -> None:
    assert told(compare(None, step())) == ("lost", f"jobctl run show {RUN}")


@pytest.mark.parametrize("where", [*GONE, Whereabouts.LOST])
def test_nothing_is_told_of_a_file_that_no_run_moved_and_that_is_not_there(where: Whereabouts) -> None:
    assert compare(entry(whereabouts=where), None) is None


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.CONFLICT, Outcome.FAILED])
@pytest.mark.parametrize("where", [*GONE, Whereabouts.LOST])
def test_nothing_is_told_of_a_step_that_was_not_taken(where: Whereabouts, outcome: Outcome) -> None:
    assert compare(entry(whereabouts=where), step(outcome=outcome)) is None
    assert compare(None, step(outcome=outcome)) is None


@pytest.mark.parametrize("where", Whereabouts)
@pytest.mark.parametrize("outcome", Outcome)
def test_nothing_is_told_of_the_steps_of_a_run_that_is_told_itself(
    where: Whereabouts, outcome: Outcome
) -> None:
    assert compare(entry(whereabouts=where), step(outcome=outcome, is_open=True)) is None


# --- records -------------------------------------------------------------------------------------

IN_QUARANTINE = Held(RUN, 1, Whereabouts.QUARANTINED)


@pytest.mark.parametrize(
    ("state", "held", "is_there"),
    [
        ("present", None, True),
        ("present", None, None),
        ("present", IN_QUARANTINE, True),
        ("present", IN_QUARANTINE, None),
        ("quarantined", IN_QUARANTINE, False),
        ("quarantined", IN_QUARANTINE, True),
        ("quarantined", Held(RUN, 1, Whereabouts.LOST, is_told=True), False),
    ],
)
def test_records_agree(state: str, held: Held | None, is_there: bool | None) -> None:
    assert judge(claim(state), held, is_there=is_there) is None


def test_a_record_says_present_of_a_file_in_quarantine() -> None:
    assert told(judge(claim("present"), IN_QUARANTINE, is_there=False)) == ("artifact", RESTORE)


def test_recover_notes_the_missing_video_of_a_completed_job_and_only_that() -> None:
    assert told(judge(claim("present"), None, is_there=False)) == ("missing", "jobctl recover")
    assert told(judge(claim("present", role="thumbnail"), None, is_there=False)) == (
        "missing",
        "jobctl show j1",
    )
    assert told(judge(claim("present", status="failed"), None, is_there=False)) == (
        "missing",
        "jobctl show j1",
    )


@pytest.mark.parametrize("where", [*GONE, Whereabouts.LOST, None])
def test_a_record_says_quarantined_of_a_file_that_is_not(where: Whereabouts | None) -> None:
    held = Held(RUN, 1, where) if where else None
    assert told(judge(claim("quarantined"), held, is_there=False)) == ("artifact", "jobctl show j1")
    assert told(judge(claim("quarantined"), held, is_there=True)) == ("artifact", "jobctl recover")


def test_a_job_id_in_a_command_is_one_word_of_the_shell() -> None:
    found = judge(claim("quarantined", job_id=HOSTILE), None, is_there=False)
    assert found is not None
    assert found.mend == f"jobctl show {shell_word(HOSTILE)}"


# --- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "undo_of", "places", "again"),
    [
        ("cleanup", None, [], "jobctl cleanup"),
        ("duplicates", None, [], "jobctl duplicates --quarantine"),
        ("import", None, [], "jobctl import FILE"),
        ("undo", "r7", ["a/1"], "jobctl undo r7"),
        ("quarantine purge", None, ["a/1"], "jobctl quarantine purge"),
        ("quarantine restore", None, ["a/1", "b/2"], "jobctl quarantine restore a/1 b/2"),
        ("quarantine restore", None, [f"a/{n}" for n in range(9)], "jobctl quarantine restore a"),
    ],
)
def test_an_interrupted_run_is_ended_by_its_own_command(
    command: str, undo_of: str | None, places: list[str], again: str
) -> None:
    assert interrupted("r1", command, undo_of=undo_of, places=places).mend == again


# --- whatever the world ------------------------------------------------------------------------------


class Told(NamedTuple):
    """One step: what its manifest and the journal tell of it. Either may be silent."""

    entry: Entry | None
    step: Step | None


AGREEING = [
    (Whereabouts.QUARANTINED, Outcome.DONE, None),
    (Whereabouts.RESTORED, Outcome.DONE, Verb.RESTORE),
    (Whereabouts.IN_PLACE, Outcome.DONE, Verb.RESTORE),
    (Whereabouts.PURGED, Outcome.DONE, Verb.PURGE),
    (Whereabouts.IN_PLACE, Outcome.SKIPPED, None),
    (Whereabouts.RESTORED, Outcome.CONFLICT, None),
    (None, Outcome.SKIPPED, None),
    (None, Outcome.DONE, Verb.PURGE),
    (Whereabouts.RESTORED, None, None),
    (Whereabouts.PURGED, None, None),
]
RUNS = ["20260131-120000-4f1a", "20260131-120000-4f1b", "20260201-000000-0000"]


def _told(place: tuple[str, int], how: tuple[Whereabouts | None, Outcome | None, Verb | None]) -> Told:
    (run_id, action), (where, outcome, verb) = place, how
    return Told(
        None if where is None else entry(action, where, run_id=run_id, path=HOSTILE),
        None if outcome is None else step(action, outcome, released_by=verb, run_id=run_id),
    )


places = st.tuples(st.sampled_from(RUNS), st.integers(0, 12))
worlds = st.dictionaries(places, st.sampled_from(AGREEING), max_size=20).map(
    lambda world: [_told(place, how) for place, how in sorted(world.items())]
)


def differences(world: Sequence[Told]) -> list[DifferenceKind]:
    entries = (each.entry for each in world if each.entry is not None)
    steps = (each.step for each in world if each.step is not None)
    found = (compare(*pair) for pair in matched(entries, steps))
    return [each.kind for each in found if each is not None]


@given(worlds)
def test_a_world_that_agrees_has_no_differences(world: list[Told]) -> None:
    assert differences(world) == []


@given(worlds)
def test_entries_and_steps_meet_by_run_and_action_and_none_is_left_out(world: list[Told]) -> None:
    entries = [each.entry for each in world if each.entry is not None]
    steps = [each.step for each in world if each.step is not None]
    assert [Told(*pair) for pair in matched(entries, steps)] == world


def _in_quarantine(world: list[Told]) -> list[int]:
    return [
        number
        for number, each in enumerate(world)
        if each.entry is not None and each.entry.whereabouts is Whereabouts.QUARANTINED
    ]


held_worlds = worlds.filter(lambda world: bool(_in_quarantine(world)))
CORRUPTIONS: dict[str, Any] = {
    "its file is taken away": (
        lambda each: each._replace(entry=each.entry._replace(whereabouts=Whereabouts.LOST)),
        DifferenceKind.LOST,
    ),
    "its directory is taken away": (lambda each: each._replace(entry=None), DifferenceKind.LOST),
    "its file is moved back by hand": (
        lambda each: each._replace(entry=each.entry._replace(whereabouts=Whereabouts.IN_PLACE)),
        DifferenceKind.BEHIND,
    ),
    "the journal is lost": (lambda each: each._replace(step=None), DifferenceKind.UNJOURNALLED),
    "the journal calls it skipped": (
        lambda each: each._replace(step=each.step._replace(outcome=Outcome.SKIPPED)),
        DifferenceKind.UNJOURNALLED,
    ),
    "the journal calls it purged": (
        lambda each: each._replace(step=each.step._replace(released_by=Verb.PURGE)),
        DifferenceKind.NOT_RELEASED,
    ),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
@given(data=st.data())
def test_any_single_corruption_is_told_and_nothing_else(what: str, data: st.DataObject) -> None:
    world = data.draw(held_worlds)
    number = data.draw(st.sampled_from(_in_quarantine(world)))
    corrupt, kind = CORRUPTIONS[what]
    world[number] = corrupt(world[number])
    assert differences(world) == [kind]
