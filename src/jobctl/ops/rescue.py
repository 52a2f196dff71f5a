"""Rescue: what becomes of the jobs of workers that died, or were cut off for a whole lease."""

from __future__ import annotations

import random
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from jobctl.core.planning import media_row
from jobctl.core.settling import after_death
from jobctl.errors import JobctlError, RootUnavailable, StaleJob, UnknownJob
from jobctl.evidence.executor import liveness
from jobctl.model.attempts import AttemptId, Lease, Peer, Settlement
from jobctl.model.files import Media, Role, Seen, Tier, Verdict
from jobctl.model.job import Executor
from jobctl.model.status import Status
from jobctl.ops.hold import open_registered, visible_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.site import Site
from jobctl.outputs.directories import stat_below
from jobctl.outputs.fingerprint import FileChanged, Reach
from jobctl.outputs.identity import identity_of
from jobctl.outputs.root import OpenRoot
from jobctl.settings import Settings
from jobctl.store import jobs, workers
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

_AT_ONCE = 50
_UNJUDGED = frozenset({Verdict.UNSETTLED, Verdict.UNREADABLE})


class Rescued(NamedTuple):
    """A job that was rescued, and what became of it."""

    job_id: str
    attempt: int
    to: Status
    worker: str


class Published(NamedTuple):
    """A file that a dead attempt published, found whole; or why that cannot be told from here."""

    offer: workers.Offer | None
    mtime_ns: int = 0
    media: Media | None = None
    unseen: str | None = None


