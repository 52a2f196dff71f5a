"""Whether clocks agree."""

from __future__ import annotations

from jobctl.durations import age_said
from jobctl.model.health import Diagnosis, fail, ok, warn

SKEW_WARN_S = 5.0
SKEW_FAIL_S = 300.0
_FOLLOW_TIME = "let every host follow the same time: timedatectl set-ntp true"


def judge_skew(clock: str, other: str, ahead_s: float) -> Diagnosis:
    """Whether two clocks agree; ``ahead_s``: by how many seconds the first is ahead of the other."""
    if abs(ahead_s) <= SKEW_WARN_S:
        return ok(f"{clock} and {other} agree within {SKEW_WARN_S:.0f} s")
    way = "ahead of" if ahead_s > 0 else "behind"
    ill = fail if abs(ahead_s) > SKEW_FAIL_S else warn
    return ill(f"{clock} is {age_said(abs(ahead_s))} {way} {other}", _FOLLOW_TIME)


def judge_jump(why_jumped: str | None) -> Diagnosis:
    """Whether the store's clock ran evenly since it was last looked at."""
    if why_jumped is None:
        return ok("it ran evenly")
    return warn(f"{why_jumped}: ages begin anew, and nothing is taken for its age", _FOLLOW_TIME)
