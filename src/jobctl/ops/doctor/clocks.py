"""Checks of clocks: this host's, the store's, and that of each root's file system.

Hosts that each agree with the store agree with one another: run it on each of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobctl import clock
from jobctl.core.ages import Reading, why_jumped
from jobctl.core.health.clocks import judge_jump, judge_skew
from jobctl.evidence.executor import this_boot_id
from jobctl.model.health import Diagnosis
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.doctor.places import of_each_root
from jobctl.ops.site import store_now
from jobctl.outputs.root import OpenRoot, root_clock_ns
from jobctl.store import clocks

THEME = "clocks"


@health_check(
    "store-clock", THEME, "Ages of jobs count by the store's clock; logs and files are dated by this host's."
)
def store_clock(patient: Patient) -> Diagnosis:
    """The store's clock beside this host's."""
    return judge_skew(
        "the store's clock", "this host's", (store_now(patient.site) - clock.now()).total_seconds()
    )


@health_check("clock-jumps", THEME, "After a jump of the clock everything looks old, or nothing does.")
def clock_jumps(patient: Patient) -> Diagnosis:
    """The store's clock since it was last looked at."""
    site = patient.site
    with site.store.read() as connection:
        before = clocks.last_reading(connection, site.host)
    now = Reading(site.host, this_boot_id(), clock.monotonic(), store_now(site))
    return judge_jump(why_jumped(now, before))


@health_check(
    "disk-clock",
    THEME,
    "Ages of files count by the clock of the file server; one that is wrong makes them wrong.",
)
def disk_clock(patient: Patient) -> Diagnosis:
    """The clock of each root beside the store's."""

    def look(root: OpenRoot) -> Iterable[Diagnosis]:
        there, here = root_clock_ns(root), store_now(patient.site).timestamp()
        if there is not None:
            yield judge_skew(f"the clock of {root.path}", "the store's", there / 1e9 - here)

    return of_each_root(patient, look, well="no root's clock is off")


CHECKS: tuple[HealthCheck, ...] = (store_clock, clock_jumps, disk_clock)
