"""From findings to actions, each with its reason, its conditions and its inverse."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cases import DAY, DEAD, JOB, NOON, ROOT, case, deep, linked, other, record, video, world
from jobctl.core.accounts import Account
from jobctl.core.case import Case
from jobctl.core.custody import quarantine
from jobctl.core.inverse import invert
from jobctl.core.lawfulness import why_unlawful
from jobctl.core.planning import Material, Proposal, Terms, propose
from jobctl.core.rebuild import UrlForms, believe
from jobctl.core.reconcile import reconcile
from jobctl.core.sidecar import SidecarSays
from jobctl.model.evidence import Bound, Fact, Trust
from jobctl.model.files import Check, Media, Role, Seen, Stamp, Tier, Verdict
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.plan import Action, Verb
from jobctl.model.timestamps import format_timestamp, parse_timestamp

TERMS = Terms(planned_at="2025-11-06T00:00:00.000000Z", latest="2025-11-07T00:00:00.000000Z", urls=UrlForms())
THUMBNAIL = other(Role.THUMBNAIL, f"thumbnail_{JOB}.jpg")
SLIDE = other(Role.SLIDE, f"slide_1_{JOB}.mp4")
MEDIA = Media("mp4", 12.5, 1280, 720, "h264", "aac", None, None)


def plan(
    given_case: Case, *, row: dict[str, Any] | None = None, artifacts: Any = None, **probe: Any
) -> Proposal:
    given_case.findings = reconcile(given_case, world())
    probes = {file.seen: deep(file, **probe) for file in given_case.videos}
    return propose(Material(given_case, probes, row, artifacts or {}, TERMS))


def row_of(status: str, **changes: Any) -> dict[str, Any]:
    row = {
        "job_id": JOB,
        "status": status,
        "progress": 75.0,
        "attempt": 1,
        "owner": "ada",
        "kind": "presentation",
    }
    return {**row, **changes}


def test_an_orphan_becomes_a_completed_record_with_provenance_for_each_field() -> None:
    (create, link), told = plan(case(video(), THUMBNAIL), media=MEDIA)
    assert told == []
    assert create.verb is Verb.CREATE
    assert create.expect_version is None
    assert create.expect_file == video().seen.identity
    job = create.job_after
    assert job is not None
    assert (job["status"], job["progress"], job["origin"]) == ("completed", 100.0, "recovered")
    assert job["video_url"] == f"/presentations/{JOB}/video"
    assert job["thumbnail_url"] == f"/presentations/{JOB}/thumbnail"
    assert job["completed_at"] == "2025-11-05T00:00:00.000000Z"
    assert {
        "status",
        "video_url",
        "thumbnail_url",
        "completed_at",
        "created_at",
        "size",
        "duration_s",
    } <= set(job["provenance"])
    assert all({"value", "source", "locator", "trust"} <= set(entry) for entry in job["provenance"].values())
    assert create.artifact_after is not None
    assert create.artifact_after["media"]["duration_s"] == 12.5
    assert (link.verb, link.path) == (Verb.LINK, THUMBNAIL.seen.path)


def test_what_nothing_tells_stays_empty() -> None:
    (create,), _ = plan(case(video()))
    assert create.job_after is not None
    assert {"owner", "thumbnail_url", "error", "executor"}.isdisjoint(create.job_after)


def test_what_a_sidecar_contradicts_is_not_created() -> None:
    """Neither of the two is believed then."""
    given_case = case(video())
    given_case.findings = reconcile(given_case, world())
    (file,) = given_case.videos
    says = {file.seen: [SidecarSays([], "its sidecar is of job other")]}
    proposal = propose(Material(given_case, {file.seen: deep(file)}, None, {}, TERMS, says))
    told = [(finding.kind, finding.reason) for finding in proposal.told]
    assert (proposal.actions, told) == ([], [(Kind.CONFLICT, "its sidecar is of job other")])


def test_a_whole_video_overrules_the_status_that_a_table_still_has() -> None:
    earlier = Fact(JOB, "status", "processing", "projects", "projects:17", Trust.SIDECAR)
    known = {"record": record("processing"), "liveness": DEAD, "account": Account(facts=[earlier])}
    (complete,), _ = plan(case(video(), **known), row=row_of("processing"))
    assert complete.job_after is not None
    assert (complete.to_status, complete.job_after["status"]) == ("completed", "completed")


NINE, TEN = "2025-11-04T09:00:00.000000Z", "2025-11-04T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("of_value", "of_bound", "bound", "value"),
    [
        (Trust.SERVER_LOG, Trust.SERVER_LOG, Bound.NOT_LATER, TEN),
        (Trust.SERVER_LOG, Trust.NAME_AND_FILE, Bound.NOT_LATER, TEN),
        (Trust.NAME_AND_FILE, Trust.SERVER_LOG, Bound.NOT_LATER, NINE),
        (Trust.NAME_AND_FILE, Trust.SERVER_LOG, Bound.NOT_BEFORE, TEN),
    ],
)
def test_a_bound_rules_a_value_out_only_by_better_evidence(
    of_value: Trust, of_bound: Trust, bound: Bound, value: str
) -> None:
    exact = Fact(JOB, "created_at", TEN, "a", "a:1", of_value)
    limit = Fact(JOB, "created_at", NINE, "b", "b:1", of_bound, "", bound)
    for facts in ([exact, limit], [limit, exact]):
        belief = believe(facts)
        assert (belief.values, dict(belief.conflicts)) == ({"created_at": value}, {})


OWNERS = [
    Fact(JOB, "owner", "ada", "a", "a:1", Trust.SIDECAR),
    Fact(JOB, "owner", "bob", "b", "b:1", Trust.SERVER_LOG),
    Fact(JOB, "owner", "eve", "c", "c:1", Trust.NAME_AND_FILE),
]


@given(st.permutations(OWNERS), st.integers(1, 3))
def test_the_best_evidence_is_believed_in_whatever_order_it_comes(facts: list[Fact], count: int) -> None:
    best = max(facts[:count], key=lambda fact: fact.trust)
    assert believe(facts[:count]).values == {"owner": best.value}


@pytest.mark.parametrize(("minutes", "is_disputed"), [(0, False), (15, False), (16, True), (600, True)])
def test_moments_a_little_apart_are_of_one_event(minutes: int, is_disputed: bool) -> None:
    later = format_timestamp(parse_timestamp(NINE) + timedelta(minutes=minutes))
    facts = [Fact(JOB, "completed_at", at, "s", "s:1", Trust.SIDECAR) for at in (NINE, later)]
    assert bool(believe(facts).conflicts) is is_disputed


def test_a_missing_thumbnail_gets_no_url() -> None:
    (create, _), _ = plan(case(video(), SLIDE))
    assert create.job_after is not None
    assert "thumbnail_url" not in create.job_after


def test_the_creation_time_is_bounded_by_the_oldest_file() -> None:
    older = SLIDE._replace(seen=SLIDE.seen._replace(mtime_ns=NOON - DAY))
    (create, _), _ = plan(case(video(), older))
    assert create.job_after is not None
    assert create.job_after["created_at"] == "2025-11-04T00:00:00.000000Z"
    assert create.job_after["provenance"]["created_at"]["note"].startswith("not later than")


@pytest.mark.parametrize("year", [1971, 2030, 9999])
def test_an_insane_time_in_the_container_is_not_believed(year: int) -> None:
    told = Media("mov", 2.0, 64, 48, "h264", None, datetime(year, 1, 1, tzinfo=UTC), None)
    (create,), _ = plan(case(video()), media=told)
    assert create.job_after is not None
    assert create.job_after["created_at"] == "2025-11-05T00:00:00.000000Z"


@pytest.mark.parametrize("mtime_ns", [NOON + 365 * DAY, 10 * DAY, -NOON, 2**63 - 1])
def test_an_insane_file_time_is_unknown_not_believed(mtime_ns: int) -> None:
    (create,), _ = plan(case(video(mtime_ns=mtime_ns)))
    assert create.job_after is not None
    assert "completed_at" not in create.job_after


def test_a_verified_stamp_makes_the_record_certain() -> None:
    stamp = Stamp(JOB, 900, "0" * 64)
    (create,), _ = plan(case(video()), stamp=stamp, stamp_verified=True)
    assert create.confidence == "certain"
    assert create.job_after is not None
    assert create.job_after["provenance"]["status"]["trust"] == Trust.STAMP.label


def test_a_name_and_a_whole_file_make_it_only_likely() -> None:
    (create,), _ = plan(case(video()))
    assert create.confidence == "medium"


@pytest.mark.parametrize(
    ("stamp", "verified", "reason"),
    [
        (Stamp("another-job", 900, "0" * 64), True, "stamped for job another-job"),
        (Stamp(JOB, 900, "0" * 64), False, "does not match its bytes"),
    ],
)
def test_a_stamp_that_disagrees_is_a_conflict_and_nothing_is_created(stamp, verified, reason) -> None:
    actions, (finding,) = plan(case(video()), stamp=stamp, stamp_verified=verified)
    assert actions == []
    assert finding.kind is Kind.CONFLICT
    assert reason in finding.reason


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Verdict.PARTIAL, Kind.BROKEN_VIDEO),
        (Verdict.CORRUPT, Kind.BROKEN_VIDEO),
        (Verdict.UNSETTLED, Kind.UNSETTLED),
        (Verdict.UNREADABLE, Kind.UNREADABLE),
        (Verdict.UNSUPPORTED, Kind.UNREADABLE),
    ],
)
def test_what_the_deep_check_does_not_call_whole_is_told_instead(verdict: Verdict, kind: Kind) -> None:
    actions, (finding,) = plan(case(video(), THUMBNAIL), check=Check(verdict, Tier.DEMUX, "packet 7 is cut"))
    assert actions == []
    assert (finding.kind, finding.tier, finding.reason) == (kind, Tier.DEMUX, "packet 7 is cut")


def test_a_file_replaced_during_the_deep_check_is_left_alone() -> None:
    replaced = video().seen.identity._replace(inode=99)
    actions, (finding,) = plan(case(video()), identity=replaced)
    assert actions == []
    assert finding.kind is Kind.UNSETTLED


def test_an_open_record_is_completed_and_keeps_what_it_knew() -> None:
    row = row_of("processing", video_url="/old/form", progress=99.0, error="slow")
    open_case = case(video(), record=record("processing"), liveness=DEAD)
    (complete,), _ = plan(open_case, row=row)
    after = complete.job_after
    assert after is not None
    assert (complete.verb, complete.expect_version) == (Verb.COMPLETE, 3)
    assert (complete.from_status, complete.to_status) == ("processing", "completed")
    assert (after["status"], after["progress"], after["error"]) == ("completed", 100.0, None)
    assert (after["owner"], after["video_url"]) == ("ada", "/old/form")
    assert complete.job_before == row


def test_an_interrupted_job_fails_with_what_is_known() -> None:
    interrupted = case(THUMBNAIL, record=record("processing"), liveness=DEAD)
    (fail, link), _ = plan(interrupted, row=row_of("processing"))
    assert fail.job_after is not None
    assert (fail.verb, fail.job_after["status"]) == (Verb.FAIL, "failed")
    assert fail.job_after["error"].startswith("interrupted at 75 %, last heartbeat")
    assert fail.job_after["error_code"] == "interrupted"
    assert link.verb is Verb.LINK


def test_a_missing_video_is_noted_on_its_artifact_and_the_status_stays() -> None:
    before = {**linked()._asdict(), "media": None}
    gone = case(record=record("completed"), linked=[linked()])
    (note,), _ = plan(gone, row=row_of("completed"), artifacts={(ROOT, linked().path): before})
    assert note.verb is Verb.NOTE_MISSING
    assert note.job_after is None
    assert note.artifact_after is not None
    assert note.artifact_after["state"] == "missing"


def test_a_video_that_comes_back_is_linked_again() -> None:
    before = {**linked(state="missing")._asdict(), "media": None}
    back = case(video(), record=record("completed"), linked=[linked(state="missing")])
    (link,), _ = plan(back, row=row_of("completed"), artifacts={(ROOT, linked().path): before})
    assert (link.verb, link.reason, link.artifact_before) == (Verb.LINK, "found again", before)


def test_disputed_files_are_never_linked() -> None:
    second = video(name=f"b/presentation_{JOB}.mp4")
    disputed = case(video(), second, record=record("completed"), linked=[linked()])
    actions, told = plan(disputed, row=row_of("completed"))
    assert actions == []
    assert [finding.path for finding in told] == [second.seen.path]


def test_files_of_a_running_job_are_not_linked() -> None:
    running = case(THUMBNAIL, record=record("processing", last_heartbeat="2025-11-05T23:59:00.000000Z"))
    assert plan(running) == Proposal([], [])


def actions_of_every_kind() -> list[Action]:
    before = {**linked()._asdict(), "media": None}
    orphan = plan(case(video(), THUMBNAIL)).actions
    finished = plan(
        case(video(), record=record("processing"), liveness=DEAD), row=row_of("processing")
    ).actions
    interrupted = plan(case(record=record("processing"), liveness=DEAD), row=row_of("processing")).actions
    gone = case(record=record("completed"), linked=[linked()])
    missing = plan(gone, row=row_of("completed"), artifacts={(ROOT, linked().path): before}).actions
    return [*orphan, *finished, *interrupted, *missing]


@pytest.mark.parametrize("action", actions_of_every_kind(), ids=lambda action: action.verb)
def test_the_inverse_expects_what_the_action_left_and_leads_back(action: Action) -> None:
    inverse = invert(action, seq=7, run_id="run")
    assert inverse.job_after == action.job_before
    assert inverse.job_before == action.job_after
    assert inverse.artifact_after == action.artifact_before
    assert (inverse.from_status, inverse.to_status) == (action.to_status, action.from_status)
    if action.job_after is not None:
        assert inverse.expect_version == (action.expect_version or 0) + 1


@given(st.lists(st.sampled_from([THUMBNAIL, SLIDE]), unique=True), st.sampled_from(Verdict))
def test_every_moment_in_a_plan_is_a_real_one(companions, verdict) -> None:
    actions, _ = plan(case(video(), *companions), check=Check(verdict, Tier.DEMUX, "so it is"))
    for action in actions:
        for name in ("created_at", "completed_at", "recovered_at"):
            text = (action.job_after or {}).get(name)
            assert text is None or parse_timestamp(text)


@pytest.mark.parametrize("action", actions_of_every_kind(), ids=lambda action: action.verb)
def test_what_is_proposed_is_lawful_and_so_is_its_inverse(action: Action) -> None:
    assert why_unlawful(action, command="recover") is None
    inverse = invert(action, seq=1, run_id="run")
    assert why_unlawful(inverse, command="undo") is None
    assert why_unlawful(inverse, command="recover")
    assert why_unlawful(action, command="undo")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"job_id": "another"}, "another job"),
        ({"path": "../../etc/passwd"}, "another file"),
        ({"job_before": {"job_id": JOB, "status": "expired"}, "verb": Verb.COMPLETE}, "not allowed"),
        ({"job_before": {"job_id": JOB, "status": "completed"}, "verb": Verb.FAIL}, "not allowed"),
        (
            {"job_after": {"job_id": JOB, "status": "queued"}, "to_status": "queued"},
            "neither completed nor failed",
        ),
        ({"job_after": {"job_id": JOB, "status": "queued"}}, "do not say what it says"),
        ({"job_after": {"job_id": JOB, "status": "completed", "bananas": 1}}, "fields no job has"),
        ({"expect_file": None}, "rests on no file"),
        ({"job_id": ""}, "job id is none"),
        ({"reason": "x" * 20_000}, "no sentence"),
        ({"job_after": None}, "do not fit create"),
        ({"artifact_after": None, "path": "../out"}, "out of the root"),
    ],
)
def test_a_crafted_step_is_refused(changes: dict[str, Any], reason: str) -> None:
    (create,), _ = plan(case(video()))
    assert reason in (why_unlawful(replace(create, **changes), command="recover") or "")


def quarantined(seen: Seen, **changes: Any) -> Action:
    step = quarantine(
        seen,
        category="leftover",
        reason="no record names it",
        record_version=3,
        artifact_row={**ARTIFACT, "path": seen.path},
        at=TERMS.planned_at,
    )
    return replace(step, **changes)


ARTIFACT = {"job_id": JOB, "root_id": ROOT, "role": "video", "state": "present", "version": 1}


def test_a_file_is_moved_aside_and_given_back_lawfully() -> None:
    step = quarantined(SLIDE.seen)
    assert why_unlawful(step, command="cleanup") is None
    assert why_unlawful(step, command="recover")
    back = invert(step, seq=1, run_id="20251106-000000-abcd")
    assert why_unlawful(back, command="undo") is None


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (quarantined(SLIDE.seen._replace(path=".jobctl/root.json")), "one of jobctl's own"),
        (quarantined(SLIDE.seen._replace(path=".JobCtl/root.json")), "one of jobctl's own"),
        (quarantined(SLIDE.seen, expect_file=None), "names no file"),
        (quarantined(SLIDE.seen, root_id=None), "another file"),
        (quarantined(SLIDE.seen, entry="run/1"), "missing or in the way"),
        (
            quarantined(SLIDE.seen, job_after={"job_id": JOB, "status": "failed"}, to_status="failed"),
            "do not fit",
        ),
        (quarantined(SLIDE.seen, artifact_after=None), "makes or removes the row"),
        (
            quarantined(SLIDE.seen, artifact_after={**ARTIFACT, "path": SLIDE.seen.path, "state": "present"}),
            "say more than that the file was moved",
        ),
        (
            quarantined(
                SLIDE.seen,
                artifact_after={**ARTIFACT, "path": SLIDE.seen.path, "state": "quarantined", "role": "slide"},
            ),
            "say more than that the file was moved",
        ),
    ],
)
def test_a_crafted_move_is_refused(step: Action, reason: str) -> None:
    assert reason in (why_unlawful(step, command="cleanup") or "")


@pytest.mark.parametrize("entry", [None, "../1", "run/../1", "run/-1", "run/", "/run/1", "run/1/2", ""])
def test_a_crafted_place_in_quarantine_is_refused(entry: str | None) -> None:
    back = invert(quarantined(SLIDE.seen), seq=1, run_id="run")
    assert why_unlawful(back, command="undo") is None
    assert "its place in quarantine is" in (why_unlawful(replace(back, entry=entry), command="undo") or "")


def test_a_crafted_owner_is_refused() -> None:
    (create,), _ = plan(case(video()))
    assert create.job_after is not None
    crafted = replace(create, job_after={**create.job_after, "owner": "eve"})
    assert why_unlawful(crafted, command="recover") == "nothing is said to tell its owner"