class Rescuer:
    """Ends the leases that nobody renews any more. Many may do it at once: each lease is ended by one."""

    def __init__(self, site: Site, *, actor: str, warn: Callable[[str], None]) -> None:
        self._site = site
        self._actor = actor
        self._warn = warn
        self._warned: set[AttemptId] = set()
        self._after = ""

    def give_up(self, peer: Peer, *, is_dead: bool) -> bool:
        """Record that a worker is lost, unless it has beaten since; its leases are free then."""
        store = self._site.store
        with store.write() as connection:
            beat = None if is_dead else peer.beat
            return workers.end_worker(connection, peer.worker_id, "lost", at=store.now(connection), beat=beat)

    def is_needed(self) -> bool:
        """Whether lost workers left jobs."""
        with self._site.store.read() as connection:
            return bool(workers.forgotten_leases(connection, limit=1))

    def rescue(self) -> list[Rescued]:
        """Settle the jobs of lost workers, some at a time: with each call the next ones, round and round."""
        with self._site.store.read() as connection:
            leases = workers.forgotten_leases(connection, limit=_AT_ONCE, after=self._after)
        # Those that cannot be settled from here stay; they must not stand in the way of the others.
        self._after = leases[-1].job_id if len(leases) == _AT_ONCE else ""
        return [rescued for lease in leases if (rescued := self._rescue(lease)) is not None]

    def rescue_all(self) -> list[Rescued]:
        """Settle the jobs of lost workers, as far as that can be done from here."""
        self._after = ""
        rescued = self.rescue()
        while self._after:
            rescued += self.rescue()
        return rescued

    def _rescue(self, lease: Lease) -> Rescued | None:
        published = self._published(lease)
        if published.unseen is not None:
            if lease.id not in self._warned:
                self._warned.add(lease.id)
                self._warn(f"job {lease.job_id} of lost worker {lease.worker} is left: {published.unseen}")
            return None
        with self._site.store.write() as connection:
            held = workers.lock_lease(connection, lease)
            if held is None:
                return None
            with suppress(UnknownJob, StaleJob):
                to = self._settle(connection, held, published)
                workers.release(connection, held.id)
                return Rescued(lease.job_id, lease.attempt, to, lease.worker)
            workers.release(connection, held.id)
        return None

    def _settle(self, connection: Connection, lease: Lease, published: Published) -> Status:
        job = workers.expect_current(connection, lease.id)
        at = self._site.store.now(connection)
        if published.offer is not None:
            workers.accept(
                connection,
                published.offer,
                actor=self._actor,
                at=at,
                mtime_ns=published.mtime_ns,
                media=media_row(published.media) if published.media else None,
                fields=video_fields(self._site.settings, published.offer),
            )
        settlement = after_death(job, lease, has_video=published.offer is not None, luck=random.random())  # noqa: S311 - no secret
        jobs.change_status(
            connection,
            lease.job_id,
            settlement.to,
            expect=Status.PROCESSING,
            cause=settlement.cause,
            actor=self._actor,
            at=at,
            attempt=lease.attempt,
            changes=_changes(settlement, at),
            detail=settlement.detail,
        )
        workers.forget_offers(connection, lease.job_id)
        return settlement.to

    def _published(self, lease: Lease) -> Published:
        """The video that the attempt published, if it did: whole, and with the bytes it was allowed."""
        with self._site.store.read() as connection:
            offers = [
                *workers.offers_of(connection, lease.job_id),
                *workers.accepted_by(connection, lease.id),
            ]
        for offer in offers:
            if offer.role != Role.VIDEO or offer.attempt != lease.attempt:
                continue
            found = self._look(offer)
            if found.offer is not None or found.unseen is not None:
                return found
        return Published(None)

    def _look(self, offer: workers.Offer) -> Published:
        row = next((row for row in self._roots() if row.root_id == offer.root_id), None)
        if row is None:
            return Published(None, unseen=f"its video may lie below root {offer.root_id}, not seen from here")
        try:
            with open_registered(self._site, row) as root:
                return self._verified(root, offer)
        except JobctlError as error:
            return Published(None, unseen=f"its video may lie below a root that is away: {error.message}")
        except OSError as error:
            return Published(None, unseen=f"its video {offer.path!r} cannot be read: {error.strerror}")
        except FileChanged as changed:
            return _not_yet(offer, str(changed))

    def _roots(self) -> list[RootRow]:
        try:
            return visible_roots(self._site)
        except RootUnavailable:
            return []

    def _verified(self, root: OpenRoot, offer: workers.Offer) -> Published:
        found = _identify(root, offer)
        if found is None:
            return Published(None)
        with Inspector(self._site, [root], Tier.DEMUX) as inspector:
            probe = inspector.look(found, Tier.DEMUX)
            if probe.check.verdict in _UNJUDGED:
                return _not_yet(offer, probe.check.reason)
            is_same = inspector.fingerprint(found, Reach.WHOLE, on_bytes=_ignore).sha256 == offer.sha256
        is_whole = probe.check.verdict is Verdict.WHOLE and probe.identity == found.identity
        return Published(offer, found.mtime_ns, probe.media) if is_whole and is_same else Published(None)


def video_fields(settings: Settings, video: workers.Offer) -> dict[str, str]:
    """What the record of a job says of the video that was published for it."""
    return {"video_url": settings.video_url_form.format(job_id=video.job_id), "root_id": video.root_id}


def is_gone(executor: Executor, site: Site) -> bool:
    """Whether it is proven here that a process is gone."""
    return liveness(executor, host=site.host) == "dead"


def _not_yet(offer: workers.Offer, why: str) -> Published:
    """The answer where a video lies there that may be the one: whoever has it open may soon be done."""
    return Published(None, unseen=f"its video {offer.path!r} cannot be judged yet: {why}")


def _changes(settlement: Settlement, at: datetime) -> dict[str, Any]:
    """What changes in the record beside its status."""
    if settlement.to is Status.QUEUED:
        return {"run_at": at + timedelta(seconds=settlement.delay_s or 0.0)}
    if settlement.to is Status.COMPLETED:
        return {}
    return {"error": settlement.error, "error_code": settlement.error_code}


def _identify(root: OpenRoot, offer: workers.Offer) -> Seen | None:
    """The file of an offer as it lies there; ``None`` where it does not. Raises ``OSError``."""
    try:
        found = stat_below(root.fd, offer.path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size != offer.size:
        return None
    return Seen(offer.job_id, offer.root_id, offer.path, Role.VIDEO, *identity_of(found))


def _ignore(count: int) -> None:
    """Nobody watches how far a checksum has come."""
