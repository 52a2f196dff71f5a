"""The worker: takes jobs, has them run, settles them. One thread, which never runs a handler itself.

It hears what its crew reports, visits the store (settle and claim in one transaction), and keeps
time: heartbeat, progress, the vigil over other workers, schedules, time limits. A store that does
not answer stops none of the attempts: what they came to is kept and written when it is back.
"""

from __future__ import annotations

import os
import random
import secrets
import selectors
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from jobctl import clock
from jobctl.core.pace import Pace
from jobctl.core.settling import Ending, NotBegun, Raised, Returned, Stop, settle, unknown_task
from jobctl.core.vigil import Vigil
from jobctl.errors import JobctlError, StoreUnreachable
from jobctl.model.attempts import AttemptId, Claim, Lease, Peer, ProgressReport, Settlement, Turn
from jobctl.model.files import Role
from jobctl.model.status import Cause, Status
from jobctl.ops.site import Site
from jobctl.runner.crew import Crew, Ended, Setup, Told, open_crew
from jobctl.runner.publishing import Desk
from jobctl.runner.rescue import Rescuer
from jobctl.runner.running import STUCK_CREW_S, Running
from jobctl.runner.schedules import Schedules
from jobctl.runner.systemd import Notifier
from jobctl.runner.timers import Backoff, Every
from jobctl.store import workers
from jobctl.store.leases import Holder, Leases, open_leases
from jobctl.work import TaskSpec, Work

_LOOK_EVERY_S = 1.0
_LOOK_AGAIN_S = 0.06
_WATCH_DATABASE_EVERY_S = 0.005
_FLUSH_EVERY_S = 0.5
_LIFE_EVERY_S = 30.0
_ORDERS_EVERY_S = 0.2
_ASK_AGAIN_S = 0.3
_RETRY_S = (0.1, 5.0)
_SETTLE_AT_ONCE = 500
_REMEMBERED = timedelta(days=30)

