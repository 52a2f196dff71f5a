"""The same presentations as jobs of a worker, which go on when a server or a worker dies.

``jobctl worker --tasks tasks`` renders; ``jobctl serve --no-tokens`` takes requests, tells how they stand
and hands out videos.
"""

from __future__ import annotations

import os
from pathlib import Path

import film

import jobctl


@jobctl.task("presentation", timeout="20m", retries=3)
def presentation(attempt: jobctl.Attempt) -> dict[str, str]:
    """Render one presentation into the directory OUTPUTS."""
    final = Path(os.environ["OUTPUTS"]) / f"presentation_{attempt.job_id}.mp4"
    made = Path(attempt.scratch, "film.mp4")
    request = attempt.payload
    if attempt.number > 1:
        request.pop("stallsAt", None)
    film.render(made, request, lambda percent: attempt.progress(percent / 100))
    return {"sha256": attempt.publish(made, final).sha256}
