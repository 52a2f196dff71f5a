"""Verify: what the journal says of a file in quarantine against what the disk bears out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jobctl.model.difference import Difference, DifferenceKind
from jobctl.model.plan import Outcome, Verb
from jobctl.model.quarantine import Entry, Whereabouts


class Journalled(NamedTuple):
    """What the journal says of an entry: its own step, and the last one that released it.

    ``outcome``: of the step that took the file, ``None`` where no such step is known.
    ``released_by``: restore or purge, once it was done. ``is_open``: its run has not ended.
    """

    outcome: Outcome | None
    released_by: Verb | None = None
    is_open: bool = False


def compare(entry: Entry, journal: Journalled) -> Iterator[Difference]:
    """Compare one entry with the journal; what agrees gives nothing."""
    place = f"{entry.run_id}/{entry.action}"
    if journal.is_open and journal.outcome is Outcome.PENDING:
        # The interrupted run itself is told, once.
        return
    is_there = entry.whereabouts is Whereabouts.QUARANTINED
    is_claimed = journal.outcome is Outcome.DONE and journal.released_by is None
    if is_there and journal.outcome is None:
        yield _of(entry, DifferenceKind.UNJOURNALLED, "no run of this store moved it", _restore(place))
    elif is_there and journal.outcome is not Outcome.DONE:
        said = f"the journal calls its step {journal.outcome}"
        yield _of(entry, DifferenceKind.UNJOURNALLED, said, _restore(place))
    elif is_there and journal.released_by is not None:
        said = f"the journal says that it was released by {journal.released_by}"
        yield _of(entry, DifferenceKind.NOT_RELEASED, said, _restore(place))
    elif is_claimed and entry.whereabouts is Whereabouts.LOST:
        said = f"neither there nor given back nor purged{_note(entry)}"
        yield _of(entry, DifferenceKind.LOST, said, f"jobctl explain {entry.job_id}" if entry.job_id else "")
    elif is_claimed and not is_there:
        said = f"the manifest says {entry.whereabouts}, the journal knows nothing of that"
        yield _of(entry, DifferenceKind.BEHIND, said, "jobctl recover")


def _restore(place: str) -> str:
    return f"jobctl quarantine restore {place}"


def _note(entry: Entry) -> str:
    return f": {entry.note}" if entry.note else ""


def _of(entry: Entry, kind: DifferenceKind, reason: str, mend: str) -> Difference:
    return Difference(kind, reason, mend, entry.root_id, entry.run_id, entry.action, entry.job_id, entry.path)


def interrupted(run_id: str, command: str, *, undo_of: str | None) -> Difference:
    """A run that nobody holds and that did not end."""
    again = f"jobctl undo {undo_of}" if undo_of else f"jobctl {command}"
    reason = f"'jobctl {command}' did not come to its end; the same command goes on where it stopped"
    return Difference(DifferenceKind.INTERRUPTED, reason, again, run_id=run_id)
