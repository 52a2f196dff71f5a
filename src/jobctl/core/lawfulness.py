"""Whether a step read from a file may be taken. Pure.

A plan is data from outside, whatever its hash says: its steps obey the transition table, concern
one job each, rest on a file where they make one complete, and stay below their root.
"""

from __future__ import annotations

import re

from jobctl.core.job_rows import why_no_job
from jobctl.errors import IllegalTransition
from jobctl.model.job import Job, Origin
from jobctl.model.names import to_stored
from jobctl.model.plan import MOVES, TAKING_BACK, Action, Row, Verb
from jobctl.model.status import Cause, Status, check_transition

PLANNED = {
    "recover": frozenset({Verb.CREATE, Verb.COMPLETE, Verb.FAIL, Verb.LINK, Verb.NOTE_MISSING}),
    "import": frozenset({Verb.IMPORT}),
    "expire": frozenset({Verb.COMPLETE, Verb.FAIL, Verb.LINK, Verb.REQUEUE, Verb.EXPIRE, Verb.QUARANTINE}),
    "cleanup": frozenset({Verb.QUARANTINE}),
    "duplicates": frozenset({Verb.QUARANTINE}),
    "publish": frozenset({Verb.QUARANTINE}),
    "quarantine restore": frozenset({Verb.RESTORE, Verb.REVERT}),
    "quarantine purge": frozenset({Verb.PURGE}),
    "undo": TAKING_BACK,
}
"""The commands that plan, and the verbs their plans may hold."""

_RESTS_ON_FILE = frozenset({Verb.COMPLETE, Verb.LINK})
_NEVER_REBUILT = ("executor", "idempotency_key")
_NEVER_GUESSED = ("owner",)
_CARRIES_BODY = frozenset({Verb.IMPORT, Verb.FORGET})
_JOB_FIELDS = frozenset(Job.__dataclass_fields__)
_LONGEST_ID = 200
_LONGEST_REASON = 10_000
_FULL_PROGRESS = 100.0
_CONTROL = ".jobctl"
_ENTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[0-9]{1,18}")
_MOVED_FIELDS = frozenset({"state", "noted_at", "version"})
_STATE_AFTER = {Verb.QUARANTINE: "quarantined", Verb.PURGE: "purged"}
_CAUSES = {
    Verb.COMPLETE: Cause.RECOVER,
    Verb.FAIL: Cause.PROOF_OF_DEATH,
    Verb.REQUEUE: Cause.RESCUE,
    Verb.EXPIRE: Cause.RETENTION,
}

_SHAPES = {
    Verb.REQUEUE: (True, True),
    Verb.EXPIRE: (True, True),
    Verb.CREATE: (False, True),
    Verb.COMPLETE: (True, True),
    Verb.FAIL: (True, True),
    Verb.LINK: (False, False),
    Verb.NOTE_MISSING: (False, False),
    Verb.IMPORT: (False, True),
}


def why_unlawful(action: Action, *, command: str) -> str | None:
    """The reason why a step may not be taken by this command, or ``None``."""
    if action.verb not in PLANNED.get(command, frozenset()):
        return f"{action.verb} is no step of this kind of plan"
    is_nameless = action.verb in MOVES and not action.job_id
    if not is_nameless and not _is_plain(action.job_id, _LONGEST_ID):
        return "its job id is none"
    if not _is_plain(action.reason, _LONGEST_REASON):
        return "its reason is no sentence"
    refused = _why_no_rows(action)
    if refused:
        return refused
    path = action.path or ""
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        return "its path leads out of the root"
    if action.verb in MOVES:
        return _why_no_move(action)
    return None if action.verb in TAKING_BACK else _why_no_transition(action)


def _is_plain(text: str, longest: int) -> bool:
    has_surrogates = any("\ud800" <= char <= "\udfff" for char in text)
    return 0 < len(text) <= longest and "\0" not in text and not has_surrogates


