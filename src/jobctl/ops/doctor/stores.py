"""Checks of the store, whichever database it is in."""

from __future__ import annotations

from jobctl.errors import JobctlError, StoreSchemaMismatch
from jobctl.model.health import Diagnosis, fail, ok, unknown
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.store.engine import HEAD, OlderSchema

THEME = "store"


@health_check(
    "store",
    THEME,
    "Without its store jobctl knows of no job; everything else rests on it.",
    needs_store=False,
)
def store(patient: Patient) -> Diagnosis:
    """Whether it answers; one of another schema does."""
    try:
        with patient.site.store.read() as connection:
            patient.site.store.now(connection)
    except StoreSchemaMismatch:
        return ok("it answers, but see 'schema'")
    except JobctlError as error:
        return fail(error.message, error.hint)
    return ok(patient.site.store.url)


@health_check(
    "schema",
    THEME,
    "A program that takes another schema for its own would damage the records.",
    needs_store=False,
)
def schema(patient: Patient) -> Diagnosis:
    """Whether it has the schema of this program."""
    try:
        return ok(f"schema {HEAD}, store {patient.site.store.store_id}")
    except OlderSchema as error:
        return fail(error.message, error.hint, "jobctl init")
    except StoreSchemaMismatch as error:
        return fail(error.message, error.hint)
    except JobctlError:
        return unknown("the store cannot be opened: see 'store'")


CHECKS: tuple[HealthCheck, ...] = (store, schema)
