"""A check: its name, why it matters, and the function that looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobctl.model.health import Diagnosis
from jobctl.ops.doctor.patient import Patient

Examination = Callable[[Patient], Diagnosis]
LIMIT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing to look at.

    ``why`` it matters, in one sentence. ``database``: the only one it is about. ``needs_store``: it
    cannot be told while the store does not answer. ``is_asked_for``: it is carried out only where it
    is named, or asked for by an option of its own. ``limit_s``: when to give up on it.
    """

    name: str
    theme: str
    why: str
    examine: Examination
    database: str | None = None
    needs_store: bool = True
    is_asked_for: bool = False
    limit_s: float = LIMIT_S

    def concerns(self, database: str) -> bool:
        """Whether it is about a store in this database."""
        return self.database in {None, database}


def health_check(
    name: str,
    theme: str,
    why: str,
    *,
    database: str | None = None,
    needs_store: bool = True,
    is_asked_for: bool = False,
    limit_s: float = LIMIT_S,
) -> Callable[[Examination], HealthCheck]:
    """Make a check of the decorated function."""

    def make(examine: Examination) -> HealthCheck:
        return HealthCheck(
            name=name,
            theme=theme,
            why=why,
            examine=examine,
            database=database,
            needs_store=needs_store,
            is_asked_for=is_asked_for,
            limit_s=limit_s,
        )

    return make
