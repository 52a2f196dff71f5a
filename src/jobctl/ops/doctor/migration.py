"""The check of a migration: services that write their dict and a store."""

from __future__ import annotations

from jobctl import clock
from jobctl.core.health.migration import judge_migration
from jobctl.model.health import Diagnosis, unknown
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.shadow_journal import read_journals

THEME = "migration"


@health_check(
    "migration",
    THEME,
    "The dict may go only once the store has every job that it has, and says the same of each.",
    needs_store=False,
    is_asked_for=True,
)
def migration(patient: Patient) -> Diagnosis:
    """What the services on this host that write both have told."""
    directory = patient.settings.shadow_journal
    try:
        states = read_journals(directory)
    except OSError as error:
        return unknown(f"{directory} cannot be read: {error.strerror}", "run it as the user of the service")
    return judge_migration(states, directory, clock.now())


CHECKS: tuple[HealthCheck, ...] = (migration,)
