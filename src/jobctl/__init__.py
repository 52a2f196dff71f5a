"""jobctl: a job store that survives restarts, and the recovery toolkit for afterwards.

A service's dict of jobs, over the store (docs/jobdict.md)::

    import jobctl

    jobctl.recover_on_start()
    jobs = jobctl.JobDict(PresentationJob)
    jobs["a"] = job = PresentationJob("a")
    job.status = "processing"
    job.progress = 40

Jobs that workers carry out (docs/runner.md)::

    @jobctl.task("render", timeout="20m")
    def render(attempt):
        attempt.publish(make_film(attempt.payload), "output/film.mp4")

    with jobctl.Queue() as queue:
        queue.enqueue("render", {"slides": 3}, key="order-4711")

A file that is finished, seen whole or not at all: ``publish`` and ``publishing``. A check of one's own
for ``jobctl doctor`` takes a ``Patient`` and returns a ``Diagnosis`` with its ``Health``. The status API
is in ``jobctl.web``.

Each ``url`` is what ``--database`` takes: a file, or ``postgresql://USER@HOST/NAME``. Left out, it is
found as the program finds it: ``JOBCTL_DATABASE_URL``, ``jobctl.toml``, else the store of this user.
What goes wrong is raised as a ``JobctlError``: ``str()`` of it says what happened and what was left as it
was, ``hint`` what to do next.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Attempt",
    "Cancelled",
    "ClassRefused",
    "Diagnosis",
    "GiveUp",
    "Health",
    "IllegalTransition",
    "JobDict",
    "JobExists",
    "JobctlError",
    "Patient",
    "PublishRefused",
    "Queue",
    "Recovery",
    "Request",
    "StaleJob",
    "StoreUnreachable",
    "Task",
    "UnknownJob",
    "WouldBlock",
    "__version__",
    "publish",
    "publishing",
    "recover_on_start",
    "task",
]

_PLACES = {
    "Attempt": "runner.attempt",
    "Cancelled": "runner.attempt",
    "ClassRefused": "errors",
    "Diagnosis": "model.health",
    "GiveUp": "runner.attempt",
    "Health": "model.health",
    "IllegalTransition": "errors",
    "JobDict": "service.jobdict",
    "JobExists": "errors",
    "JobctlError": "errors",
    "Patient": "ops.doctor.patient",
    "PublishRefused": "errors",
    "Queue": "service.queue",
    "Recovery": "service.startup",
    "Request": "service.queue",
    "StaleJob": "errors",
    "StoreUnreachable": "errors",
    "Task": "runner.tasks",
    "UnknownJob": "errors",
    "WouldBlock": "errors",
    "publish": "service",
    "publishing": "service",
    "recover_on_start": "service.startup",
    "task": "runner.tasks",
}


def __dir__() -> list[str]:
    """What there is, for ``help()`` and for completion."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import what a service uses only when it is used: the program must start quickly."""
    if name in _PLACES:
        from importlib import import_module  # noqa: PLC0415 - see above

        return getattr(import_module(f"jobctl.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'jobctl' has no attribute {name!r}")