Say = Callable[[str], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works. Times in seconds."""

    queues: tuple[str, ...] = ("default",)
    slots: int = 1
    isolation: str = "process"
    modules: tuple[str, ...] = ()
    is_burst: bool = False
    lease_s: float = 10.0
    grace_s: float = 30.0


class Voice(NamedTuple):
    """Where a worker tells what it does: what an operator must see, and the details."""

    say: Say
    detail: Say


@dataclass(slots=True)
class Counters:
    """What a worker did in its life. Waits and runs in seconds, summed up."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    handed_back: int = 0
    fenced: int = 0
    rescued: int = 0
    deaths: int = 0
    wait_s: float = 0.0
    run_s: float = 0.0

    def as_json(self) -> dict[str, float]:
        """For the store."""
        return {name: round(getattr(self, name), 3) for name in self.__dataclass_fields__}


@dataclass(slots=True)
class _Timers:
    beat: Every
    vigil: Every
    flush: Every = field(default_factory=lambda: Every(_FLUSH_EVERY_S))
    life: Every = field(default_factory=lambda: Every(_LIFE_EVERY_S))
    look: Every = field(default_factory=lambda: Every(_LOOK_EVERY_S))
    orders: Every = field(default_factory=lambda: Every(_ORDERS_EVERY_S))
    asks: Every = field(default_factory=lambda: Every(_ASK_AGAIN_S))


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
        self._work = work
        self._voice = voice
        self._reload = reload
        self.counters = Counters()
        self._selector = selectors.DefaultSelector()
        self._running: dict[AttemptId, Running] = {}
        self._settling: list[Settlement] = []
        self._reports: dict[AttemptId, ProgressReport] = {}
        self._asks: list[Told] = []
        self._leases: Leases | None = None
        self._wake_fd: int | None = None
        self._store_backoff = Backoff(*_RETRY_S)
        self._crew_backoff = Backoff(*_RETRY_S)
        self._pace = Pace()
        self._timers = _Timers(Every(options.lease_s / 3), Every(options.lease_s / 5))
        self._vigil = Vigil(longest_gap_s=options.lease_s / 2)
        self._looks = True
        self._was_woken = False
        self._may_have_orders = False
        self._look_again_at: float | None = None
        self._found_nothing = False
        self._signals = 0
        self._wants_reload = False
        self._drain_until: float | None = None
        self._notifier = Notifier()
        self._crew: Crew | None = None
        self._retired: list[Crew] = []

    def run(self) -> Counters:
        """Work until asked to stop, or until nothing is due. Raises ``StoreUnreachable`` at the start."""
        with tempfile.TemporaryDirectory(prefix="jobctl-worker-") as scratch, self._hearing_signals():
            self._scratch = scratch
            self._begin_life()
            try:
                self._start_crew()
                while not self._is_over():
                    self._wait()
                    self._hear()
                    self._visit()
                    self._keep_time()
            finally:
                self._end_life()
        return self.counters

    # --- life -------------------------------------------------------------------------------------

    def _begin_life(self) -> None:
        """Enter the store under a new id, which was never used before."""
        executor = self._site.executor
        worker_id = f"{executor.host.partition('.')[0]}-{secrets.token_hex(4)}"
        self._holder = Holder(worker_id, executor._replace(instance=worker_id), self._options.queues)
        self._desk = Desk(self._site, self._holder.actor)
        self._rescuer = Rescuer(self._site, actor=self._holder.actor, warn=self._voice.say)
        self._schedules = Schedules(self._site.store, self._work, actor=self._holder.actor)
        with self._site.store.write() as connection:
            now = self._site.store.now(connection)
            workers.forget_workers(connection, before=now - _REMEMBERED)
            workers.register(
                connection,
                self._holder,
                tasks=sorted(self._specs),
                slots=self._options.slots,
                isolation=self._options.isolation,
                lease_s=self._options.lease_s,
                at=now,
            )
        self._connect()

    def _end_life(self) -> None:
        for crew in [*self._retired, *([self._crew] if self._crew else [])]:
            if not crew.is_over:
                crew.kill()
        with suppress(JobctlError), self._site.store.write() as connection:
            now = self._site.store.now(connection)
            workers.end_worker(connection, self._holder.worker_id, "stopped", at=now)
        self._drop_connection()
        self._selector.close()
        self._notifier.close()

    def _is_over(self) -> bool:
        if self._drain_until is not None:
            return not self._running and not self._settling
        is_idle = not self._running and not self._settling and self._found_nothing
        return self._options.is_burst and is_idle and self._crew is not None and self._crew.is_ready

    def _start_crew(self) -> None:
        setup = Setup(self._options.modules, self._work, self._options.slots, self._scratch)
        self._crew = open_crew(setup, self._options.isolation, self._selector)
        self._introduced = False

    @property
    def _specs(self) -> dict[str, TaskSpec]:
        return dict(self._crew.specs) if self._crew else {}

    @contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(reading, selectors.EVENT_READ)
        self._signal_fd = reading
        before = {
            number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            for number in before:
                signal.signal(number, self._on_signal)
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _on_signal(self, number: int, _frame: Any) -> None:
        if number == signal.SIGHUP:
            self._wants_reload = True
        else:
            self._signals += 1

    # --- the store --------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Open the connection and see what this worker holds, also by a commit whose answer was lost."""
        leases = open_leases(self._site.store, self._holder)
        try:
            is_known = leases.beat(self.counters.as_json(), self._state)
            held = leases.held()
        except JobctlError:
            leases.close()
            raise
        self._leases = leases
        self._wake_fd = leases.wake_fd()
        if self._wake_fd is not None:
            self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._vigil.begin_anew()
        self._looks = True
        if is_known:
            self._compare(held)
        else:
            self._start_over()

    def _drop_connection(self) -> None:
        if self._wake_fd is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(self._wake_fd)
        if self._leases is not None:
            self._leases.close()
        self._leases = self._wake_fd = None

    def _with_store(self, visit: Callable[[Leases], _T]) -> _T | None:
        """Do something with the store; ``None`` where it does not answer, and is tried again later."""
        now = clock.monotonic()
        if self._leases is None and not self._store_backoff.is_due(now):
            return None
        try:
            if self._leases is None:
                self._connect()
                self._voice.say("the job store answers again")
            if self._leases is None:
                return None
            done = visit(self._leases)
        except StoreUnreachable as error:
            if not self._store_backoff.pause:
                self._voice.say(f"{error.message}; attempts go on, trying again")
            self._drop_connection()
            self._store_backoff.fail(now)
            return None
        self._store_backoff.succeed()
        return done

    def _compare(self, held: list[Lease]) -> None:
        """Settle what is held and not run here, and stop what is run and no longer held."""
        known = {*self._running, *(each.id for each in self._settling)}
        for lease in held:
            if lease.id not in known:
                claim = Claim(*lease.id, 0, "", None, 0.0)
                self._settling.append(settle(claim, NotBegun("the answer to its claim was lost"), spec=None))
        mine = {lease.id for lease in held}
        for of in [of for of in self._running if of not in mine]:
            self._fence(of)

    def _start_over(self) -> None:
        """This worker was given up, and its jobs were taken: whatever it runs is somebody else's now."""
        self._voice.say(f"worker {self._holder.worker_id} was given up by the others; it starts over")
        for of in list(self._running):
            self._fence(of)
        self._settling.clear()
        self._drop_connection()
        self._begin_life()
        self._introduced = False

    def _fence(self, of: AttemptId) -> None:
        running = self._running[of]
        if not running.is_fenced:
            self._voice.say(f"job {of.job_id}: attempt {of.attempt} no longer holds it, and is stopped")
            running.fence()

    # --- waiting and hearing ----------------------------------------------------------------------

    def _wait(self) -> None:
        for key, _ in self._select():
            if key.fd == self._signal_fd:
                with suppress(BlockingIOError):
                    os.read(self._signal_fd, 512)
        if self._signals:
            self._drain()
        if self._wants_reload:
            self._reload_work()

    def _select(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something is to be heard or done; look meanwhile at a database that cannot call."""
        wait = self._longest_wait()
        must_watch = self._leases is not None and self._wake_fd is None and self._drain_until is None
        if not must_watch:
            return self._selector.select(wait)
        deadline = clock.monotonic() + wait
        while True:
            found = self._selector.select(min(wait, _WATCH_DATABASE_EVERY_S))
            if found or self._hears_call():
                return found
            wait = deadline - clock.monotonic()
            if wait <= 0:
                return found

    def _hears_call(self) -> bool:
        self._was_woken = bool(self._with_store(lambda leases: leases.was_woken())) or self._was_woken
        return self._was_woken or self._leases is None

    def _longest_wait(self) -> float:
        if self._settling and self._leases is not None:
            return 0.0
        now = clock.monotonic()
        timers = self._timers
        moments = [timers.beat.at, timers.vigil.at, timers.look.at]
        if self._reports:
            moments.append(timers.flush.at)
        if self._asks:
            moments.append(timers.asks.at)
        if self._may_have_orders and self._running:
            moments.append(timers.orders.at)
        if self._look_again_at is not None:
            moments.append(self._look_again_at)
        moments += [running.deadline for running in self._running.values()]
        if self._drain_until is not None:
            moments.append(self._drain_until)
        if self._crew is None or self._crew.is_over:
            moments.append(self._crew_backoff.at)
        return min(max(0.0, min(moments) - now), _LOOK_EVERY_S)

    def _hear(self) -> None:
        for crew in [*self._retired, *([self._crew] if self._crew else [])]:
            for report in crew.reports():
                if isinstance(report, Ended):
                    self._finish(report.of, report.ending)
                elif report.what == "progress":
                    percent, note = report.words
                    self._reports[report.of] = ProgressReport(*report.of, float(percent), note)
                else:
                    self._asks.append(report)
                    self._timers.asks.at = 0.0
        if self._crew is not None and self._crew.is_ready and not self._introduced:
            self._introduce()
        self._answer()

    def _introduce(self) -> None:
        """Handlers are imported: tell which, and begin to take jobs."""
        crew = self._crew
        if crew is None:
            return
        names = sorted(crew.specs)
        with_store = self._with_store(lambda _: self._tell_tasks(names))
        if with_store is None:
            return
        self._introduced = True
        self._crew_backoff.succeed()
        for trouble in crew.troubles:
            self._voice.say(trouble)
        queues, known = ", ".join(self._options.queues), ", ".join(names) or "no task"
        self._voice.say(f"worker {self._holder.worker_id} serves {queues} with {known}")
        self._notifier.ready(f"{len(names)} tasks, {self._options.slots} slots")

    def _tell_tasks(self, names: list[str]) -> bool:
        with self._site.store.write() as connection:
            workers.set_tasks(connection, self._holder.worker_id, names)
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
            answer = self._with_store(lambda _, told=told: (self._desk.answer(told),))  # type: ignore[misc]
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
        self._pace.note_end(now)
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
                luck=random.random(),  # noqa: S311 - no secret
            )
        )
        has_died = not isinstance(ending, Returned | Raised | NotBegun)
        self.counters.deaths += has_died and running.stop is None

    # --- claim and settle -------------------------------------------------------------------------

    def _visit(self) -> None:
        """Write what ended and take what is due, in one transaction."""
        self._look_whether_woken()
        want = self._wanted()
        pending = self._settling[:_SETTLE_AT_ONCE]
        if not pending and not want:
            return
        turn = self._with_store(lambda leases: self._take_turn(leases, pending, want))
        if turn is None:
            return
        del self._settling[: len(pending)]
        for settlement in pending:
            self._note(settlement, is_settled=settlement.id in turn.settled)
        if turn.claims:
            self._begin(turn.claims)
        if want:
            self._looks = len(turn.claims) == want
            self._found_nothing = not turn.claims
            if turn.claims and not self._looks:
                # Whoever enqueues much notifies seldom.
                self._look_again_at = clock.monotonic() + _LOOK_AGAIN_S

    def _take_turn(self, leases: Leases, pending: list[Settlement], want: int) -> Turn:
        try:
            return leases.take_turn(pending, want)
        except StoreUnreachable:
            raise
        # One settlement that no database takes must not keep the others from being written.
        except Exception:
            if not pending:
                raise
            return self._settle_singly(leases, pending)

    def _settle_singly(self, leases: Leases, pending: list[Settlement]) -> Turn:
        settled: set[AttemptId] = set()
        for settlement in pending:
            try:
                settled |= leases.take_turn([settlement], 0).settled
            except StoreUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 - see above
                said = f"how it ended could not be stored: {error}"
                plain = Settlement(
                    *settlement.id, Status.FAILED, Cause.EXECUTOR, error=said, error_code="bad-result"
                )
                settled |= leases.take_turn([plain], 0).settled
        return Turn(frozenset(settled), [])

    def _look_whether_woken(self) -> None:
        now = clock.monotonic()
        if self._timers.look.is_due(now) or (self._look_again_at is not None and now >= self._look_again_at):
            self._looks, self._look_again_at = True, None
        if self._leases is not None and self._hears_call():
            self._was_woken = False
            self._looks = self._may_have_orders = True

    def _wanted(self) -> int:
        """How many jobs to take now."""
        crew = self._crew
        if not self._looks or crew is None or not crew.is_ready or not self._introduced:
            return 0
        if self._drain_until is not None:
            return 0
        return self._pace.wanted(self._options.slots, len(self._running))

    def _begin(self, claims: list[Claim]) -> None:
        """Have the crew run what it has a handler for."""
        crew, now = self._crew, clock.monotonic()
        self.counters.started += len(claims)
        self.counters.wait_s += sum(claim.waited_s for claim in claims)
        known = []
        for claim in claims:
            spec = crew.specs.get(claim.kind) if crew else None
            if crew is None or spec is None:
                self._refuse(claim)
            else:
                known.append(claim)
                self._running[claim.id] = Running(claim, spec, crew, now)
        if crew is not None and known:
            self._pace.note_start(now)
            crew.start(known)

    def _refuse(self, claim: Claim) -> None:
        troubles = list(self._crew.troubles) if self._crew else []
        luck = random.random()  # noqa: S311 - no secret
        self._settling.append(unknown_task(claim, sorted(self._specs), troubles, luck))

    def _note(self, settlement: Settlement, *, is_settled: bool) -> None:
        counters, of = self.counters, f"job {settlement.job_id}: attempt {settlement.attempt}"
        if not is_settled:
            counters.fenced += 1
            self._voice.say(f"{of} no longer held it; how it ended changed nothing")
        elif settlement.to is Status.COMPLETED:
            counters.completed += 1
        elif settlement.to is Status.FAILED:
            counters.failed += 1
            self._voice.say(f"{of} failed: {settlement.error}")
        elif settlement.to is Status.CANCELLED:
            counters.cancelled += 1
            self._voice.say(f"{of} was cancelled")
        elif settlement.cause is Cause.RETRY:
            counters.retried += 1
            delay = settlement.delay_s or 0.0
            self._voice.say(f"{of} failed: {settlement.error}; the next begins in {delay:.0f} s")
        else:
            counters.handed_back += 1
            self._voice.detail(f"{of} was handed back")

    # --- time -------------------------------------------------------------------------------------

    def _keep_time(self) -> None:
        now, timers = clock.monotonic(), self._timers
        if timers.beat.is_due(now):
            self._beat()
            self._notifier.alive()
        if self._may_have_orders and self._running and timers.orders.is_due(now):
            self._may_have_orders = False
            self._obey_orders()
        if self._reports and timers.flush.is_due(now):
            self._flush()
        if self._running and timers.life.is_due(now):
            self._with_store(lambda leases: leases.show_life())
        if timers.vigil.is_due(now):
            self._keep_vigil(now)
        self._press(now)
        self._keep_crew(now)
        if self._pace.is_stuck(now, self._options.slots, len(self._running)) and self._crew:
            self._crew.recall()

    def _beat(self) -> None:
        counters = self.counters.as_json()
        is_known = self._with_store(lambda leases: (leases.beat(counters, self._state),))
        if is_known == (False,):
            self._with_store(lambda _: self._start_over())
        else:
            self._obey_orders()

    def _obey_orders(self) -> None:
        """See what is still held, and what is asked to stop."""
        held = self._with_store(lambda leases: leases.held())
        if held is None:
            return
        self._compare(held)
        for lease in held:
            running = self._running.get(lease.id)
            if lease.is_cancelled and running is not None:
                running.ask_to_stop(Stop.CANCEL, clock.monotonic())

    def _flush(self) -> None:
        reports, self._reports = self._reports, {}
        stale = self._with_store(lambda leases: leases.report(list(reports.values())))
        if stale is None:
            self._reports = {**reports, **self._reports}
            return
        for of in stale:
            if of in self._running:
                self._fence(of)

    def _keep_vigil(self, now: float) -> None:
        """Look after the other workers' jobs, and what the clock says is to be enqueued."""
        peers = self._with_store(lambda leases: leases.peers())
        if peers is None:
            return
        silent = {peer.worker_id for peer in self._vigil.observe(peers, now)}
        for peer in peers:
            if peer.worker_id != self._holder.worker_id:
                self._give_up_if_lost(peer, is_silent=peer.worker_id in silent)
        for rescued in self._with_store(lambda _: self._rescuer.rescue()) or []:
            self.counters.rescued += 1
            self._looks = True
            self._voice.say(
                f"job {rescued.job_id}: attempt {rescued.attempt} of lost worker {rescued.worker} is over; "
                f"the job is {rescued.to}"
            )
        self._with_store(lambda _: self._schedules.enqueue_due())

    def _give_up_if_lost(self, peer: Peer, *, is_silent: bool) -> None:
        is_dead = self._rescuer.is_dead(peer)
        if not (is_dead or is_silent):
            return
        if self._with_store(lambda _: self._rescuer.give_up(peer, is_dead=is_dead)):
            why = "its process is gone" if is_dead else f"no heartbeat for {peer.lease_s:g} s"
            self._voice.say(f"worker {peer.worker_id} is lost: {why}")

    def _press(self, now: float) -> None:
        """Go one step further with each attempt that should have ended."""
        for running in list(self._running.values()):
            if now >= running.deadline:
                running.press(now)
        if self._drain_until is not None and now >= self._drain_until:
            for running in list(self._running.values()):
                running.ask_to_stop(Stop.DRAIN, now)
            self._drain_until = now + STUCK_CREW_S

    def _keep_crew(self, now: float) -> None:
        self._retired = [crew for crew in self._retired if self._is_needed(crew)]
        if self._crew is not None and self._crew.is_over and self._drain_until is None:
            if not self._crew_backoff.pause:
                self._voice.say("the process that runs handlers ended; it is started again")
            if self._crew_backoff.is_due(now):
                self._crew_backoff.fail(now)
                self._start_crew()

    def _is_needed(self, crew: Crew) -> bool:
        if any(running.crew is crew for running in self._running.values()) and not crew.is_over:
            return True
        if not crew.is_over:
            crew.kill()
        return False

    @property
    def _state(self) -> str:
        return "running" if self._drain_until is None else "draining"

    # --- stopping ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        """The first signal: finish what runs, within the grace. Any further one: hand it back at once."""
        signals, self._signals = self._signals, 0
        is_first = self._drain_until is None
        if is_first:
            self._drain_until = clock.monotonic() + self._options.grace_s
            self._voice.say(
                f"asked to stop: {len(self._running)} attempts have {self._options.grace_s:g} s to finish"
            )
            self._notifier.stopping()
            if self._crew is not None:
                self._crew.recall()
        if not is_first or signals > 1:
            self._voice.say("asked again: handing back at once")
            for running in list(self._running.values()):
                running.kill(Stop.DRAIN, clock.monotonic())

    def _reload_work(self) -> None:
        """Read the configuration and import the handlers anew; what runs goes on as it began."""
        self._wants_reload = False
        self._notifier.reloading()
        try:
            self._work = self._reload()
        except JobctlError as error:
            self._voice.say(f"{error.message}; everything goes on as before")
            self._notifier.ready("not reloaded")
            return
        self._schedules = replace(self._schedules, work=self._work)
        if self._crew is not None:
            self._crew.recall()
            self._retired.append(self._crew)
        self._start_crew()
        self._voice.say("reloaded")
