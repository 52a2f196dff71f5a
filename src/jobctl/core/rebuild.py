"""Rebuild: evidence into the fields of a job, each with where it came from. Pure.

Nothing is guessed: a field that no fact names stays empty, and where facts of equal
trust disagree that is told instead of picking one silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from jobctl.core.case import Candidate, Case
from jobctl.model.evidence import Bound, Fact, Trust
from jobctl.model.files import Media, Probe, Role, Seen
from jobctl.model.job import Confidence
from jobctl.model.names import to_stored
from jobctl.model.plan import Row
from jobctl.model.timestamps import format_timestamp, from_epoch_ns, parse_timestamp

_CONFIDENCE = {
    Trust.AUDIT_EVENT: Confidence.CERTAIN,
    Trust.STAMP: Confidence.CERTAIN,
    Trust.SIDECAR: Confidence.HIGH,
    Trust.SERVER_LOG: Confidence.HIGH,
    Trust.NAME_AND_FILE: Confidence.MEDIUM,
    Trust.FILE_ALONE: Confidence.LOW,
}

# Who writes down when a thing happened does so a little after it; a wrong time zone is further off.
_SAME_EVENT = timedelta(minutes=15)


class UrlForms(NamedTuple):
    """How the service writes its URLs; ``{job_id}`` stands for the id."""

    video: str = "/presentations/{job_id}/video"
    thumbnail: str = "/presentations/{job_id}/thumbnail"


class Belief(NamedTuple):
    """What the facts of one job come to.

    ``conflicts``: for each field on which equally good evidence disagrees, a sentence for an
    operator. Such a field has no value; the status alone cannot be left open.
    """

    values: Row
    provenance: dict[str, dict[str, Any]]
    trust: Trust
    """Of the fact that decided the status: the whole record is as sure as that."""
    conflicts: Mapping[str, str]


def confidence_of(trust: Trust) -> Confidence:
    """How sure a record is whose status rests on a fact of this trust."""
    return _CONFIDENCE[trust]


def facts_of_video(case: Case, video: Seen, probe: Probe, *, urls: UrlForms, latest: str) -> list[Fact]:
    """Everything a whole video and its companions say about their job.

    ``latest`` is the moment (27 characters) after which a file's time cannot be true.
    """
    trust = _trust_of(case.key, probe)
    source = "stamp" if trust is Trust.STAMP else "video"
    where = f"{video.root_id}:{to_stored(video.path)}"

    def fact(name: str, value: Any, note: str = "") -> Fact:
        return Fact(case.key, name, value, source, where, trust, note)

    facts = [
        fact("status", "completed", "the file is whole"),
        fact("progress", 100.0),
        fact("video_url", urls.video.format(job_id=case.key), "in the configured form"),
        fact("root_id", video.root_id),
        fact("size", video.size),
        fact("created_files", [to_stored(video.path)]),
    ]
    written = _moment(video.mtime_ns, latest)
    if written:
        facts.append(fact("completed_at", written, "when the video was last written"))
    facts.extend(fact(name, value) for name, value in _media_fields(probe.media))
    facts.extend(_creation_facts(case, probe.media, fact, latest))
    facts.extend(_companion_facts(case, urls))
    return facts


def stamp_conflict(case: Case, probe: Probe) -> str | None:
    """Why a stamped file must not be believed, or ``None``."""
    if probe.stamp is None:
        return None
    if not probe.stamp_verified:
        return "its stamp does not match its bytes: it was changed after it was published"
    if probe.stamp.job_id != case.key:
        return f"named for job {case.key}, but stamped for job {probe.stamp.job_id}"
    return None


def believe(facts: Iterable[Fact]) -> Belief:
    """Choose the fact to be believed of each field: a value before a bound, then by trust."""
    by_field: dict[str, list[Fact]] = {}
    for fact in facts:
        by_field.setdefault(fact.field, []).append(fact)
    values: Row = {}
    provenance: dict[str, dict[str, Any]] = {}
    conflicts: dict[str, str] = {}
    trust = Trust.FILE_ALONE
    for name, claims in by_field.items():
        best, *others = _ranked(claims)
        if name == "status":
            trust = best.trust
        rival = next(
            (claim for claim in others if claim.trust == best.trust and _contradicts(best, claim)), None
        )
        if rival:
            conflicts[name] = _conflict(best, rival)
            provenance[name] = _dispute([best, *others])
        else:
            values[name] = best.value
            provenance[name] = _provenance(best, others)
    return Belief(values, provenance, trust, conflicts)


def _trust_of(job_id: str, probe: Probe) -> Trust:
    vouched = probe.stamp is not None and probe.stamp_verified and probe.stamp.job_id == job_id
    return Trust.STAMP if vouched else Trust.NAME_AND_FILE


def _moment(nanoseconds: int, latest: str) -> str | None:
    try:
        text = format_timestamp(from_epoch_ns(nanoseconds))
    except OverflowError:
        return None
    return _plausible(text, latest)


def _plausible(moment: str, latest: str) -> str | None:
    return moment if "1980" < moment <= latest else None


def _media_fields(media: Media | None) -> list[tuple[str, Any]]:
    if media is None:
        return []
    resolution = f"{media.width}x{media.height}" if media.width and media.height else None
    fields = [
        ("container", media.container),
        ("duration_s", media.duration_s),
        ("resolution", resolution),
        ("video_codec", media.video_codec),
        ("audio_codec", media.audio_codec),
    ]
    return [(name, value) for name, value in fields if value is not None]


def _creation_facts(case: Case, media: Media | None, fact: Any, latest: str) -> list[Fact]:
    facts: list[Fact] = []
    created = media.created_at if media is not None else None
    if created is not None and (written := _plausible(format_timestamp(created), latest)):
        facts.append(fact("created_at", written, "the container's creation time"))
    dated = [(moment, file) for file in case.files if (moment := _moment(file.seen.mtime_ns, latest))]
    if dated:
        moment, file = min(dated, key=lambda pair: pair[0])
        where = f"{file.seen.root_id}:{to_stored(file.seen.path)}"
        facts.append(
            Fact(
                case.key,
                "created_at",
                moment,
                "file",
                where,
                Trust.NAME_AND_FILE,
                "the oldest of its files",
                Bound.NOT_LATER,
            )
        )
    return facts


def _companion_facts(case: Case, urls: UrlForms) -> list[Fact]:
    facts = []
    thumbnail = _first(case.files, Role.THUMBNAIL)
    if thumbnail:
        where = f"{thumbnail.seen.root_id}:{to_stored(thumbnail.seen.path)}"
        url = urls.thumbnail.format(job_id=case.key)
        note = "in the configured form"
        facts.append(Fact(case.key, "thumbnail_url", url, "thumbnail", where, Trust.NAME_AND_FILE, note))
    return facts


def _first(files: Sequence[Candidate], role: Role) -> Candidate | None:
    return next((file for file in files if file.seen.role == role), None)


def _ranked(claims: Sequence[Fact]) -> list[Fact]:
    """The claims, the most believable first: a value before a bound, unless better evidence bars it."""
    barred = {id(claim) for claim in claims if any(_bars(bound, claim) for bound in claims)}
    return sorted(
        claims,
        key=lambda claim: (
            id(claim) in barred,
            claim.bound is not Bound.EXACT,
            -claim.trust,
            # The tightest bound: the earliest "not later than" comes before the latest "not before".
            claim.bound is Bound.NOT_BEFORE,
            str(claim.value) if claim.bound is Bound.NOT_LATER else "",
        ),
    )


def _bars(bound: Fact, claim: Fact) -> bool:
    """Whether a bound of more trust rules a value out."""
    if claim.bound is not Bound.EXACT or bound.trust <= claim.trust:
        return False
    if bound.bound is Bound.NOT_LATER:
        return str(claim.value) > str(bound.value)
    return bound.bound is Bound.NOT_BEFORE and str(claim.value) < str(bound.value)


def _contradicts(best: Fact, other: Fact) -> bool:
    """Bounds narrow a value; they do not contradict one."""
    both_exact = best.bound is Bound.EXACT and other.bound is Bound.EXACT
    return both_exact and are_apart(best.value, other.value)


def are_apart(one: Any, other: Any) -> bool:
    """Whether two values contradict each other: moments a little apart are of one event."""
    if one == other:
        return False
    try:
        return abs(parse_timestamp(one) - parse_timestamp(other)) > _SAME_EVENT
    except (TypeError, ValueError):
        return True


def _conflict(best: Fact, rival: Fact) -> str:
    return f"{best.field}: {best.value!r} ({best.locator}) against {rival.value!r} ({rival.locator})"


def _dispute(claims: Sequence[Fact]) -> dict[str, Any]:
    """The provenance of a field that stays empty: every claim, and none of them believed."""
    entry = {"value": None, "source": "dispute", "locator": "", "trust": claims[0].trust.label}
    return {**entry, "conflict": True, "others": [_source(claim) for claim in claims]}


def _provenance(best: Fact, others: Sequence[Fact]) -> dict[str, Any]:
    entry = _source(best)
    if others:
        entry["others"] = [_source(fact) for fact in others]
    return entry


def _source(fact: Fact) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "value": fact.value,
        "source": fact.source,
        "locator": fact.locator,
        "trust": fact.trust.label,
    }
    if fact.meaning:
        entry["note"] = fact.meaning
    return entry
