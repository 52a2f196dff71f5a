"""Every check there is: jobctl's own, and those of installed packages."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint
from typing import Any

from jobctl.errors import UsageError
from jobctl.installed import installed
from jobctl.model.health import Diagnosis, unknown
from jobctl.ops.doctor import clocks, migration, places, postgresql, setup, sqlite, stores, work
from jobctl.ops.doctor.check import HealthCheck
from jobctl.ops.doctor.patient import Patient

ENTRY_POINTS = "jobctl.checks"
"""Installed packages name functions in this group of entry points; the entry's name is the check's."""

OWN = (
    *stores.CHECKS,
    *sqlite.CHECKS,
    *postgresql.CHECKS,
    *clocks.CHECKS,
    *places.CHECKS,
    *work.CHECKS,
    *setup.CHECKS,
    *migration.CHECKS,
)
"""The checks jobctl comes with, in the order they are carried out."""

STORE = stores.store
RUNNING_JOBS = work.running_jobs
MIGRATION = migration.migration
INSTALLED = "installed"


def all_checks(database: str) -> list[HealthCheck]:
    """The checks that concern a store in this database. What packages install is not imported for it."""
    own = [check for check in OWN if check.concerns(database)]
    return [*own, *_installed({check.name for check in own})]


def chosen(
    checks: Collection[HealthCheck],
    *,
    only: Collection[str],
    skip: Collection[str],
    also: Collection[HealthCheck] = (),
    every: bool = False,
) -> list[HealthCheck]:
    """The checks to carry out. ``also``: of those carried out only where asked for; ``every``: all of them.

    Raises ``UsageError`` for a name that no check has, in either database, and where all are skipped. What
    concerns only the other database is left out: one command line does for both.
    """
    names = {check.name for check in checks}
    for name in [*only, *skip]:
        if name not in names | {check.name for check in OWN}:
            near = difflib.get_close_matches(name, names, n=1)
            raise UsageError(
                f"there is no check {name!r}",
                hint=f"did you mean {near[0]}?" if near else "see them all: jobctl doctor --list",
            )
    left = [
        check
        for check in checks
        if check.name not in skip
        and (check in also or (check.name in only if only else every or not check.is_asked_for))
    ]
    if not left and skip:
        raise UsageError("no check is left to be carried out", hint="see them all: jobctl doctor --list")
    return left


def _installed(taken: Collection[str]) -> Iterator[HealthCheck]:
    found = installed(ENTRY_POINTS)
    entries = sorted(found.entries, key=lambda entry: entry.name)
    named = Counter([*taken, *(entry.name for entry in entries)])
    for entry in entries:
        package = (entry.dist and entry.dist.name) or entry.module
        name = f"{package}:{entry.name}" if named[entry.name] > 1 else entry.name
        yield HealthCheck(
            name=name,
            theme=INSTALLED,
            why=f"It comes with the package {package}.",
            examine=_Loaded(entry),
            needs_store=False,
        )
    for package in found.unreadable:
        yield HealthCheck(
            name=f"{package}:entry-points",
            theme=INSTALLED,
            why="A check that is not found looks at nothing.",
            examine=_unreadable,
            needs_store=False,
        )


def _unreadable(_patient: Patient) -> Diagnosis:
    return unknown("what this package adds cannot be read", "install it anew")


class _Loaded:
    """A check of an installed package, which is imported only when it is carried out."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        self.told_why = ""

    def __call__(self, patient: Patient) -> Diagnosis:
        examine: Any = self._entry.load()
        self.told_why = (inspect.getdoc(examine) or "").partition("\n")[0]
        found: Diagnosis = examine(patient)
        return found
