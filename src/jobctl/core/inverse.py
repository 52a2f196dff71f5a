"""The inverse of an action. Pure.

An action holds the rows it changes before and after. Applying writes *after* where
*before* still holds; the inverse swaps the two. Nothing else needs to be known to undo.
"""

from __future__ import annotations

from jobctl.model.plan import INVERSE, Action, Row, Verb


def invert(action: Action, *, seq: int, run_id: str) -> Action:
    """Turn a done action of a run into the one that takes it back."""
    return Action(
        seq=seq,
        verb=INVERSE[action.verb],
        job_id=action.job_id,
        reason=f"takes back: {action.reason}",
        root_id=action.root_id,
        path=action.path,
        from_status=action.to_status,
        to_status=action.from_status,
        confidence=action.confidence,
        expect_version=_version_after(action),
        expect_file=action.expect_file,
        job_before=action.job_after,
        job_after=action.job_before,
        artifact_before=_with_version_after(action),
        artifact_after=action.artifact_before,
        entry=f"{run_id}/{action.seq}" if action.verb is Verb.QUARANTINE else None,
    )


def _version_after(action: Action) -> int | None:
    if action.job_after is None:
        return None
    return 1 if action.expect_version is None else action.expect_version + 1


def _with_version_after(action: Action) -> Row | None:
    if action.artifact_after is None:
        return None
    version = 1 if action.artifact_before is None else int(action.artifact_before["version"]) + 1
    return {**action.artifact_after, "version": version}
