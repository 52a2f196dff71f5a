"""What a worker holds: the attempts it runs, and what the store does not know of them yet."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from jobctl.core.pace import Pace
from jobctl.core.settling import Ending, NotBegun, Raised, Returned, Stop, if_cancelled, settle
from jobctl.model.attempts import AttemptId, Claim, Lease, ProgressReport, Settlement, Turn
from jobctl.runner.counters import Counters
from jobctl.runner.crew import Crew
from jobctl.runner.options import Voice
from jobctl.runner.running import Running
from jobctl.work import TaskSpec

_GATHER_S = 0.005
"""So long ends of short jobs are gathered: each transaction is a sync to disk."""


class Held:
    """The attempts of one worker, from their claim until the store knows how they ended.

    ``now`` is a monotonic clock, in seconds.
    """

    def __init__(self, slots: int, counters: Counters, voice: Voice) -> None:
        self._slots = slots
        self._counters = counters
        self._voice = voice
        self._pace = Pace()
        self.running: dict[AttemptId, Running] = {}
        self.unwritten: list[Settlement] = []
        """How attempts ended, oldest first, until the store has it."""
        self._unwritten_since = 0.0
        self.progress: dict[AttemptId, ProgressReport] = {}
        """What attempts told last, until the store has it."""

    @property
    def is_empty(self) -> bool:
        return not self.running and not self.unwritten

    @property
    def next_deadline(self) -> float:
        """When something has to be done about an attempt."""
        return min((running.deadline for running in self.running.values()), default=float("inf"))

    @property
    def write_at(self) -> float:
        """When to write how attempts ended, if no jobs are taken before; 0 for now."""
        if not self.unwritten:
            return float("inf")
        are_more_to_come = bool(self.running) and self._pace.ahead > 0
        return self._unwritten_since + _GATHER_S if are_more_to_come else 0.0

    def wanted(self) -> int:
        """How many jobs to take now."""
        return self._pace.wanted(self._slots, len(self.running))

    def is_stuck(self, now: float) -> bool:
        """Whether what was taken ahead waits behind an attempt that turned out to be long."""
        return self._pace.is_stuck(now, self._slots, len(self.running))

    # --- how attempts begin and end ---------------------------------------------------------------

    def begin(self, claims: Sequence[Claim], specs: Mapping[str, TaskSpec], crew: Crew, now: float) -> None:
        """Note what a crew begins."""
        self._counters.started += len(claims)
        self._counters.wait_s += sum(claim.waited_s for claim in claims)
        self._pace.note_start(now)
        for claim in claims:
            self.running[claim.id] = Running(claim, specs[claim.kind], crew, now)

    def finish(self, of: AttemptId, ending: Ending, now: float) -> None:
        """Note how an attempt ended, and decide what becomes of its job."""
        running = self.running.pop(of, None)
        self.progress.pop(of, None)
        if running is None:
            return
        self._pace.note_end(now, len(self.running))
        self._counters.run_s += now - running.since
        if running.is_fenced:
            self._counters.fenced += 1
            return
        if not self.unwritten:
            self._unwritten_since = now
        self.unwritten.append(
            settle(
                running.claim,
                ending,
                spec=running.spec,
                stop=running.stop,
                has_published=running.has_published,
                luck=random.random(),  # noqa: S311 - no secret
            )
        )
        has_died = not isinstance(ending, Returned | Raised | NotBegun)
        self._counters.deaths += has_died and running.stop is None

    def press(self, now: float) -> None:
        """Go one step further with each attempt that should have ended."""
        for running in self.running.values():
            if now >= running.deadline:
                running.press(now)

    def stop_all(self, stop: Stop, now: float) -> None:
        """Ask everything that runs to stop."""
        for running in self.running.values():
            running.ask_to_stop(stop, now)

    def kill_all(self, stop: Stop, now: float) -> None:
        """End everything that runs, at once."""
        for running in self.running.values():
            running.kill(stop, now)

    # --- what the store says of them --------------------------------------------------------------

    def note_written(self, settlements: Sequence[Settlement], turn: Turn) -> None:
        """The store was told how these ended, the oldest of the unwritten; for some that was too late."""
        del self.unwritten[: len(settlements)]
        for each in settlements:
            instead = if_cancelled(each) if each.id in turn.cancelled else None
            self._counters.note(instead or each, self._voice, is_settled=each.id in turn.settled)

    def agree_with(self, leases: Sequence[Lease], now: float) -> None:
        """Stop what runs without a lease or is to be cancelled; hand back what is leased and does not run."""
        leased = {lease.id: lease for lease in leases}
        self.fence(of for of in self.running if of not in leased)
        for of, running in self.running.items():
            if of in leased and leased[of].is_cancelled:
                running.ask_to_stop(Stop.CANCEL, now)
        known = {*self.running, *(each.id for each in self.unwritten)}
        self.unwritten += [_never_begun(lease) for of, lease in leased.items() if of not in known]

    def note_found_written(self, leases: Sequence[Lease]) -> None:
        """Ends whose answer was lost: nobody but this worker can have ended what it held."""
        leased = {lease.id for lease in leases}
        for each in self.unwritten:
            if each.id not in leased:
                self._counters.note(each, self._voice, is_settled=True)
        self.unwritten = [each for each in self.unwritten if each.id in leased]

    def fence(self, lost: Iterable[AttemptId]) -> None:
        """Stop those of these attempts that run still: their jobs are somebody else's."""
        for of in lost:
            running = self.running.get(of)
            if running is not None and not running.is_fenced:
                self._voice.say(f"job {of.job_id}: attempt {of.attempt} no longer holds it, and is stopped")
                running.fence()

    def let_go(self) -> None:
        """All of it is somebody else's now."""
        self.fence(self.running)
        self.unwritten.clear()


def _never_begun(lease: Lease) -> Settlement:
    """What becomes of a job that was taken by a claim of which this worker never heard."""
    claim = Claim(*lease.id, 0, 0, "", None, 0.0)
    stop = Stop.CANCEL if lease.is_cancelled else None
    return settle(claim, NotBegun("the answer to its claim was lost"), spec=None, stop=stop)
