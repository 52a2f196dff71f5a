"""The other workers, as one worker sees them: who of them is lost, and what becomes of what they ran."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from jobctl.core.vigil import Vigil
from jobctl.errors import JobctlError
from jobctl.model.attempts import Peer
from jobctl.ops.rescue import Rescued, Rescuer, is_gone
from jobctl.ops.site import Site
from jobctl.runner.line import Line
from jobctl.store.leases import Holder


class Neighbours:
    """Looks after the jobs of the other workers."""

    def __init__(self, site: Site, holder: Holder, *, lease_s: float, say: Callable[[str], None]) -> None:
        self._site = site
        self._holder = holder
        self._say = say
        self._rescuer = Rescuer(site, actor=holder.actor, warn=say)
        self._vigil = Vigil(longest_gap_s=lease_s / 2)
        self._rescue_thread: Thread | None = None
        self._rescued: list[Rescued] = []
        self.count = 0
        """How many other workers there were when it last looked."""

    def begin_anew(self) -> None:
        """Forget whom it was watching: it was away itself, or could not reach the store."""
        self._vigil.begin_anew()

    def look_after(self, line: Line, now: float) -> list[Rescued]:
        """Give up who is lost, and settle what those ran; the jobs that were rescued."""
        peers = line.visit(lambda leases: leases.peers())
        if peers is None:
            return []
        silent = {peer.worker_id for peer in self._vigil.observe(peers, now)}
        self.count = len(peers) - 1
        for peer in peers:
            if peer.worker_id != self._holder.worker_id:
                self._give_up_if_lost(line, peer, is_silent=peer.worker_id in silent)
        return self._rescue(line)

    @property
    def is_rescuing(self) -> bool:
        """Whether it is at it, or what came of it was not told yet."""
        return self._rescue_thread is not None

    def _rescue(self, line: Line) -> list[Rescued]:
        """Begin, or tell what came of it. To read a large video may take minutes: this worker must go on."""
        thread = self._rescue_thread
        if thread is None:
            if line.visit(lambda _: self._rescuer.is_needed()):
                self._rescue_thread = Thread(target=self._rescue_some, name="rescue", daemon=True)
                self._rescue_thread.start()
            return []
        if thread.is_alive():
            return []
        rescued, self._rescued, self._rescue_thread = self._rescued, [], None
        for each in rescued:
            self._say(
                f"job {each.job_id}: attempt {each.attempt} of lost worker {each.worker} is over; "
                f"the job is {each.to}"
            )
        return rescued

    def _rescue_some(self) -> None:
        # A store that does not answer is noticed by the worker itself, and this is tried again.
        with suppress(JobctlError):
            self._rescued = self._rescuer.rescue()

    def _give_up_if_lost(self, line: Line, peer: Peer, *, is_silent: bool) -> None:
        is_dead = is_gone(peer.executor, self._site)
        if not (is_dead or is_silent):
            return
        if line.visit(lambda _: self._rescuer.give_up(peer, is_dead=is_dead)):
            why = "its process is gone" if is_dead else f"no heartbeat for {peer.lease_s:g} s"
            self._say(f"worker {peer.worker_id} is lost: {why}")
