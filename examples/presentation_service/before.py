"""A presentation service that keeps its jobs in a dict, and loses them with its process.

``python before.py OUTPUTS [--port PORT]``
"""

from __future__ import annotations

import argparse
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import film
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse


@dataclass
class PresentationJob:
    """One presentation: what was asked for, and how far it is."""

    job_id: str
    request: dict[str, Any]
    status: str = "processing"
    progress: float = 0.0
    error: str | None = None
    video_url: str | None = None
    thumbnail_url: str | None = None
    created_files: list[str] = field(default_factory=list)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    completed_at: datetime | None = None


class PresentationService:
    """Renders each presentation on a thread of its own."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.jobs: dict[str, PresentationJob] = {}

    def create(self, request: dict[str, Any]) -> PresentationJob:
        """Begin a job. It waits for nobody: a thread of this process is at it."""
        job = PresentationJob(str(uuid.uuid4()), request)
        self.jobs[job.job_id] = job
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def video(self, job_id: str) -> Path:
        """Where a job's video is, once it is there."""
        return self.outputs / f"presentation_{job_id}.mp4"

    def thumbnail(self, job_id: str) -> Path:
        """Where a job's thumbnail is, which is there before the video is."""
        return self.outputs / f"thumbnail_{job_id}.jpg"

    def _run(self, job: PresentationJob) -> None:
        try:
            self._render(job)
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            job.error = str(error)
            job.status = "failed"
        else:
            job.created_files += [str(self.thumbnail(job.job_id)), str(self.video(job.job_id))]
            job.video_url = f"/presentations/{job.job_id}/video"
            job.thumbnail_url = f"/presentations/{job.job_id}/thumbnail"
            job.completed_at = datetime.now(UTC)
            job.progress = 100.0
            job.status = "completed"

    def _render(self, job: PresentationJob) -> None:
        def progress(percent: float) -> None:
            job.progress = percent

        film.picture(self.thumbnail(job.job_id), job.request)
        film.render(self.video(job.job_id), job.request, progress)


def app_of(service: PresentationService) -> FastAPI:
    """The service over HTTP."""
    app = FastAPI()

    @app.post("/presentations", status_code=202)
    def create(request: dict[str, Any]) -> dict[str, Any]:
        return answer(service.create(request))

    @app.get("/presentations/{job_id}")
    def status(job_id: str) -> dict[str, Any]:
        return answer(found(job_id))

    @app.get("/presentations/{job_id}/video")
    @app.get("/api/custom/presentations/{job_id}/video")
    def video(job_id: str) -> FileResponse:
        if found(job_id).status != "completed":
            raise HTTPException(404, "No video yet")
        return FileResponse(service.video(job_id), media_type="video/mp4")

    @app.get("/presentations/{job_id}/thumbnail")
    @app.get("/api/custom/presentations/{job_id}/thumbnail")
    def thumbnail(job_id: str) -> FileResponse:
        if found(job_id).thumbnail_url is None:
            raise HTTPException(404, "No thumbnail yet")
        return FileResponse(service.thumbnail(job_id), media_type="image/jpeg")

    def found(job_id: str) -> PresentationJob:
        job = service.jobs.get(job_id)
        if job is None:
            raise HTTPException(404, "Job not found")
        return job

    return app


def answer(job: PresentationJob) -> dict[str, Any]:
    """A job as clients read it."""
    return {
        "success": job.status != "failed",
        "jobId": job.job_id,
        "status": job.status,
        "progress": job.progress,
        "videoUrl": job.video_url,
        "thumbnailUrl": job.thumbnail_url,
        "error": job.error,
        "createdAt": job.created_at,
        "completedAt": job.completed_at,
    }


def main() -> None:
    """Serve until told to stop; say on standard output where."""
    parser = argparse.ArgumentParser(description="A small presentation service.")
    parser.add_argument("outputs", type=Path, help="where videos go")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    arguments = parser.parse_args()
    app = app_of(PresentationService(arguments.outputs))
    server = uvicorn.Config(app, port=arguments.port, log_config=None, timeout_graceful_shutdown=5)
    listener = server.bind_socket()
    listener.listen()
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(server).run([listener])


if __name__ == "__main__":
    main()
