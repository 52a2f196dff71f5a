"""Reconcile: one job's record against one job's files gives the findings. Pure.

Three-valued throughout: what is not proven absent is not called missing, what is not
proven dead is not called interrupted, what is not proven whole is not called complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from jobctl.core.accounts import Account, End
from jobctl.core.ages import shown_timestamp
from jobctl.core.case import Candidate, Case, Liveness, World
from jobctl.model.amounts import counted
from jobctl.model.files import BROKEN, STILL_NAMED, Role, Seen, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.records import Linked, Record
from jobctl.model.status import OPEN, OPEN_ENDED_FAILURES, Status
from jobctl.model.timestamps import format_timestamp, from_epoch_ns, parse_timestamp

# A heartbeat reaches the log and the store one after the other; no instance boots in between.
_SAME_MOMENT = timedelta(seconds=2)

_UNPUBLISHED = "the hidden file of a publication that has not ended"


def reconcile(case: Case, world: World) -> list[Finding]:
    """Find every difference between one job's record and its files, each with its reason."""
    if not case.key:
        return [_nameless(candidate) for candidate in case.files]
    findings = list(_temporary(case))
    findings.extend(finding for video in case.videos if (finding := _unusable(video)))
    if case.record is None:
        findings.extend(_without_record(case, world))
    else:
        findings.extend(_WITH_RECORD[Status(case.record.status)](case, case.record, world))
    return findings


def unlinked_files(case: Case) -> list[Candidate]:
    """The files of an ended job that its record does not name yet, or names as missing.

    A broken or unsettled video is not linked: a link says that the file belongs to the job's result.
    """
    present = {(linked.root_id, linked.path) for linked in case.linked if linked.state == "present"}
    return [
        candidate
        for candidate in case.named
        if (candidate.seen.root_id, candidate.seen.path) not in present
        and (candidate.seen.role != Role.VIDEO or candidate.verdict == Verdict.WHOLE)
        and case.decline_of(candidate.seen) is None
    ]


def _of_file(
    kind: FindingKind, case_key: str, candidate: Candidate, reason: str, *, acts: bool = False
) -> Finding:
    seen, check = candidate
    return Finding(
        kind=kind,
        job_id=case_key or None,
        reason=reason,
        root_id=seen.root_id,
        path=seen.path,
        verdict=check.verdict if check else None,
        tier=check.tier if check else None,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        seen=seen,
        acts=acts,
    )


def _of_job(
    kind: FindingKind, case: Case, reason: str, *, acts: bool = False, linked: Linked | None = None
) -> Finding:
    return Finding(
        kind=kind,
        job_id=case.key,
        reason=reason,
        root_id=linked.root_id if linked else None,
        path=linked.path if linked else None,
        size=linked.size if linked else None,
        acts=acts,
    )


def _temporary(case: Case) -> Iterator[Finding]:
    """Hidden files of publications, unless the job is at work and so may be writing them."""
    if case.record is None or Status(case.record.status) not in OPEN:
        for candidate in case.files:
            if candidate.seen.role == Role.TEMPORARY:
                yield _of_file(FindingKind.TEMPORARY, case.key, candidate, _UNPUBLISHED)


def _nameless(candidate: Candidate) -> Finding:
    if candidate.seen.role == Role.TEMPORARY:
        return _of_file(FindingKind.TEMPORARY, "", candidate, _UNPUBLISHED)
    return _of_file(FindingKind.LEFTOVER, "", candidate, "an intermediate that names no job")


def _unusable(video: Candidate) -> Finding | None:
    """The finding of a video that is not whole, whatever its record says."""
    seen, check = video
    if check is None or check.verdict == Verdict.WHOLE:
        return None
    if check.verdict in BROKEN:
        return _of_file(FindingKind.BROKEN_VIDEO, seen.key, video, check.reason)
    if check.verdict == Verdict.UNSETTLED:
        return _of_file(FindingKind.UNSETTLED, seen.key, video, check.reason)
    return _of_file(FindingKind.UNREADABLE, seen.key, video, check.reason)


