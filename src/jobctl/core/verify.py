"""Verify: what the journal and the records say of files, against what the disk bears out. Pure.

Where a command is named to mend a difference, it does; where nothing can, what is named shows
what is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jobctl.model.commands import planning_command, show_command
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.model.plan import Outcome, Verb
from jobctl.model.quarantine import Entry, Whereabouts
from jobctl.model.status import Status

_RESTORE = "quarantine restore"
_MOST_NAMED = 5
_SAID = {
    Whereabouts.IN_PLACE: "it is where it was",
    Whereabouts.RESTORED: "it was given back",
    Whereabouts.PURGED: "it was purged",
    Whereabouts.LOST: "it was lost from there",
}


class Step(NamedTuple):
    """A step that was to move a file into quarantine, by the journal.

    ``released_by``: restore or purge, once that was done. ``is_open``: it, or a step that is to
    release its file, is still to be taken by a run that has not ended; that run is told, once.
    """

    root_id: str
    run_id: str
    action: int
    job_id: str | None
    path: str
    outcome: Outcome
    released_by: Verb | None = None
    is_open: bool = False


class Claim(NamedTuple):
    """An artifact row: what a record says of one of its files."""

    job_id: str
    root_id: str
    path: str
    role: str
    state: str
    job_status: str


class Held(NamedTuple):
    """What quarantine tells of a path: of the latest file that was to go there from it."""

    run_id: str
    action: int
    whereabouts: Whereabouts
    is_told: bool = False
    """Whether a difference about it was told already."""


def matched(entries: Iterable[Entry], steps: Iterable[Step]) -> Iterator[tuple[Entry | None, Step | None]]:
    """Put together what manifests and journal tell of the same step; both come by run and action."""
    left, right = iter(entries), iter(steps)
    entry, step = next(left, None), next(right, None)
    while entry is not None or step is not None:
        order = _order(entry, step)
        yield (entry if order <= 0 else None), (step if order >= 0 else None)
        if order <= 0:
            entry = next(left, None)
        if order >= 0:
            step = next(right, None)


def _order(entry: Entry | None, step: Step | None) -> int:
    if entry is None or step is None:
        return 1 if entry is None else -1
    here, there = (entry.run_id, entry.action), (step.run_id, step.action)
    return (here > there) - (here < there)


def compare(entry: Entry | None, step: Step | None) -> Difference | None:
    """Compare what the disk and the journal tell of one step; ``None`` where they agree.

    A step without an entry is one that no manifest tells of.
    """
    if step is not None and step.is_open:
        return None
    if entry is None:
        return _unless_released(step)
    is_there = entry.whereabouts is Whereabouts.QUARANTINED
    if is_there and step is None:
        return _unjournalled(entry, "no run of this store moved it")
    if step is None:
        return None
    if is_there and step.outcome is not Outcome.DONE:
        return _unjournalled(entry, f"the journal calls its step {step.outcome}")
    if is_there and step.released_by is not None:
        said = f"the journal says that it was released by {step.released_by}"
        return _of(entry, DifferenceKind.NOT_RELEASED, said, _restore(entry))
    if is_there or step.outcome is not Outcome.DONE or step.released_by is not None:
        return None
    if entry.whereabouts is Whereabouts.LOST:
        note = f": {entry.note}" if entry.note else ""
        said = f"neither there nor given back nor purged{note}"
        return _of(entry, DifferenceKind.LOST, said, f"jobctl quarantine show {_place(entry)}")
    said = f"{_SAID[entry.whereabouts]}, by the disk and its manifest"
    return _of(entry, DifferenceKind.BEHIND, said, f"jobctl quarantine show {_place(entry)}")


def _unless_released(step: Step | None) -> Difference | None:
    if step is None or step.outcome is not Outcome.DONE or step.released_by is not None:
        return None
    said = "neither there nor given back nor purged, and no manifest tells of it"
    mend = f"jobctl run show {step.run_id}"
    where = (step.root_id, step.run_id, step.action, step.job_id, step.path)
    return Difference(DifferenceKind.LOST, said, mend, *where)


def _unjournalled(entry: Entry, said: str) -> Difference:
    return _of(entry, DifferenceKind.UNJOURNALLED, said, _restore(entry))


def _place(entry: Entry | Held) -> str:
    return f"{entry.run_id}/{entry.action}"


def _restore(entry: Entry | Held) -> str:
    return f"jobctl {_RESTORE} {_place(entry)}"


def _of(entry: Entry, kind: DifferenceKind, reason: str, mend: str) -> Difference:
    where = (entry.root_id, entry.run_id, entry.action, entry.job_id, entry.path)
    return Difference(kind, reason, mend, *where)


def judge(claim: Claim, held: Held | None, *, is_there: bool | None) -> Difference | None:
    """Judge what a record says of one file. ``is_there``: at its place; ``None`` where that is unknown."""
    is_held = held is not None and held.whereabouts is Whereabouts.QUARANTINED
    if claim.state == "quarantined":
        return (
            None
            if is_held or (held is not None and held.is_told)
            else _not_held(claim, held, is_there=is_there)
        )
    if is_there is not False:
        return None
    if held is not None and is_held:
        reason = "its record says that it is present, and it is in quarantine"
        return _of_claim(DifferenceKind.ARTIFACT, claim, reason, _restore(held))
    is_noted = claim.role == "video" and claim.job_status == Status.COMPLETED
    mend = "jobctl recover" if is_noted else show_command(claim.job_id)
    return _of_claim(DifferenceKind.MISSING, claim, "it is gone", mend)


def _not_held(claim: Claim, held: Held | None, *, is_there: bool | None) -> Difference:
    said = "its record says that it is in quarantine"
    where = _SAID.get(held.whereabouts, "it is not") if held is not None else "it is not"
    if not is_there:
        return _of_claim(DifferenceKind.ARTIFACT, claim, f"{said}: {where}", show_command(claim.job_id))
    is_at_rest = claim.job_status in {Status.COMPLETED, Status.FAILED}
    mend = "jobctl recover" if is_at_rest else show_command(claim.job_id)
    return _of_claim(DifferenceKind.ARTIFACT, claim, f"{said}, and a file stands where it was", mend)


def _of_claim(kind: DifferenceKind, claim: Claim, reason: str, mend: str) -> Difference:
    return Difference(kind, reason, mend, claim.root_id, job_id=claim.job_id, path=claim.path)


def interrupted(run_id: str, command: str, *, undo_of: str | None, places: Iterable[str] = ()) -> Difference:
    """A run that nobody holds and that did not end. ``places``: what it was still to give back."""
    reason = f"'jobctl {command}' did not come to its end; the same command goes on where it stopped"
    return Difference(
        DifferenceKind.INTERRUPTED, reason, _again(command, undo_of, list(places)), run_id=run_id
    )


def _again(command: str, undo_of: str | None, places: list[str]) -> str:
    if undo_of is not None:
        return f"jobctl undo {undo_of}"
    if command == _RESTORE:
        if 0 < len(places) <= _MOST_NAMED:
            return f"jobctl {_RESTORE} {' '.join(places)}"
        runs = sorted({place.partition("/")[0] for place in places})
        return f"jobctl {_RESTORE} {' '.join(runs)}".rstrip()
    return planning_command(command)
