"""Hand out a job's files: only of completed jobs, and only the bytes that were accepted.

Accepted is what the attempt that holds the job published, or what a recovery checked: its artifact
is there, whole, and bears the checksum. Nothing that lies under its name by chance is handed out,
nor what was moved to quarantine, nor what somebody is writing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from jobctl.errors import FileUnavailable, NotCompleted, RootUnavailable
from jobctl.model.commands import shell_word
from jobctl.model.files import Role, Verdict
from jobctl.model.job import Artifact, Event, Job
from jobctl.model.names import to_stored
from jobctl.model.status import Status
from jobctl.model.timestamps import from_epoch_ns
from jobctl.ops.hold import open_registered
from jobctl.ops.site import Site
from jobctl.outputs.handout import Accepted, NotAsAccepted, OpenFile, Proven, open_accepted
from jobctl.store import jobs, roots
from jobctl.store.roots import RootRow

__all__ = ["Handout", "NotAsAccepted", "Proven", "open_handout"]

_ENDINGS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
}
_UNKNOWN_TYPE = "application/octet-stream"


class Handout(NamedTuple):
    """An open file, to be closed by whoever has it. ``name`` is what a browser may call it."""

    file: OpenFile
    name: str
    media_type: str
    modified: datetime


def open_handout(site: Site, job_id: str, role: Role, proven: Proven) -> Handout:
    """Open the video or the thumbnail of a completed job.

    Raises ``UnknownJob``, ``NotCompleted``, ``FileUnavailable``, or ``RootUnavailable`` where it
    cannot be told from here whether the file is there.
    """
    with site.store.read() as connection:
        job = jobs.get_job(connection, job_id)
        _expect_completed(job)
        files = [file for file in jobs.artifacts_of(connection, job.job_id) if file.role == role]
        if any(file.sha256 is None for file in files):
            files = _with_accepted_sums(files, jobs.history(connection, job.job_id))
        known = {row.root_id: row for row in roots.get_roots(connection)}
    troubles: list[str] = []
    for file in _best_first(files):
        row = known.get(file.root_id)
        if row is None:
            continue
        opened = _open(site, row, file, proven, troubles)
        if opened is not None:
            return _handout(opened, file, job_id)
    why = troubles[0] if troubles else _why_none(files, role)
    raise FileUnavailable(
        f"the {role} of job {job_id} cannot be handed out: {why}",
        hint=f"see: jobctl scan --job {shell_word(job_id)}",
    )


def _expect_completed(job: Job) -> None:
    if job.status is not Status.COMPLETED:
        ended = (
            "ended without a video" if job.status in {Status.FAILED, Status.CANCELLED} else "is not completed"
        )
        raise NotCompleted(
            f"job {job.job_id} {ended}: it is {job.status}", hint="ask for its status until it is completed"
        )


def _best_first(files: list[Artifact]) -> Iterator[Artifact]:
    """The files that are there and were found whole, those with a checksum first, the newest first."""
    sound = [file for file in files if file.state == "present" and _is_sound(file)]
    newest = sorted(sound, key=lambda file: file.noted_at.timestamp() if file.noted_at else 0.0, reverse=True)
    yield from sorted(newest, key=lambda file: file.sha256 is None)


def _with_accepted_sums(files: list[Artifact], events: Sequence[Event]) -> list[Artifact]:
    """The files, each with the checksum that was accepted of it last.

    A file that was missing and is found again has a record without one: what it was is in the history.
    """
    told = [event.detail or {} for event in events if event.kind == "artifact"]
    sums = {detail.get("path"): detail.get("sha256") for detail in told}
    return [replace(file, sha256=file.sha256 or sums.get(to_stored(file.path))) for file in files]


def _is_sound(file: Artifact) -> bool:
    if file.size is None or (file.sha256 is None and file.mtime_ns is None):
        return False
    return file.verdict == Verdict.WHOLE if file.role == Role.VIDEO else True


def _why_none(files: list[Artifact], role: Role) -> str:
    if not files:
        return f"no {role} of it is recorded"
    if any(file.state == "present" for file in files):
        return "it was never found whole"
    return f"it is {files[0].state}"


def _open(site: Site, row: RootRow, file: Artifact, proven: Proven, troubles: list[str]) -> OpenFile | None:
    if row.host not in {None, site.host}:
        raise RootUnavailable(
            f"the file lies on host {row.host}, which this server cannot see",
            hint="send the request to that host",
        )
    accepted = Accepted(file.path, file.size or 0, file.sha256, file.mtime_ns)
    with open_registered(site, row) as root:
        try:
            return open_accepted(root.fd, accepted, proven)
        except NotAsAccepted as error:
            troubles.append(str(error))
        except FileNotFoundError:
            troubles.append("it is not there")
        except OSError as error:
            troubles.append(f"it cannot be opened: {error.strerror}")
    return None


def _handout(file: OpenFile, artifact: Artifact, job_id: str) -> Handout:
    ending = os.path.splitext(artifact.path)[1].lower()
    if artifact.role == Role.VIDEO:
        media_type, name = _ENDINGS.get(ending, _UNKNOWN_TYPE), f"presentation_{job_id}{ending}"
    else:
        media_type, name = _image_type(file.head), f"thumbnail_{job_id}{ending}"
    try:
        modified = from_epoch_ns(file.mtime_ns)
    except OverflowError:
        modified = from_epoch_ns(0)
    return Handout(file, name, media_type, modified)


def _image_type(head: bytes) -> str:
    """What an image is by its first bytes: its name may say anything."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return _UNKNOWN_TYPE
