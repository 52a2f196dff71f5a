"""The same presentations as jobs of a worker, which go on when a server or a worker dies.

``jobctl worker --tasks tasks`` renders; ``jobctl serve --no-tokens`` takes requests, tells how they stand
and hands out videos and thumbnails.
"""

from __future__ import annotations

import os
from pathlib import Path

import film

import jobctl


@jobctl.task("presentation", timeout="20m", retries=3)
def presentation(attempt: jobctl.Attempt) -> dict[str, str]:
    """Render one presentation and its thumbnail into the directory OUTPUTS."""
    outputs, scratch = Path(os.environ["OUTPUTS"]), Path(attempt.scratch)
    request = attempt.payload
    if attempt.number > 1:
        request.pop("stallsAt", None)
    film.picture(scratch / "film.jpg", request)
    film.render(scratch / "film.mp4", request, lambda percent: attempt.progress(percent / 100))
    attempt.publish(scratch / "film.jpg", outputs / f"thumbnail_{attempt.job_id}.jpg", role="thumbnail")
    video = attempt.publish(scratch / "film.mp4", outputs / f"presentation_{attempt.job_id}.mp4")
    return {"sha256": video.sha256}