def _without_record(case: Case, world: World) -> Iterator[Finding]:
    if case.tombstone:
        reason = f"its job was {case.tombstone.cause} on {case.tombstone.at[:10]}; it is not brought back"
        for candidate in case.named:
            yield _of_file(FindingKind.LEFTOVER, case.key, candidate, reason)
        return
    whole = case.whole_videos
    denied = _why_not_completed(case.account) if case.account else None
    if whole and denied:
        for video in whole:
            yield _of_file(FindingKind.CONFLICT, case.key, video, f"whole, while {denied}")
    elif len(whole) == 1:
        yield _orphan(case, whole[0])
    elif whole:
        yield from _ambiguous(case, whole, "no record says which")
    elif case.account:
        yield from _remembered(case, case.account, world)
    elif not case.videos and case.named:
        names = ", ".join(sorted({candidate.seen.role for candidate in case.named}))
        yield _of_file(
            FindingKind.LOST, case.key, case.named[0], f"known only by its {names}; neither video nor record"
        )


def _why_not_completed(account: Account) -> str | None:
    """What evidence says against calling a job completed, or ``None``."""
    if account.fate and account.fate.end is End.FAILED:
        return f"the log says that its job failed: {account.fate.sentence}"
    for fact in account.facts:
        if fact.field == "status" and fact.value in {Status.FAILED, Status.CANCELLED}:
            return f"{fact.source} says that its job is {fact.value} ({fact.locator})"
    return None


def _remembered(case: Case, account: Account, world: World) -> Iterator[Finding]:
    """A job that neither a whole video nor a record remembers, but other evidence does."""
    fate = account.fate
    notes = _noted(case)
    if fate is None:
        sources = ", ".join(sorted({fact.source for fact in account.facts}))
        if account.facts:
            reason = f"named by {sources}; neither video nor record{notes}"
            yield _of_job(FindingKind.LOST, case, reason)
        return
    kind = FindingKind.INTERRUPTED if fate.end is End.INTERRUPTED else FindingKind.LOST
    if fate.end not in {End.INTERRUPTED, End.FAILED}:
        yield _of_job(kind, case, f"{fate.sentence}; neither video nor record{notes}")
        return
    said = fate.sentence if fate.end is End.INTERRUPTED else f"the log says that it failed: {fate.sentence}"
    left_alone = _why_left_alone(case, world)
    mark = next((mark for mark in case.declined if not mark.path), None)
    if mark:
        left_alone = f"declined on {mark.at[:10]}: run {mark.run_id} took its recovery back"
    reason = f"{said}; left alone: {left_alone}" if left_alone else said
    finding = _of_job(kind, case, f"{reason}{notes}", acts=left_alone is None)
    finding.is_declined = mark is not None
    yield finding


def _why_left_alone(case: Case, world: World) -> str | None:
    """Why a job may not be called failed for want of a video, or ``None``."""
    if any(video.verdict not in BROKEN for video in case.videos):
        return "its video cannot be judged yet"
    root_id = case.record.root_id if case.record else None
    return world.why_absence_is_unproven(root_id)


def _orphan(case: Case, video: Candidate) -> Finding:
    return _unless_declined(case, video, FindingKind.ORPHAN_VIDEO, "whole, and no record names it")


def _unless_declined(case: Case, video: Candidate, kind: FindingKind, reason: str) -> Finding:
    """A finding recover acts on, unless an operator has taken just that back."""
    mark = case.decline_of(video.seen)
    if mark:
        reason = f"{reason}; declined on {mark.at[:10]}: run {mark.run_id} took its recovery back"
    finding = _of_file(kind, case.key, video, reason, acts=mark is None)
    finding.is_declined = mark is not None
    return finding


def _ambiguous(case: Case, videos: Sequence[Candidate], reason: str) -> Iterator[Finding]:
    for video in videos:
        others = len(videos) - 1
        claim = f"{counted(others, 'other whole video')} of this job; {reason}"
        yield _of_file(FindingKind.AMBIGUOUS, case.key, video, claim)


