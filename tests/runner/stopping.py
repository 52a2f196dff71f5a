"""A task whose process is stopped just between the permission to publish and the rename."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import jobctl
from jobctl.outputs import effects
from media import encode

_rename = effects.rename_noreplace


@jobctl.task("film", retries=3, backoff="1s")
def film(attempt: jobctl.Attempt) -> str:
    root = attempt.payload
    made = encode(Path(attempt.scratch, "film.mp4"), seed=attempt.number)
    if attempt.number == 1:
        # The whole group of the worker stops: its heartbeat, and this attempt in the middle of publishing.
        def stop_first(*arguments: object) -> None:
            Path(root, "stopping").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
            _rename(*arguments)  # type: ignore[arg-type]
            Path(root, "renamed").touch()

        effects.rename_noreplace = stop_first  # type: ignore[assignment]
    final = Path(root, f"presentation_{attempt.job_id}.mp4")
    return attempt.publish(made, final).sha256
