"""Planning: the findings about a case into the actions that answer them. Pure.

An action holds the rows it changes before and after, and on what condition (see ``core.inverse``
for what takes it back, ``core.lawfulness`` for what one read from a file is held to).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jobctl.core.accounts import SOURCE as LOG
from jobctl.core.accounts import End
from jobctl.core.case import Candidate, Case, Liveness
from jobctl.core.rebuild import Belief, UrlForms, believe, confidence_of, facts_of_video, stamp_conflict
from jobctl.core.reconcile import interruption, unlinked_files
from jobctl.core.sidecar import SidecarSays
from jobctl.model.evidence import Fact, Trust
from jobctl.model.files import Check, Media, Probe, Seen, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.job import Origin
from jobctl.model.names import to_stored
from jobctl.model.plan import Action, Row, Verb
from jobctl.model.records import Record
from jobctl.model.status import Cause, ErrorCode, Status, check_transition

_ENDED_WITHOUT_VIDEO = frozenset({FindingKind.INTERRUPTED, FindingKind.LOST})
_DECIDED_BY_THE_VIDEO = frozenset({"status", "progress", "completed_at"})
"""Fields in which a whole video overrules an open record; elsewhere the record knows better."""

_REBUILT = frozenset(
    {"status", "progress", "video_url", "thumbnail_url", "slide_image_path", "created_at", "started_at"}
    | {"completed_at", "last_heartbeat", "created_files", "owner", "root_id"}
)
"""The fields of a job that evidence may fill in."""

DECIDED_ELSEWHERE = frozenset({"progress", "video_url", "thumbnail_url"})
"""What other evidence cannot dispute: progress is the video's, the form of a URL the settings'."""

_TOLD_BY_FATE = frozenset({"status", "error"})

_DISPUTED = frozenset({FindingKind.AMBIGUOUS, FindingKind.CONFLICT})


class Terms(NamedTuple):
    """What holds for a whole plan. ``planned_at`` and ``latest`` are moments of 27 characters."""

    planned_at: str
    latest: str
    urls: UrlForms
    kind: str = "presentation"


class Material(NamedTuple):
    """All that a decision about one case rests on.

    ``probes`` holds the deep checks of the videos whose findings act, ``sidecars`` what those
    say beside each of them; ``job_row`` and ``artifact_rows`` (by root id and stored path) are
    the whole rows the store has.
    """

    case: Case
    probes: Mapping[Seen, Probe]
    job_row: Row | None
    artifact_rows: Mapping[tuple[str, str], Row]
    terms: Terms
    sidecars: Mapping[Seen, Sequence[SidecarSays]] = {}


class Proposal(NamedTuple):
    """The actions for one case, and the findings nothing is done about."""

    actions: list[Action]
    told: list[Finding]


def propose(material: Material) -> Proposal:
    """Decide what recover does about one case."""
    case = material.case
    actions: list[Action] = []
    told: list[Finding] = []
    for finding in case.findings:
        answer = _answer(material, finding) if finding.acts else finding
        if isinstance(answer, Finding):
            told.append(answer)
        else:
            actions.append(answer)
            told.extend(_disputes(answer))
    if _is_at_rest(case, actions):
        disputed = {finding.path for finding in told if finding.kind in _DISPUTED}
        actions.extend(_links(material, actions, disputed))
    return Proposal(actions, told)


def _disputes(action: Action) -> Iterator[Finding]:
    """The fields that a step leaves empty because equally good evidence disagrees on them."""
    provenance = (action.job_after or {}).get("provenance") or {}
    for name, entry in provenance.items():
        if entry.get("conflict"):
            claims = [f"{claim['value']!r} ({claim['locator']})" for claim in entry["others"]]
            reason = f"{name}: {' against '.join(claims)}; left empty"
            yield Finding(FindingKind.CONFLICT, action.job_id, reason, action.root_id, action.path)


def _answer(material: Material, finding: Finding) -> Action | Finding:
    if finding.kind in _ENDED_WITHOUT_VIDEO:
        record = material.case.record
        return _fail(material, finding, record) if record else _record_failure(material, finding)
    if finding.kind is FindingKind.MISSING_VIDEO:
        return _note_missing(material, finding)
    case, seen = material.case, _seen(finding)
    probe, sidecars = material.probes[seen], material.sidecars.get(seen, ())
    refused = _why_not_complete(case, finding, probe)
    if refused:
        return refused
    conflict = next((sidecar.conflict for sidecar in sidecars if sidecar.conflict), None)
    if conflict:
        return _told(finding, FindingKind.CONFLICT, conflict)
    told = [fact for sidecar in sidecars for fact in sidecar.facts]
    facts = facts_of_video(case, seen, probe, urls=material.terms.urls, latest=material.terms.latest)
    belief = believe([*facts, *told, *_facts_beside_video(case)])
    return _complete(material, finding, belief) if case.record else _create(material, finding, belief)


def _facts_beside_video(case: Case) -> list[Fact]:
    """What other evidence adds to a whole video.

    How far its job had come is decided by the video, and how its URL is written by the settings.
    """
    facts = case.account.facts if case.account else []
    return [
        fact
        for fact in facts
        if fact.field not in DECIDED_ELSEWHERE and (fact.field != "status" or fact.value == Status.COMPLETED)
    ]


def _seen(finding: Finding) -> Seen:
    if finding.seen is None:
        raise ValueError(f"finding {finding.kind} of job {finding.job_id} names no file")
    return finding.seen


def _why_not_complete(case: Case, finding: Finding, probe: Probe) -> Finding | None:
    """The finding that stands in place of calling this video complete, or ``None``."""
    check = probe.check
    if check.verdict is not Verdict.WHOLE:
        kind = {
            Verdict.UNSETTLED: FindingKind.UNSETTLED,
            Verdict.UNREADABLE: FindingKind.UNREADABLE,
            Verdict.UNSUPPORTED: FindingKind.UNREADABLE,
        }.get(check.verdict, FindingKind.BROKEN_VIDEO)
        finding.verdict, finding.tier = check.verdict, check.tier
        return _told(finding, kind, check.reason)
    if probe.identity != _seen(finding).identity:
        return _told(finding, FindingKind.UNSETTLED, "it was replaced while it was being looked at")
    conflict = stamp_conflict(case, probe)
    return _told(finding, FindingKind.CONFLICT, conflict) if conflict else None


def _told(finding: Finding, kind: FindingKind, reason: str) -> Finding:
    finding.kind, finding.reason, finding.acts = kind, reason, False
    return finding


def _existing(material: Material) -> Row:
    if material.job_row is None:
        raise ValueError(f"job {material.case.key} was reconciled with a record whose row was not read")
    return material.job_row


def _create(material: Material, finding: Finding, belief: Belief) -> Action:
    case, seen = material.case, _seen(finding)
    confidence = confidence_of(belief.trust).value
    return Action(
        seq=0,
        verb=Verb.CREATE,
        job_id=case.key,
        reason=finding.reason,
        root_id=seen.root_id,
        path=seen.path,
        to_status=Status.COMPLETED.value,
        confidence=confidence,
        expect_file=seen.identity,
        job_after={**_new_job(material, belief), "confidence": confidence},
        artifact_after=_video_row(material, seen),
    )


def _record_failure(material: Material, finding: Finding) -> Action:
    """A job of which nothing but its failure is left: its owner is told that instead of "not found"."""
    case, account = material.case, material.case.account
    if account is None or account.fate is None:
        raise ValueError(f"job {case.key} is called failed, but nothing says so")
    is_interrupted = account.fate.end is End.INTERRUPTED
    status = Fact(
        case.key,
        "status",
        Status.FAILED.value,
        LOG,
        account.fate.where,
        Trust.SERVER_LOG,
        account.fate.sentence,
    )
    error = status._replace(field="error", value=account.fate.sentence, note="")
    belief = believe([status, error, *(fact for fact in account.facts if fact.field not in _TOLD_BY_FATE)])
    confidence = confidence_of(belief.trust).value
    job: Row = {
        **_new_job(material, belief),
        "status": Status.FAILED.value,
        "error": account.fate.sentence,
        "error_code": ErrorCode.INTERRUPTED.value if is_interrupted else None,
        "confidence": confidence,
    }
    return Action(
        seq=0,
        verb=Verb.CREATE,
        job_id=case.key,
        reason=finding.reason,
        to_status=Status.FAILED.value,
        confidence=confidence,
        job_after=job,
    )


def _new_job(material: Material, belief: Belief) -> Row:
    terms = material.terms
    return {
        "job_id": material.case.key,
        "kind": terms.kind,
        "queue": "default",
        "priority": 0,
        "attempt": 0,
        "spared": 0,
        "max_attempts": 1,
        "origin": Origin.RECOVERED.value,
        "provenance": belief.provenance,
        "recovered_at": terms.planned_at,
        **_job_values(belief),
    }


def _complete(material: Material, finding: Finding, belief: Belief) -> Action:
    case, terms, seen = material.case, material.terms, _seen(finding)
    job_row = _existing(material)
    old = Status(job_row["status"])
    check_transition(case.key, old, Status.COMPLETED, Cause.RECOVER, job_row.get("error_code"))
    confidence = confidence_of(belief.trust).value
    known = {name: value for name, value in job_row.items() if value is not None}
    values = _job_values(belief)
    after: Row = {
        **values,
        **known,
        **{name: value for name, value in values.items() if name in _DECIDED_BY_THE_VIDEO},
        "confidence": confidence,
        "provenance": {**(job_row.get("provenance") or {}), **_news(belief, known)},
        "recovered_at": terms.planned_at,
        "error": None,
        "error_code": None,
    }
    return Action(
        seq=0,
        verb=Verb.COMPLETE,
        job_id=case.key,
        reason=finding.reason,
        root_id=seen.root_id,
        path=seen.path,
        from_status=old.value,
        to_status=Status.COMPLETED.value,
        confidence=confidence,
        expect_version=_version(case),
        expect_file=seen.identity,
        job_before=job_row,
        job_after=after,
        artifact_before=_stored_row(material, seen.root_id, seen.path),
        artifact_after=_video_row(material, seen),
    )


def _news(belief: Belief, known: Row) -> Row:
    """The provenance of what the video decided or filled in; what was known keeps its own."""
    return {
        name: entry
        for name, entry in belief.provenance.items()
        if name in _DECIDED_BY_THE_VIDEO or name not in known
    }


def _fail(material: Material, finding: Finding, record: Record) -> Action:
    case, job_row = material.case, _existing(material)
    old = Status(job_row["status"])
    check_transition(case.key, old, Status.FAILED, Cause.PROOF_OF_DEATH, None)
    certificate = _death_certificate(case.liveness)
    after: Row = {
        **job_row,
        "status": Status.FAILED.value,
        "error": interruption(record, case.liveness),
        "error_code": ErrorCode.INTERRUPTED.value,
        "recovered_at": material.terms.planned_at,
        "provenance": {**(job_row.get("provenance") or {}), "status": certificate},
    }
    return Action(
        seq=0,
        verb=Verb.FAIL,
        job_id=case.key,
        reason=finding.reason,
        from_status=old.value,
        to_status=Status.FAILED.value,
        expect_version=_version(case),
        job_before=job_row,
        job_after=after,
    )


def _death_certificate(liveness: Liveness) -> Row:
    return {
        "value": Status.FAILED.value,
        "source": "executor",
        "locator": liveness.reason,
        "trust": Trust.AUDIT_EVENT.label,
    }


def _note_missing(material: Material, finding: Finding) -> Action:
    root_id, path = finding.root_id or "", finding.path or ""
    before = _stored_row(material, root_id, path)
    if before is None:
        raise ValueError(
            f"artifact {path!r} of job {finding.job_id} was reconciled, but its row was not read"
        )
    return Action(
        seq=0,
        verb=Verb.NOTE_MISSING,
        job_id=material.case.key,
        reason=finding.reason,
        root_id=root_id,
        path=path,
        artifact_before=before,
        artifact_after={**before, "state": "missing", "noted_at": material.terms.planned_at},
    )


def _is_at_rest(case: Case, actions: Sequence[Action]) -> bool:
    """Whether files may be linked: the job has ended, or this plan ends it."""
    if any(action.job_after is not None for action in actions):
        return True
    ended = {Status.COMPLETED.value, Status.FAILED.value}
    return case.record is not None and case.record.status in ended


def _links(material: Material, actions: Sequence[Action], disputed: set[str | None]) -> Iterator[Action]:
    taken = {(action.root_id, action.path) for action in actions}
    for candidate in unlinked_files(material.case):
        seen = candidate.seen
        if (seen.root_id, seen.path) not in taken and seen.path not in disputed:
            yield _link(material, candidate)


def _link(material: Material, candidate: Candidate) -> Action:
    seen = candidate.seen
    before = _stored_row(material, seen.root_id, seen.path)
    return Action(
        seq=0,
        verb=Verb.LINK,
        job_id=material.case.key,
        reason="found again" if before else f"its {seen.role}, by its name",
        root_id=seen.root_id,
        path=seen.path,
        expect_file=seen.identity,
        artifact_before=before,
        artifact_after=_artifact_row(seen, material.terms, candidate.check),
    )


def _stored_row(material: Material, root_id: str, path: str) -> Row | None:
    return material.artifact_rows.get((root_id, to_stored(path)))


def _video_row(material: Material, seen: Seen) -> Row:
    probe = material.probes[seen]
    return {
        **_artifact_row(seen, material.terms, probe.check),
        "sha256": probe.sha256,
        "media": media_row(probe.media) if probe.media else None,
    }


def _artifact_row(seen: Seen, terms: Terms, check: Check | None) -> Row:
    return {
        "job_id": seen.key,
        "root_id": seen.root_id,
        "path": to_stored(seen.path),
        "role": str(seen.role),
        "state": "present",
        "size": seen.size,
        "mtime_ns": seen.mtime_ns,
        "sha256": None,
        "verdict": check.verdict.value if check else None,
        "tier": check.tier.value if check else None,
        "media": None,
        "noted_at": terms.planned_at,
    }


def media_row(media: Media) -> Row:
    """What a video's container says of it, as the row of its file keeps it."""
    return {
        "container": media.container,
        "duration_s": media.duration_s,
        "width": media.width,
        "height": media.height,
        "video_codec": media.video_codec,
        "audio_codec": media.audio_codec,
    }


def _job_values(belief: Belief) -> Row:
    """The believed values that are fields of a job; the others stand in the provenance alone."""
    return {name: value for name, value in belief.values.items() if name in _REBUILT}


def _version(case: Case) -> int | None:
    return case.record.version if case.record else None
