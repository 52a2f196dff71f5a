"""Lost workers: who held jobs and will not end them, and the rescue of those jobs.

Every worker does this for the others all the time. Here it is done once, for where none runs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from jobctl import clock
from jobctl.durations import spoken_duration
from jobctl.model.attempts import LeaseHolder
from jobctl.ops.rescue import Rescued, Rescuer, is_gone
from jobctl.ops.site import Site
from jobctl.store import workers

_LOOK_EVERY_S = 0.5


class Lost(NamedTuple):
    """A worker that is lost, why that is known, and how many jobs it held."""

    holder: LeaseHolder
    reason: str


def find_lost(site: Site, *, on_wait: Callable[[float], None]) -> list[Lost]:
    """The workers that hold jobs and will not end them. Changes nothing.

    One that ended, or whose process is gone on this host, is lost at once. One that was silent
    for its whole lease by the store's clock is watched for another one by this host's own: only
    a heartbeat that stands still then is proof. ``on_wait`` hears how many seconds are left.
    """
    with site.store.read() as connection:
        holders, now = workers.holders(connection), site.store.now(connection)
    lost, silent = [], []
    for holder in holders:
        if holder.is_ended:
            lost.append(Lost(holder, "it ended"))
        elif is_gone(holder.executor, site):
            lost.append(Lost(holder, "its process is gone"))
        elif (now - holder.seen_at).total_seconds() > holder.lease_s:
            silent.append(holder)
    return lost + _still_silent(site, silent, on_wait)


def rescue_from(site: Site, lost: list[Lost], *, warn: Callable[[str], None]) -> list[Rescued]:
    """Give the lost workers up, unless one shows life after all, and settle what they held."""
    rescuer = Rescuer(site, actor=site.actor, warn=warn)
    for each in lost:
        if not each.holder.is_ended:
            rescuer.give_up(each.holder.peer, is_dead=is_gone(each.holder.executor, site))
    return rescuer.rescue_all()


def _still_silent(site: Site, silent: list[LeaseHolder], on_wait: Callable[[float], None]) -> list[Lost]:
    """Those of them whose heartbeat stands still for a whole lease, which is waited for."""
    if not silent:
        return []
    until = clock.monotonic() + max(holder.lease_s for holder in silent)
    while (left := until - clock.monotonic()) > 0:
        on_wait(left)
        clock.sleep(min(left, _LOOK_EVERY_S))
    with site.store.read() as connection:
        beats = {holder.worker_id: holder.beat for holder in workers.holders(connection)}
    return [
        Lost(holder, f"no heartbeat for {spoken_duration(timedelta(seconds=holder.lease_s))}")
        for holder in silent
        if beats.get(holder.worker_id) == holder.beat
    ]
