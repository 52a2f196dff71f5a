"""A small presentation service that keeps its jobs in a ``JobDict``: one server of several.

Told the store and the outputs directory. It recovers before its first request, and says on standard output
on which port it listens. What is rendered is a tiny film; a job with ``hold`` stays at half of it until its
server ends. Clients may ask its own endpoint or, below ``/v1``, the one of jobctl.
"""

from __future__ import annotations

import sys
import threading
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

import demo_tree
import jobctl
import jobctl.web

_STEPS = 4
_PATIENCE_S = 120.0
"""A machine that others keep busy is slow, and that is no news."""
_NEVER = threading.Event()


@dataclass
class PresentationJob:
    """A job as the service has it."""

    job_id: str
    status: str = "queued"
    progress: float = 0.0
    error: str | None = None
    video_url: str | None = None
    created_files: list[str] = field(default_factory=list)
    slides: list[dict[str, Any]] = field(default_factory=list)


class Presentations:
    """The jobs and what renders them."""

    def __init__(self, url: str, outputs: str) -> None:
        self.jobs = jobctl.JobDict(PresentationJob, url)
        self.outputs = Path(outputs)
        # Daemons: a server that is told to stop lets go of what it renders.
        self.slots = threading.BoundedSemaphore(2)

    def create(self, request: dict[str, Any]) -> PresentationJob:
        job_id = str(uuid.uuid4())
        self.jobs[job_id] = job = PresentationJob(job_id, slides=request.get("slides", []))
        threading.Thread(target=self.render, args=(job, bool(request.get("hold"))), daemon=True).start()
        return job

    def render(self, job: PresentationJob, hold: bool) -> None:
        job.status = "processing"
        for step in range(1, _STEPS):
            job.progress = 100 * step / _STEPS
            job.created_files.append(f"slide_{step}_{job.job_id}.mp4")
            if hold and step == _STEPS // 2:
                _NEVER.wait()
        with self.slots:
            final = self.outputs / f"presentation_{job.job_id}.mp4"
            temporary = final.with_name(f".{final.name}.part")
            demo_tree.encode(temporary, seed=1, frames=4, size=(64, 48))
            jobctl.publish(temporary, final, job_id=job.job_id)
        with self.jobs.edit(job.job_id) as job:
            job.status, job.progress = "completed", 100
            job.video_url = f"/presentations/{job.job_id}/video"


def app_of(service: Presentations, url: str) -> FastAPI:
    app = FastAPI()
    patient = jobctl.web.Limits(call_s=_PATIENCE_S)
    app.include_router(jobctl.web.router(url, prefix="/v1", limits=patient))

    @app.post("/presentations", status_code=202)
    def create(request: dict[str, Any]) -> dict[str, Any]:
        return {"jobId": service.create(request).job_id}

    @app.get("/presentations/{job_id}")
    def status(job_id: str) -> dict[str, Any]:
        job = service.jobs.get(job_id)
        if job is None:
            raise HTTPException(404, "not found")
        return {"jobId": job_id, **asdict(job)}

    @app.get("/presentations/{job_id}/video")
    def video(job_id: str) -> FileResponse:
        if job_id not in service.jobs:
            raise HTTPException(404, "not found")
        return FileResponse(service.outputs / f"presentation_{job_id}.mp4")

    return app


def main() -> None:
    """Serve until SIGTERM."""
    url, outputs = sys.argv[1:]
    jobctl.recover_on_start(url, within=_PATIENCE_S)
    config = uvicorn.Config(
        app_of(Presentations(url, outputs), url), port=0, log_config=None, timeout_graceful_shutdown=5
    )
    listener = config.bind_socket()
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
