"""The worker: takes jobs, has them run, settles them. One thread, which never runs a handler itself.

It hears what its crews report, visits the store (settle and claim in one transaction), and keeps
time: heartbeat, progress, the other workers, schedules, time limits. A store that does not answer
stops none of the attempts: what they came to is kept and written when it is back.
"""

from __future__ import annotations

import random
import secrets
import selectors
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Thread

from jobctl import clock
from jobctl.core.pace import Pace
from jobctl.core.settling import Ending, NotBegun, Raised, Returned, Stop, if_cancelled, settle
from jobctl.errors import JobctlError, StoreSchemaMismatch, StoreUnreachable
from jobctl.model.amounts import counted
from jobctl.model.attempts import AttemptId, Claim, Lease, ProgressReport, Settlement, Turn
from jobctl.model.files import Role
from jobctl.model.status import Status
from jobctl.ops.site import Site
from jobctl.ops.tallies import close_periods
from jobctl.runner import limits
from jobctl.runner.counters import Counters
from jobctl.runner.crew import Ended, Setup, Told
from jobctl.runner.crews import Crews
from jobctl.runner.line import Line
from jobctl.runner.neighbours import Neighbours
from jobctl.runner.options import Voice, WorkerOptions
from jobctl.runner.publishing import Desk
from jobctl.runner.running import STUCK_CREW_S, Running
from jobctl.runner.schedules import Schedules
from jobctl.runner.scratch import clear_left_behind, scratch_place
from jobctl.runner.signals import Signals
from jobctl.runner.systemd import Notifier
from jobctl.runner.timers import Calls, Every
from jobctl.runner.turns import take_turn
from jobctl.runner.unserved import LOOK_EVERY_S, Unserved
from jobctl.store import tallies, workers
from jobctl.store.declared import tell_tasks
from jobctl.store.leases import Holder, Leases
from jobctl.work import Work

_LOOK_EVERY_S = 1.0
_FLUSH_EVERY_S = 0.5
_LIFE_EVERY_S = 30.0
_ORDERS_EVERY_S = 0.2
_ASK_AGAIN_S = 0.3
_SETTLE_AT_ONCE = 1_000
_TALLY_EVERY_S = 10.0
_TALLY_AT_ONCE = 4_000
_PERIODS_EVERY_S, _PERIODS_WITHIN_S = 300.0, 0.2
_REMEMBERED = timedelta(days=30)
_FILES = 64
"""How many files a worker has open at most beside one for each attempt."""


@dataclass(slots=True)
class _Timers:
    beat: Every
    vigil: Every
    alive: Every
    flush: Every = field(default_factory=lambda: Every(_FLUSH_EVERY_S))
    life: Every = field(default_factory=lambda: Every(_LIFE_EVERY_S))
    look: Every = field(default_factory=lambda: Every(_LOOK_EVERY_S))
    orders: Every = field(default_factory=lambda: Every(_ORDERS_EVERY_S))
    tally: Every = field(default_factory=lambda: Every(_TALLY_EVERY_S))
    periods: Every = field(default_factory=lambda: Every(_PERIODS_EVERY_S))
    asks: Every = field(default_factory=lambda: Every(_ASK_AGAIN_S))
    unserved: Every = field(default_factory=lambda: Every(LOOK_EVERY_S))