def _why_no_rows(action: Action) -> str | None:
    job_rows = [row for row in (action.job_before, action.job_after) if row is not None]
    artifact_rows = [row for row in (action.artifact_before, action.artifact_after) if row is not None]
    if any(row.get("job_id") != action.job_id for row in (*job_rows, *artifact_rows)):
        return "its rows are of another job"
    place = (action.root_id, to_stored(action.path or ""))
    if any((row.get("root_id"), row.get("path")) != place for row in artifact_rows):
        return "its rows are of another file"
    known = _JOB_FIELDS | {"body"} if action.verb in _CARRIES_BODY else _JOB_FIELDS
    if any(not known.issuperset(row) for row in job_rows):
        return "its rows have fields no job has"
    if action.job_after is not None and action.to_status != action.job_after.get("status"):
        return "its rows do not say what it says"
    return None


def _why_no_transition(action: Action) -> str | None:
    before, after = action.job_before or {}, action.job_after or {}
    shape = (action.job_before is not None, action.job_after is not None)
    if shape != _SHAPES[action.verb]:
        return f"its rows do not fit {action.verb}"
    if action.job_after is None and action.verb is not Verb.LINK:
        return None
    if action.verb is Verb.CREATE:
        return _why_no_creation(action, after)
    if action.verb is Verb.IMPORT:
        return why_no_job(after)
    if action.verb in _RESTS_ON_FILE and (action.expect_file is None or action.artifact_after is None):
        return "it rests on no file"
    if action.verb is Verb.LINK:
        return None
    try:
        old, new = Status(before["status"]), Status(after["status"])
        check_transition(action.job_id, old, new, _CAUSES[action.verb], before.get("error_code"))
    except (KeyError, ValueError, IllegalTransition):
        return "its change of status is not allowed"
    return None


def _why_no_move(action: Action) -> str | None:
    """Why no file may be moved by this step: it names none, or its rows say more than that it was moved."""
    if not action.path or action.root_id is None or action.expect_file is None:
        return "it names no file"
    if action.path.split("/")[0].casefold() == _CONTROL:
        return "its file is one of jobctl's own"
    if action.job_before is not None or action.job_after is not None:
        return f"its rows do not fit {action.verb}"
    if (action.entry is None) != (action.verb is Verb.QUARANTINE):
        return "its place in quarantine is missing or in the way"
    if action.entry is not None and not _ENTRY.fullmatch(action.entry):
        return "its place in quarantine is none"
    before, after = action.artifact_before, action.artifact_after
    if (before is None) != (after is None):
        return "it makes or removes the row of a file"
    if action.verb is not Verb.RESTORE and before is not None and after is not None:
        kept = {name: value for name, value in before.items() if name not in _MOVED_FIELDS}
        if any(after.get(name) != value for name, value in kept.items()) or (
            after.get("state") != _STATE_AFTER[action.verb]
        ):
            return "its rows say more than that the file was moved"
    return None


def _why_no_creation(action: Action, job: Row) -> str | None:
    is_completed = job.get("status") == Status.COMPLETED and job.get("progress") == _FULL_PROGRESS
    if is_completed and (action.expect_file is None or action.artifact_after is None):
        return "it rests on no file"
    is_failed = job.get("status") == Status.FAILED and bool(job.get("error"))
    if not is_completed and (not is_failed or action.artifact_after is not None):
        return "it creates a job that is neither completed nor failed for a reason"
    if job.get("origin") != Origin.RECOVERED or any(job.get(name) is not None for name in _NEVER_REBUILT):
        return "it creates a job that recover would not make"
    unfounded = [name for name in _NEVER_GUESSED if job.get(name) != _founded(job, name)]
    return f"nothing is said to tell its {unfounded[0]}" if unfounded else None


def _founded(job: Row, name: str) -> object:
    """The value of a field that its provenance vouches for."""
    provenance = job.get("provenance")
    entry = provenance.get(name) if isinstance(provenance, dict) else None
    return entry.get("value") if isinstance(entry, dict) else None