def _older_than(seen: Seen, moment: str | None) -> bool:
    """Whether the file was last written before ``moment``; False where that cannot be told."""
    if moment is None:
        return False
    try:
        return format_timestamp(from_epoch_ns(seen.mtime_ns)) < moment
    except OverflowError:
        return False


def _finished(case: Case, record: Record, *, since: str | None) -> Iterator[Finding]:
    """The findings of an open record whose video is on disk."""
    whole = case.whole_videos
    if len(whole) > 1:
        yield from _ambiguous(case, whole, f"its record says {record.status}")
    elif whole and _older_than(whole[0].seen, since):
        began = shown_timestamp(since) if since else ""
        reason = f"whole, but older than attempt {record.attempt}, which began {began}"
        yield _of_file(FindingKind.CONFLICT, case.key, whole[0], reason)
    elif whole:
        shown = f" at {record.progress:g} %" if record.progress is not None else ""
        reason = f"whole, while its record says {record.status}{shown}"
        yield _unless_declined(case, whole[0], FindingKind.FINISHED_BUT_OPEN, reason)


def _queued(case: Case, record: Record, _world: World) -> Iterator[Finding]:
    if record.error_code is None or record.error_code in OPEN_ENDED_FAILURES:
        yield from _finished(case, record, since=record.created_at)
        return
    # Whatever lies there is of an attempt that is known to have failed: it is tried again, and not believed.
    for video in case.whole_videos:
        reason = (
            f"whole, while its last attempt failed ({record.error_code}), and it is queued to be tried again"
        )
        yield _of_file(FindingKind.CONFLICT, case.key, video, reason)


def _processing(case: Case, record: Record, world: World) -> Iterator[Finding]:
    is_dead = case.liveness.state == "dead"
    is_stale = _last_sign_of_life(record) < world.stale_before
    if not is_dead and not is_stale:
        return
    if case.whole_videos and case.liveness.state != "alive" and not case.is_leased:
        yield from _finished(case, record, since=record.started_at)
    elif is_dead:
        yield _interrupted(case, record, world)
    else:
        last = shown_timestamp(record.last_heartbeat) if record.last_heartbeat else "never"
        said = f"last heartbeat {last}; {case.liveness.reason}{_said(case)}{_noted(case)}"
        yield _of_job(FindingKind.ZOMBIE, case, said)


def _noted(case: Case) -> str:
    """What an operator should hear besides, for instance that a remote render of it goes on."""
    return "".join(f"; {note}" for note in case.account.notes) if case.account else ""


def _said(case: Case) -> str:
    """What the log says became of a job whose record is still open."""
    fate = case.account.fate if case.account else None
    if fate is None or fate.end not in {End.COMPLETED, End.FAILED}:
        return ""
    return (
        f"; {fate.sentence}"
        if fate.end is End.COMPLETED
        else f"; the log says that it failed: {fate.sentence}"
    )


def liveness_by_log(record: Record, account: Account) -> Liveness | None:
    """What a log proves of an executor: dead, where its instance booted after its last sign of life."""
    fate = account.fate
    if fate is None or fate.end is not End.INTERRUPTED or not fate.proven_after:
        return None
    lag = parse_timestamp(_last_sign_of_life(record)) - parse_timestamp(fate.proven_after)
    return Liveness("dead", fate.sentence) if lag <= _SAME_MOMENT else None


def _last_sign_of_life(record: Record) -> str:
    return max(moment for moment in (record.last_heartbeat, record.started_at, record.updated_at) if moment)


_FOR_RESCUE = "its worker's lease is ended by any other worker, or by 'jobctl expire'"


def interruption(record: Record, liveness: Liveness) -> str:
    """How far a job came whose executor is dead, and how that is known."""
    at = f"interrupted at {record.progress:.3g} %" if record.progress is not None else "interrupted"
    last = record.last_heartbeat
    heartbeat = f", last heartbeat {shown_timestamp(last)}" if last else ""
    return f"{at}{heartbeat}: {liveness.reason}"


