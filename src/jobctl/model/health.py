"""Health: what a check of ``jobctl doctor`` came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobctl.model.explained import Explained

_MOST_SAID = 5


class Health(Explained):
    """How well something is, from well to ill."""

    OK = "ok", "it is as it should be"
    UNKNOWN = "unknown", "it could not be told, and why not is said"
    WARN = "warn", "it works, but not for sure or not for long"
    FAIL = "fail", "it needs somebody now"


_WORSE = list(Health)


class Diagnosis(NamedTuple):
    """What was found. ``fix`` is what to do about it, ``command`` one that mends it where there is one."""

    health: Health
    said: str
    fix: str = ""
    command: str = ""


class Examined(NamedTuple):
    """One check that was carried out: why it matters, what it found, and how many seconds it took."""

    check: str
    theme: str
    why: str
    diagnosis: Diagnosis
    seconds: float


def ok(said: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(Health.OK, said)


def unknown(said: str, fix: str = "", command: str = "") -> Diagnosis:
    """It could not be told."""
    return Diagnosis(Health.UNKNOWN, said, fix, command)


def warn(said: str, fix: str = "", command: str = "") -> Diagnosis:
    """It works, but somebody should look."""
    return Diagnosis(Health.WARN, said, fix, command)


def fail(said: str, fix: str = "", command: str = "") -> Diagnosis:
    """It does not work, or is about to do harm."""
    return Diagnosis(Health.FAIL, said, fix, command)


def together(diagnoses: Sequence[Diagnosis], *, well: str) -> Diagnosis:
    """One diagnosis of several things: the worst of them first; ``well`` is said where all are well."""
    ill = [each for each in diagnoses if each.health is not Health.OK]
    if not ill:
        return ok(well)
    ill.sort(key=lambda each: _WORSE.index(each.health), reverse=True)
    more = f"; and {len(ill) - _MOST_SAID:,} more" if len(ill) > _MOST_SAID else ""
    shown = ill[:_MOST_SAID]
    return Diagnosis(
        ill[0].health,
        "; ".join(each.said for each in shown) + more,
        "; ".join(dict.fromkeys(each.fix for each in shown if each.fix)),
        " && ".join(dict.fromkeys(each.command for each in shown if each.command)),
    )