class Worker:
    """One life of a worker, from ``run`` to its end."""

    def __init__(
        self,
        site: Site,
        options: WorkerOptions,
        work: Work,
        *,
        voice: Voice,
        reload: Callable[[], Work],
    ) -> None:
        self._site = site
        self._options = options
        self._work = self._new_work = self._begun_with = work
        self._voice = voice
        self._reload = reload
        self.counters = Counters()
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()
        self._notifier = Notifier()
        self._crews = Crews(options.isolation, self._selector, voice.say)
        self._line = Line(
            site.store,
            self._selector,
            lease_s=options.lease_s,
            register=self._register,
            greet=self._greet,
            say=voice.say,
        )
        self._running: dict[AttemptId, Running] = {}
        self._settling: list[Settlement] = []
        self._reports: dict[AttemptId, ProgressReport] = {}
        self._asks: list[Told] = []
        self._pace = Pace()
        self._timers = _Timers(
            Every(options.lease_s / 3), Every(options.lease_s / 5), Every(self._notifier.alive_every_s)
        )
        self._looks = True
        self._was_woken = False
        self._may_have_orders = False
        self._calls = Calls()
        self._found_nothing = False
        self._is_introduced = False
        self._unserved = Unserved(site, options.queues, voice.say)
        self._drain_until: float | None = None
        self._was_asked_to_stop = False
        # From when on a worker that ends waits no longer for a store that is away.
        self._gone_by = float("inf")
        self._outdated: StoreSchemaMismatch | None = None

    def run(self) -> Counters:
        """Work until asked to stop, or until nothing is due.

        Raises ``StoreUnreachable`` at the start, and at the end what is wrong with the store by then:
        ``StoreReplaced``, ``StoreSchemaMismatch``, or ``StoreUnreachable`` where ends are left unwritten.
        """
        if self._options.isolation == "process":
            limits.allow_files(self._options.slots + _FILES)
        with (
            self._selector,
            scratch_place() as scratch,
            self._signals.heard_by(self._selector),
        ):
            self._scratch = scratch
            self._line.open()
            # Not waited for: what a killed worker left may be large.
            Thread(target=clear_left_behind, name="scratch", daemon=True).start()
            try:
                self._start_crew()
                while not self._is_over():
                    self._wait()
                    self._hear()
                    self._visit()
                    self._keep_time()
            finally:
                self._end_life()
        if self._outdated is not None:
            raise self._outdated
        if self._settling:
            raise self._left_unwritten()
        return self.counters

    @property
    def troubles(self) -> Sequence[str]:
        """What could not be imported, each in one sentence."""
        return self._crews.troubles

    # --- life -------------------------------------------------------------------------------------

    def _register(self) -> Holder:
        """Enter the store under a name that was never used before."""
        executor = self._site.executor
        worker_id = f"{executor.host.partition('.')[0]}-{secrets.token_hex(4)}"
        holder = Holder(worker_id, executor._replace(instance=worker_id), self._options.queues)
        with self._site.store.write() as connection:
            self._site.store.expect_same(connection)
            now = self._site.store.now(connection)
            workers.forget_workers(connection, before=now - _REMEMBERED)
            workers.register(
                connection,
                holder,
                tasks=sorted(self._crews.specs),
                slots=self._options.slots,
                isolation=self._options.isolation,
                lease_s=self._options.lease_s,
                at=now,
            )
        self._holder, self._began_at = holder, now
        self._desk = Desk(self._site, holder.actor)
        self._neighbours = Neighbours(self._site, holder, lease_s=self._options.lease_s, say=self._voice.say)
        self._schedules = Schedules(self._site.store, self._work, actor=holder.actor)
        self._is_introduced = False
        return holder

    def _greet(self, leases: Leases) -> bool:
        """See over a new connection what this worker holds, also by a commit whose answer was lost."""
        self._expect_store(leases)
        if not leases.beat(self.counters.as_json(), self._state):
            self._let_go()
            return False
        held = leases.held()
        self._compare(held)
        self._note_written(held)
        self._neighbours.begin_anew()
        self._looks = True
        return True

    def _expect_store(self, leases: Leases) -> None:
        """Finish what runs and end where the store was migrated meanwhile. Raises ``StoreReplaced``."""
        try:
            leases.expect_store()
        except StoreSchemaMismatch as error:
            if self._outdated is None:
                self._outdated = error
                self._voice.say(f"{error.message}; this worker ends")
                self._begin_drain()

    def _let_go(self) -> None:
        """The others gave this worker up and took its jobs: whatever it runs is somebody else's now."""
        self._voice.say(f"worker {self._holder.worker_id} was given up by the others; it starts over")
        for of in self._running:
            self._fence(of)
        self._settling.clear()

    def _compare(self, held: list[Lease]) -> None:
        """Settle what is held and not run here, and stop what is run and no longer held."""
        known = {*self._running, *(each.id for each in self._settling)}
        for lease in held:
            if lease.id not in known:
                claim = Claim(*lease.id, 0, 0, "", None, 0.0)
                stop = Stop.CANCEL if lease.is_cancelled else None
                lost = NotBegun("the answer to its claim was lost")
                self._settling.append(settle(claim, lost, spec=None, stop=stop))
        mine = {lease.id for lease in held}
        for of in self._running:
            if of not in mine:
                self._fence(of)

    def _note_written(self, held: list[Lease]) -> None:
        """Settlements whose answer was lost: nobody but this worker can have ended what it held."""
        mine = {lease.id for lease in held}
        for settlement in self._settling:
            if settlement.id not in mine:
                self.counters.note(settlement, self._voice, is_settled=True)
        self._settling = [each for each in self._settling if each.id in mine]

    def _fence(self, of: AttemptId) -> None:
        running = self._running[of]
        if not running.is_fenced:
            self._voice.say(f"job {of.job_id}: attempt {of.attempt} no longer holds it, and is stopped")
            running.fence()

    def _end_life(self) -> None:
        self._crews.end()
        with suppress(JobctlError), self._site.store.write() as connection:
            now = self._site.store.now(connection)
            counters = self.counters.as_json()
            workers.end_worker(connection, self._holder.worker_id, "stopped", at=now, counters=counters)
        self._line.close()
        self._notifier.close()

    def _left_unwritten(self) -> StoreUnreachable:
        left = counted(len(self._settling), "attempt")
        return StoreUnreachable(
            f"the job store {self._site.store.url} stayed away: how {left} ended could not be written",
            hint="once it answers, the other workers take those jobs over: see them with 'jobctl workers'",
        )

    def _is_over(self) -> bool:
        is_idle = not self._running and not self._settling
        if self._drain_until is not None:
            return is_idle or (not self._running and self._is_in_vain)
        is_idle = is_idle and not self._neighbours.is_rescuing
        knows_nothing_due = self._found_nothing and self._crews.is_ready
        return self._options.is_burst and is_idle and (knows_nothing_due or self._crews.is_hopeless)

    @property
    def _is_in_vain(self) -> bool:
        """Whether the store is away still, though after a lease what could be written is fenced anyway."""
        return not self._line.is_open and clock.monotonic() >= self._gone_by

    @property
    def _state(self) -> str:
        return "running" if self._drain_until is None else "draining"

    # --- waiting and hearing ----------------------------------------------------------------------

    def _wait(self) -> None:
        self._signals.drain(self._select())
        if self._signals.stops:
            self._drain()
        if self._signals.reloads and self._drain_until is None:
            self._reload_work()

    def _select(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something is to be heard or done; look meanwhile at a database that does not call."""
        deadline = clock.monotonic() + self._longest_wait()
        while True:
            wait = max(0.0, deadline - clock.monotonic())
            pause = self._line.look_every_s if self._drain_until is None else None
            found = self._selector.select(wait if pause is None else min(wait, pause))
            if found or not wait or (pause is not None and self._hears_call()):
                return found

    def _hears_call(self) -> bool:
        self._was_woken = bool(self._line.visit(lambda leases: leases.was_woken())) or self._was_woken
        return self._was_woken or not self._line.is_open

    def _longest_wait(self) -> float:
        if self._settling and self._line.is_open:
            return 0.0
        timers = self._timers
        moments = [timers.beat.at, timers.vigil.at, timers.alive.at, timers.look.at, self._calls.next_at]
        moments.append(self._crews.next_start_at)
        if self._reports:
            moments.append(timers.flush.at)
        if self._asks:
            moments.append(timers.asks.at)
        if self._may_have_orders and self._running:
            moments.append(timers.orders.at)
        if self._drain_until is not None:
            moments.append(self._drain_until)
        moments += [running.deadline for running in self._running.values()]
        return min(max(0.0, min(moments) - clock.monotonic()), _LOOK_EVERY_S)

    def _hear(self) -> None:
        self._listen()
        self._end_reload()
        if self._crews.is_ready and not self._is_introduced:
            self._introduce()
        self._answer()

    def _listen(self) -> None:
        """Take in what the crews report."""
        for report in self._crews.reports():
            if isinstance(report, Ended):
                self._finish(report.of, report.ending)
            elif report.what == "progress":
                percent, note = report.words
                self._reports[report.of] = ProgressReport(*report.of, float(percent), note)
            else:
                self._asks.append(report)
                self._timers.asks.at = 0.0

    def _introduce(self) -> None:
        """Handlers are imported: tell which, and begin to take jobs."""
        names = sorted(self._crews.specs)
        if self._line.visit(lambda _: self._tell_tasks()) is None:
            return
        self._is_introduced = True
        self._crews.note_ready()
        for trouble in self._crews.troubles:
            self._voice.say(trouble)
        queues, known = ", ".join(self._options.queues), ", ".join(names) or "no task"
        self._voice.say(f"worker {self._holder.worker_id} serves {queues} with {known}")
        self._notifier.ready(f"{len(names)} tasks, {self._options.slots} slots")
        self._timers.unserved.at = 0.0

    def _tell_tasks(self) -> bool:
        specs = {name: spec.told for name, spec in self._crews.specs.items()}
        troubles, since = self._crews.troubles, self._began_at
        with self._site.store.write() as connection:
            tell_tasks(connection, self._holder.worker_id, specs, troubles=troubles, since=since)
        return True

    def _answer(self) -> None:
        """Answer what attempts ask; where the store is away or a lock is held, a little later."""
        now = clock.monotonic()
        if not self._asks or now < self._timers.asks.at:
            return
        asks, self._asks = self._asks, []
        self._timers.asks.at = now + _ASK_AGAIN_S
        for told in asks:
            running = self._running.get(told.of)
            if running is None:
                continue
            answer = self._line.visit(lambda _, told=told: (self._desk.answer(told),))  # type: ignore[misc]
            if answer is None or answer[0] is None:
                self._asks.append(told)
                continue
            if told.what == "published" and told.words[1] == Role.VIDEO and answer[0].kind == "ok":
                running.has_published = True
            running.crew.answer(told.of, told.number or 0, *answer[0])

    def _finish(self, of: AttemptId, ending: Ending) -> None:
        running = self._running.pop(of, None)
        self._reports.pop(of, None)
        if running is None:
            return
        now = clock.monotonic()
        self._pace.note_end(now, len(self._running))
        self.counters.run_s += now - running.since
        if running.is_fenced:
            self.counters.fenced += 1
            return
        self._settling.append(
            settle(
                running.claim,
                ending,
                spec=running.spec,
                stop=running.stop,
                has_published=running.has_published,
                luck=_luck(),
            )
        )
        has_died = not isinstance(ending, Returned | Raised | NotBegun)
        self.counters.deaths += has_died and running.stop is None

    # --- claim and settle -------------------------------------------------------------------------

    def _visit(self) -> None:
        """Write what ended and take what is due, in one transaction."""
        self._look_whether_woken()
        want = self._wanted()
        if not self._settling and not want:
            return
        visited = self._line.visit(lambda leases: self._take_turn(leases, want))
        if visited is None:
            return
        pending, turn = visited
        del self._settling[: len(pending)]
        for settlement in pending:
            instead = if_cancelled(settlement) if settlement.id in turn.cancelled else None
            self.counters.note(instead or settlement, self._voice, is_settled=settlement.id in turn.settled)
        if turn.claims:
            self._begin(turn.claims)
        if want:
            self._looks = len(turn.claims) == want
            self._found_nothing = not turn.claims
        if any(settlement.to is Status.QUEUED for settlement in pending):
            # What was given back may be due: nothing else would tell this worker of it.
            self._looks, self._found_nothing = True, False

    def _take_turn(self, leases: Leases, want: int) -> tuple[list[Settlement], Turn]:
        """What was to be written, and what came of it; a new connection may show that some is written."""
        pending = self._settling[:_SETTLE_AT_ONCE]
        return pending, take_turn(leases, pending, want, self._crews.specs, self._listen_meanwhile)

    def _listen_meanwhile(self) -> None:
        """While the store is at work: hear what ends, which is written the next time."""
        while found := self._selector.select(_LOOK_EVERY_S):
            if self._line.is_heard(found) or self._signals.are_heard(found):
                return
            self._listen()

    def _look_whether_woken(self) -> None:
        now = clock.monotonic()
        if self._line.is_open and self._hears_call():
            self._was_woken, self._may_have_orders = False, True
            self._calls.note(now, others=self._neighbours.count, luck=_luck())
        if self._timers.look.is_due(now) or self._calls.is_due(now):
            self._looks = True

    def _wanted(self) -> int:
        """How many jobs to take now."""
        is_able = self._looks and self._is_introduced and self._crews.is_ready
        if not is_able or self._drain_until is not None:
            return 0
        return self._pace.wanted(self._options.slots, len(self._running))

    def _begin(self, claims: list[Claim]) -> None:
        """Have the crew run them: it has handlers for all that was asked for."""
        now, specs = clock.monotonic(), self._crews.specs
        self.counters.started += len(claims)
        self.counters.wait_s += sum(claim.waited_s for claim in claims)
        self._pace.note_start(now)
        crew = self._crews.start(claims)
        for claim in claims:
            self._running[claim.id] = Running(claim, specs[claim.kind], crew, now)

    # --- time -------------------------------------------------------------------------------------

    def _keep_time(self) -> None:
        now, timers = clock.monotonic(), self._timers
        if timers.beat.is_due(now):
            self._beat()
        if timers.alive.is_due(now):
            self._notifier.alive()
        if self._may_have_orders and self._running and timers.orders.is_due(now):
            self._may_have_orders = False
            self._obey_orders()
        if self._reports and timers.flush.is_due(now):
            self._flush()
        if self._running and timers.life.is_due(now):
            self._line.visit(lambda leases: leases.show_life())
        if timers.vigil.is_due(now):
            self._keep_vigil(now)
        if self._is_introduced and timers.unserved.is_due(now):
            self._line.visit(lambda _: self._unserved.look())
        if timers.tally.is_due(now):
            self._line.visit(lambda _: tallies.fold(self._site.store, at_most=_TALLY_AT_ONCE))
        if self._is_introduced and timers.periods.is_due(now):
            self._line.visit(lambda _: close_periods(self._site, within_s=_PERIODS_WITHIN_S))
        self._press(now)
        self._keep_crews(now)

    def _beat(self) -> None:
        is_known = self._line.visit(lambda leases: (self._beat_over(leases),))
        if is_known == (False,):
            self._let_go()
            self._line.begin_anew()
        else:
            self._obey_orders()

    def _beat_over(self, leases: Leases) -> bool:
        self._expect_store(leases)
        return leases.beat(self.counters.as_json(), self._state)

    def _obey_orders(self) -> None:
        """See what is still held, and what is asked to stop."""
        held = self._line.visit(lambda leases: leases.held())
        if held is None:
            return
        self._compare(held)
        for lease in held:
            running = self._running.get(lease.id)
            if lease.is_cancelled and running is not None:
                running.ask_to_stop(Stop.CANCEL, clock.monotonic())

    def _flush(self) -> None:
        reports, self._reports = self._reports, {}
        stale = self._line.visit(lambda leases: leases.report(list(reports.values())))
        if stale is None:
            self._reports = {**reports, **self._reports}
            return
        for of in stale:
            if of in self._running:
                self._fence(of)

    def _keep_vigil(self, now: float) -> None:
        """Look after the other workers' jobs, and what the clock says is to be enqueued."""
        rescued = self._neighbours.look_after(self._line, now)
        self.counters.rescued += len(rescued)
        made = self._line.visit(lambda _: self._schedules.enqueue_due())
        self._looks = self._looks or bool(rescued or made)

    def _press(self, now: float) -> None:
        """Go one step further with each attempt that should have ended."""
        for running in list(self._running.values()):
            if now >= running.deadline:
                running.press(now)
        if self._drain_until is not None and now >= self._drain_until:
            for running in list(self._running.values()):
                running.ask_to_stop(Stop.DRAIN, now)
            self._drain_until = now + STUCK_CREW_S

    def _keep_crews(self, now: float) -> None:
        if self._pace.is_stuck(now, self._options.slots, len(self._running)):
            self._crews.recall("it was taken ahead, and would have waited for a longer one")
        needed = [running.crew for running in self._running.values()]
        if self._crews.keep(now, needed=needed, begins=self._drain_until is None):
            self._is_introduced = False

    # --- beginning and stopping -------------------------------------------------------------------

    def _start_crew(self) -> None:
        self._crews.begin(self._setup(self._work))
        self._is_introduced = False

    def _setup(self, work: Work) -> Setup:
        return Setup(self._options.modules, work, self._options.slots, self._scratch)

    def _drain(self) -> None:
        """The first signal: finish what runs, within the grace. Any further one: hand it back at once."""
        asked, self._signals.stops = self._signals.stops, 0
        # It may have begun to end by itself, where its store was migrated: that was no signal.
        is_again, self._was_asked_to_stop = self._was_asked_to_stop or asked > 1, True
        self._begin_drain()
        if is_again:
            self._voice.say("asked again: handing back at once")
            self._gone_by = clock.monotonic()
            for running in list(self._running.values()):
                running.kill(Stop.DRAIN, clock.monotonic())

    def _begin_drain(self) -> None:
        if self._drain_until is not None:
            return
        self._drain_until = clock.monotonic() + self._options.grace_s
        self._gone_by = self._drain_until + self._options.lease_s
        who = counted(len(self._running), "attempt has", "attempts have")
        self._voice.say(f"asked to stop: {who} {self._options.grace_s:g} s to finish")
        self._notifier.stopping()
        self._crews.recall("its worker was asked to stop")

    def _reload_work(self) -> None:
        """Read the configuration and import the handlers anew; what runs goes on as it began."""
        self._signals.reloads = 0
        self._notifier.reloading()
        try:
            self._new_work = self._reload()
        except JobctlError as error:
            self._go_on(error.message)
            return
        self._crews.renew(self._setup(self._new_work))

    def _end_reload(self) -> None:
        """Once the handlers are imported anew: begin with them, unless something is wrong with them now."""
        troubles = self._crews.renewal()
        if troubles is None:
            return
        if troubles:
            self._go_on("; ".join(troubles))
            return
        kept = self._begun_with.only_from_next_start(self._new_work)
        self._work = self._new_work
        self._began_at = self._line.visit(lambda _: self._now()) or self._began_at
        self._schedules = replace(self._schedules, work=self._work)
        self._is_introduced = False
        still = f"; {', '.join(kept)} in [worker] count only from its next start" if kept else ""
        self._voice.say(f"reloaded{still}")

    def _now(self) -> datetime:
        with self._site.store.read() as connection:
            return self._site.store.now(connection)

    def _go_on(self, why: str) -> None:
        self._voice.say(f"{why}; everything goes on as before")
        self._notifier.ready("not reloaded")


def _luck() -> float:
    """A number between 0 and 1: so that what failed together does not come back together."""
    return random.random()  # noqa: S311 - no secret