def _interrupted(case: Case, record: Record, world: World) -> Finding:
    said = interruption(record, case.liveness)
    left_alone = _FOR_RESCUE if case.is_leased else _why_left_alone(case, world)
    reason = f"{said}; left alone: {left_alone}" if left_alone else said
    return _of_job(FindingKind.INTERRUPTED, case, f"{reason}{_noted(case)}", acts=left_alone is None)


def _failed(case: Case, record: Record, _world: World) -> Iterator[Finding]:
    if record.error_code in OPEN_ENDED_FAILURES:
        yield from _finished(case, record, since=record.started_at)
    else:
        for video in case.whole_videos:
            reason = "whole, while its record says failed for a known cause"
            yield _of_file(FindingKind.CONFLICT, case.key, video, reason)
    yield from _leftovers(case, record)


def _completed(case: Case, record: Record, world: World) -> Iterator[Finding]:
    known = [linked for linked in case.linked if linked.role == Role.VIDEO]
    whole = case.whole_videos
    if len(whole) > 1:
        yield from _second_claims(case, whole, known)
    for video in whole:
        yield from _changed(case, video, known)
    if not case.videos:
        yield from _missing(case, record, known, world)
    yield from _leftovers(case, record)


def _second_claims(case: Case, whole: Sequence[Candidate], known: Sequence[Linked]) -> Iterator[Finding]:
    named = {(linked.root_id, linked.path) for linked in known}
    others = [video for video in whole if (video.seen.root_id, video.seen.path) not in named]
    if len(others) == len(whole):
        yield from _ambiguous(case, whole, "its completed record does not say which")
        return
    for video in others:
        reason = "a second whole video of this job; its record names another file"
        yield _of_file(FindingKind.AMBIGUOUS, case.key, video, reason)


def _changed(case: Case, video: Candidate, known: Sequence[Linked]) -> Iterator[Finding]:
    for linked in known:
        same_place = (linked.root_id, linked.path) == (video.seen.root_id, video.seen.path)
        if same_place and linked.size is not None and linked.size != video.seen.size:
            reason = f"{video.seen.size:,} bytes, its record says {linked.size:,}: the file was changed since"
            yield _of_file(FindingKind.CONFLICT, case.key, video, reason)


def _missing(case: Case, record: Record, known: Sequence[Linked], world: World) -> Iterator[Finding]:
    """A completed record without its file: only where its absence is proven."""
    # What a record says of its end may be anybody's clock; when it was written says the store's own.
    if record.updated_at >= world.walk_started_at:
        return
    gone = [linked for linked in known if linked.state in STILL_NAMED]
    if known and not gone:
        return
    where = gone[0].root_id if gone else record.root_id
    if world.why_absence_is_unproven(where):
        return
    if not gone:
        yield _of_job(FindingKind.MISSING_VIDEO, case, "completed, and no registered root holds its video")
        return
    for linked in gone:
        is_news = linked.state == "present"
        reason = "completed, and its file is gone" + ("" if is_news else " (noted before)")
        yield _of_job(FindingKind.MISSING_VIDEO, case, reason, acts=is_news, linked=linked)


def _leftovers(case: Case, record: Record) -> Iterator[Finding]:
    for candidate in case.files:
        if candidate.seen.role in {Role.INTERMEDIATE, Role.AVATAR}:
            reason = f"an intermediate; its job is {record.status}"
            yield _of_file(FindingKind.LEFTOVER, case.key, candidate, reason)


def _withdrawn(case: Case, record: Record, _world: World) -> Iterator[Finding]:
    for candidate in case.named:
        yield _of_file(FindingKind.LEFTOVER, case.key, candidate, f"its job is {record.status}")


_WITH_RECORD = {
    Status.QUEUED: _queued,
    Status.PROCESSING: _processing,
    Status.COMPLETED: _completed,
    Status.FAILED: _failed,
    Status.CANCELLED: _withdrawn,
    Status.EXPIRED: _withdrawn,
}
