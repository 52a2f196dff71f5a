"""Custody: which of a job's files may go, and why the others stay. Pure.

A file may go when nothing needs it: no record that lives, no table, no other copy of the job's
video that rests on it. What is the last there is of something stays, whatever its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from jobctl.core.ages import Ages, shown_moment
from jobctl.core.case import Case
from jobctl.durations import age_said, spoken_duration
from jobctl.model.files import Role, Seen
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.names import to_stored
from jobctl.model.plan import Action, Relied, Row, Verb
from jobctl.model.records import LooseSince, Record
from jobctl.model.status import OPEN, Status


class Judgement(NamedTuple):
    """What is to become of one file. ``stays`` says why it may not go; ``None``: it may, after its grace.

    ``on_request``: only where its category was asked for by name. ``as_copy``: only where another
    file with its bytes stays, which ``jobctl duplicates`` finds out; why it stays else.
    ``relies_on``: the file that must stay when this one goes.
    """

    seen: Seen
    category: FindingKind
    reason: str
    stays: str | None = None
    on_request: str | None = None
    relies_on: Seen | None = None
    as_copy: str | None = None


Rule = Callable[[Case, Finding], Judgement]


def judge(case: Case) -> Iterator[Judgement]:
    """Judge each file of a case that a finding is about; every file once."""
    judged: set[tuple[str, str]] = set()
    for finding in case.findings:
        rule = _RULES.get(finding.kind)
        if rule is None or finding.seen is None:
            continue
        place = (finding.seen.root_id, finding.seen.path)
        if place not in judged:
            judged.add(place)
            judgement = rule(case, finding)
            yield judgement if judgement.stays else _unless_needed(case, judgement)


def _unless_needed(case: Case, judgement: Judgement) -> Judgement:
    if case.references:
        return judgement._replace(stays=f"{case.references[0]} names its job")
    return judgement


def _judgement(
    finding: Finding,
    reason: str | None = None,
    *,
    stays: str | None = None,
    on_request: str | None = None,
    relies_on: Seen | None = None,
) -> Judgement:
    if finding.seen is None:
        raise ValueError(f"finding {finding.kind} names no file")
    return Judgement(finding.seen, finding.kind, reason or finding.reason, stays, on_request, relies_on)


def _orphan(case: Case, finding: Finding) -> Judgement:
    """A whole video without a record is the last there is of its job: recover makes its record."""
    del case
    if finding.is_declined:
        return _judgement(finding)
    return _judgement(finding, on_request="'jobctl recover' would rebuild its record")


def _broken(case: Case, finding: Finding) -> Judgement:
    whole = case.whole_videos[0].seen if case.whole_videos else None
    if case.record is None:
        why = "no record names it" if case.tombstone is None else f"its job was {case.tombstone.cause}"
        return _judgement(finding, f"not whole ({finding.reason}), and {why}", relies_on=whole)
    status = Status(case.record.status)
    if status in OPEN:
        return _judgement(finding, stays=f"its job is {status}")
    if _is_linked(case, finding):
        return _judgement(finding, stays="its record names it")
    if status is Status.COMPLETED and whole is None:
        return _judgement(finding, stays="its job is completed, and no whole video of it is there")
    said = f"superseded by {whole.path!r}" if whole else f"its job is {status}"
    return _judgement(finding, f"not whole ({finding.reason}); {said}", relies_on=whole)


def _is_linked(case: Case, finding: Finding) -> bool:
    return any(
        (linked.root_id, linked.path) == (finding.root_id, finding.path) and linked.role == Role.VIDEO
        for linked in case.linked
    )


def _leftover(case: Case, finding: Finding) -> Judgement:
    record = case.record
    if record is None or record.status != Status.COMPLETED:
        return _judgement(finding)
    if not case.whole_videos:
        return _judgement(
            finding,
            stays="its job is completed, but no whole video of it is there: it may be all that is left",
        )
    return _judgement(finding, relies_on=case.whole_videos[0].seen)


def _temporary(case: Case, finding: Finding) -> Judgement:
    if case.key and not case.whole_videos and case.record is None:
        said = "no publication has come of it, and no record names its job"
    else:
        said = finding.reason
    return _judgement(finding, said)


def _lost(case: Case, finding: Finding) -> Judgement:
    del case
    return _judgement(finding, on_request="it is the only sign of its job")


def _ambiguous(case: Case, finding: Finding) -> Judgement:
    """Two whole videos of one job: where their bytes are the same, it does not matter which one stays."""
    del case
    return _judgement(finding)._replace(as_copy="which of its job's videos is the right one is not known")


def _stays(reason: str) -> Rule:
    return lambda _case, finding: _judgement(finding, stays=reason)


_RULES: Mapping[FindingKind, Rule] = {
    FindingKind.ORPHAN_VIDEO: _orphan,
    FindingKind.BROKEN_VIDEO: _broken,
    FindingKind.LEFTOVER: _leftover,
    FindingKind.TEMPORARY: _temporary,
    FindingKind.LOST: _lost,
    FindingKind.AMBIGUOUS: _ambiguous,
    FindingKind.CONFLICT: _stays("evidence disagrees about it"),
    FindingKind.UNSETTLED: _stays("it may still be written to"),
    FindingKind.UNREADABLE: _stays("it could not be judged"),
    FindingKind.FINISHED_BUT_OPEN: _stays("'jobctl recover' would complete its record with it"),
}

CATEGORIES = (
    FindingKind.ORPHAN_VIDEO,
    FindingKind.BROKEN_VIDEO,
    FindingKind.LEFTOVER,
    FindingKind.TEMPORARY,
    FindingKind.LOST,
)
"""The findings whose files may go."""


def why_too_soon(
    judgement: Judgement, loose: LooseSince | None, *, ages: Ages, grace: timedelta
) -> str | None:
    """Why a file that may go does not go yet: two complete walks at least ``grace`` apart are needed."""
    if loose is None or not loose.is_of(judgement.seen):
        return f"seen so for the first time; it may go after {spoken_duration(grace)}"
    age, since = ages.of(loose.since), shown_moment(loose.since)
    if age is None:
        return f"seen so since {since}; how long that is cannot be told: the clock jumped"
    if age < grace:
        seen = f"seen so for {age_said(age.total_seconds())}, since {since}{ages.note(loose.since)}"
        return f"{seen}; it may go after {spoken_duration(grace)}"
    return None


def quarantine(
    seen: Seen,
    *,
    category: str,
    reason: str,
    record_version: int | None,
    artifact_row: Row | None,
    at: str,
    relies_on: Seen | None = None,
) -> Action:
    """The step that moves a file into quarantine, with the row its own record has of it."""
    after = {**artifact_row, "state": "quarantined", "noted_at": at} if artifact_row else None
    return Action(
        seq=0,
        verb=Verb.QUARANTINE,
        job_id=seen.key,
        reason=reason,
        root_id=seen.root_id,
        path=seen.path,
        expect_version=record_version,
        expect_file=seen.identity,
        artifact_before=artifact_row,
        artifact_after=after,
        category=category,
        relies_on=None
        if relies_on is None
        else Relied(relies_on.root_id, relies_on.path, relies_on.identity),
    )


def version_of(record: Record | None) -> int | None:
    """The version a step on a job's file is planned on; ``None``: no record may be made until then."""
    return None if record is None else record.version


def stored_place(seen: Seen) -> tuple[str, str]:
    """Root id and stored path, as rows of artifacts are found by."""
    return seen.root_id, to_stored(seen.path)
