"""What a remote render says of its job, as facts like those of files and logs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobctl.model.evidence import Fact, Trust
from jobctl.model.job import Confidence
from jobctl.model.renders import KnownRender, RenderState
from jobctl.model.timestamps import format_timestamp

SOURCE = "renderer"


def facts_of_renders(renders: Iterable[KnownRender]) -> list[Fact]:
    """The facts of the renders that belong to a job: ``remote_id``, ``remote_status``, ``remote_created_at``.

    They are believed like a log where it is certain that the render is the job's, else like a name.
    """
    return [fact for known in renders if known.job_id is not None for fact in _facts(known.job_id, known)]


def notes_of_renders(renders: Iterable[KnownRender]) -> list[str]:
    """What an operator should hear of the renders of one job."""
    return [_NOTES[known.render.state].format(known.render.remote_id, known.job_id) for known in renders]


_NOTES = {
    RenderState.RENDERING: "its render {0} is still rendering remotely",
    RenderState.READY: "its render {0} is ready, to be downloaded: jobctl remote download {1}",
    RenderState.FAILED: "its render {0} failed remotely",
    RenderState.DRAFT: "its render {0} is a draft that was never rendered",
    RenderState.UNKNOWN: "its render {0} is in a state that is not known",
}


def _facts(job_id: str, known: KnownRender) -> list[Fact]:
    proof, render = known.matched_by, known.render
    is_certain = proof is not None and proof.confidence is Confidence.CERTAIN
    trust = Trust.SERVER_LOG if is_certain else Trust.NAME_AND_FILE
    values: dict[str, Any] = {"remote_id": render.remote_id, "remote_status": render.state.value}
    if render.created_at is not None:
        values["remote_created_at"] = format_timestamp(render.created_at)
    locator = f"{known.renderer} {render.remote_id}, asked at {format_timestamp(known.seen_at)}"
    note = proof.meaning if proof is not None else ""
    return [Fact(job_id, name, value, SOURCE, locator, trust, note) for name, value in values.items()]
