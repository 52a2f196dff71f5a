"""The worker: takes jobs, has them run, settles them. One thread, which never runs a handler itself.

It hears what its crews report, visits the store (settle and claim in one transaction), and keeps
time: heartbeat, progress, the other workers, schedules, time limits. A store that does not answer
stops none of the attempts: what they came to is kept and written when it is back.

Its parts: ``line`` (its connection to the store), ``crews`` (what runs its handlers), ``held`` (its
attempts), ``lookout`` (when it looks for more), ``questions`` (of its attempts), ``upkeep`` (what it
does beside its own jobs) and ``leaving`` (how it ends).
"""

from __future__ import annotations

import secrets
import selectors
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from threading import Thread

from jobctl import clock
from jobctl.core.settling import Stop
from jobctl.errors import JobctlError, StoreSchemaMismatch, StoreUnreachable
from jobctl.model.amounts import counted
from jobctl.model.attempts import ProgressReport, Settlement, Turn
from jobctl.model.status import Status
from jobctl.ops.site import Site, store_now
from jobctl.runner import limits
from jobctl.runner.counters import Counters
from jobctl.runner.crew import Ended, Setup
from jobctl.runner.crews import Crews
from jobctl.runner.held import Held
from jobctl.runner.leaving import Leaving
from jobctl.runner.line import Line
from jobctl.runner.lookout import LOOK_EVERY_S, Lookout
from jobctl.runner.options import Voice, WorkerOptions
from jobctl.runner.questions import Questions
from jobctl.runner.scratch import clear_left_behind, scratch_place
from jobctl.runner.signals import Signals
from jobctl.runner.systemd import Notifier
from jobctl.runner.timers import Every
from jobctl.runner.turns import take_turn
from jobctl.runner.upkeep import Upkeep
from jobctl.store import workers
from jobctl.store.declared import tell_tasks
from jobctl.store.leases import Holder, Leases
from jobctl.work import Work

_FLUSH_EVERY_S = 0.5
_LIFE_EVERY_S = 30.0
_SETTLE_AT_ONCE = 1_000
_REMEMBERED = timedelta(days=30)
_FILES = 64
"""How many files a worker has open at most beside one for each attempt."""


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
        self._site, self._options, self._voice = site, options, voice
        self._begun_with, self._reload = work, reload
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
        self._held = Held(options.slots, self.counters, voice)
        self._lookout = Lookout(self._line)
        self._questions = Questions(site, self._line)
        self._leaving = Leaving(grace_s=options.grace_s, lease_s=options.lease_s)
        self._upkeep = Upkeep(site, self._line, options, counters=self.counters, say=voice.say)
        self._beat_timer = Every(options.lease_s / 3)
        self._alive_timer = Every(self._notifier.alive_every_s)
        self._flush_timer = Every(_FLUSH_EVERY_S)
        self._life_timer = Every(_LIFE_EVERY_S)
        self._is_introduced = False

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
            self._line.open()
            # Not waited for: what a killed worker left may be large.
            Thread(target=clear_left_behind, name="scratch", daemon=True).start()
            try:
                options = self._options
                self._crews.begin(Setup(options.modules, self._begun_with, options.slots, scratch))
                while not self._is_over():
                    self._wait()
                    self._hear()
                    self._visit()
                    self._keep_time()
            finally:
                self._end_life()
        if self._leaving.reason is not None:
            raise self._leaving.reason
        if self._held.unwritten:
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
        self._questions.begin(holder)
        self._upkeep.begin(holder)
        self._is_introduced = False
        return holder

    def _greet(self, leases: Leases) -> bool:
        """See over a new connection what this worker holds, also by a commit whose answer was lost."""
        if not self._beat_over(leases):
            self._let_go()
            return False
        held = leases.held()
        self._held.agree_with(held, clock.monotonic())
        self._held.note_found_written(held)
        self._upkeep.neighbours.begin_anew()
        self._lookout.expect()
        return True

    def _beat_over(self, leases: Leases) -> bool:
        """Show that this worker lives; whether the others think so. Raises ``StoreReplaced``.

        Where the store was migrated meanwhile, it finishes what runs and ends.
        """
        try:
            leases.expect_store()
        except StoreSchemaMismatch as error:
            if self._leaving.reason is None:
                self._leaving.reason = error
                self._voice.say(f"{error.message}; this worker ends")
                self._begin_to_leave()
        return leases.beat(self.counters.as_json(), "draining" if self._leaving.has_begun else "running")

    def _let_go(self) -> None:
        """The others gave this worker up and took its jobs."""
        self._voice.say(f"worker {self._holder.worker_id} was given up by the others; it starts over")
        self._held.let_go()

    def _is_over(self) -> bool:
        if self._leaving.has_begun:
            is_in_vain = not self._line.is_open and self._leaving.is_late(clock.monotonic())
            return not self._held.running and (is_in_vain or not self._held.unwritten)
        is_idle = self._held.is_empty and not self._upkeep.neighbours.is_rescuing
        knows_nothing_due = self._lookout.found_nothing and self._crews.is_ready
        return self._options.is_burst and is_idle and (knows_nothing_due or self._crews.is_hopeless)

    def _end_life(self) -> None:
        self._crews.end()
        with suppress(JobctlError), self._site.store.write() as connection:
            now = self._site.store.now(connection)
            counters = self.counters.as_json()
            workers.end_worker(connection, self._holder.worker_id, "stopped", at=now, counters=counters)
        self._line.close()
        self._notifier.close()

    def _left_unwritten(self) -> StoreUnreachable:
        left = counted(len(self._held.unwritten), "attempt")
        return StoreUnreachable(
            f"the job store {self._site.store.url} stayed away: how {left} ended could not be written",
            hint="once it answers, the other workers take those jobs over: see them with 'jobctl workers'",
        )

    # --- waiting and hearing ----------------------------------------------------------------------

    def _wait(self) -> None:
        self._signals.drain(self._select())
        if self._signals.stops:
            self._leave()
        if self._signals.reloads and not self._leaving.has_begun:
            self._reload_work()

    def _select(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something is to be heard or done; look meanwhile at a database that does not call."""
        deadline = clock.monotonic() + self._longest_wait()
        while True:
            wait = max(0.0, deadline - clock.monotonic())
            pause = None if self._leaving.has_begun else self._line.look_every_s
            found = self._selector.select(wait if pause is None else min(wait, pause))
            if found or not wait or (pause is not None and self._lookout.hears_call()):
                return found

    def _longest_wait(self) -> float:
        moments = [
            self._held.write_at if self._line.is_open else float("inf"),
            self._beat_timer.at,
            self._alive_timer.at,
            self._flush_timer.at if self._held.progress else float("inf"),
            self._lookout.next_at(is_busy=bool(self._held.running)),
            self._questions.next_at,
            self._held.next_deadline,
            self._crews.next_start_at,
            self._upkeep.next_at,
            self._leaving.stops_at,
        ]
        return min(max(0.0, min(moments) - clock.monotonic()), LOOK_EVERY_S)

    def _hear(self) -> None:
        self._listen()
        self._end_reload()
        if self._crews.is_ready and not self._is_introduced:
            self._introduce()
        self._questions.answer(self._held.running, clock.monotonic())

    def _listen(self) -> None:
        """Take in what the crews report."""
        for report in self._crews.reports():
            if isinstance(report, Ended):
                self._held.finish(report.of, report.ending, clock.monotonic())
            elif report.what == "progress":
                percent, note = report.words
                self._held.progress[report.of] = ProgressReport(*report.of, float(percent), note)
            else:
                self._questions.add(report)

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
        self._upkeep.note_tasks()

    def _tell_tasks(self) -> bool:
        specs = {name: spec.told for name, spec in self._crews.specs.items()}
        troubles, since = self._crews.troubles, self._began_at
        with self._site.store.write() as connection:
            tell_tasks(connection, self._holder.worker_id, specs, troubles=troubles, since=since)
        return True

    # --- claim and settle -------------------------------------------------------------------------

    def _visit(self) -> None:
        """Write what ended and take what is due, in one transaction."""
        now = clock.monotonic()
        self._lookout.look_around(now, others=self._upkeep.neighbours.count)
        want = self._wanted()
        if not want and now < self._held.write_at:
            return
        visited = self._line.visit(lambda leases: self._take_turn(leases, want))
        if visited is None:
            return
        written, turn = visited
        self._held.note_written(written, turn)
        if turn.claims:
            specs, crew = self._crews.specs, self._crews.start(turn.claims)
            self._held.begin(turn.claims, specs, crew, clock.monotonic())
        if want:
            self._lookout.note_taken(len(turn.claims), wanted=want)
        if any(settlement.to is Status.QUEUED for settlement in written):
            # What was given back may be due: nothing else would tell this worker of it.
            self._lookout.expect()

    def _take_turn(self, leases: Leases, want: int) -> tuple[Sequence[Settlement], Turn]:
        """What was written, and what came of it; a new connection may show that some is written already."""
        unwritten = self._held.unwritten[:_SETTLE_AT_ONCE]
        return take_turn(leases, unwritten, want, self._crews.specs, self._listen_meanwhile)

    def _listen_meanwhile(self) -> None:
        """While the store is at work: hear what ends, which is written the next time."""
        while found := self._selector.select(LOOK_EVERY_S):
            if self._line.is_heard(found) or self._signals.are_heard(found):
                return
            self._listen()

    def _wanted(self) -> int:
        """How many jobs to take now."""
        is_able = self._lookout.may_find and self._is_introduced and self._crews.is_ready
        return self._held.wanted() if is_able and not self._leaving.has_begun else 0

    # --- time -------------------------------------------------------------------------------------

    def _keep_time(self) -> None:
        now = clock.monotonic()
        if self._beat_timer.is_due(now):
            self._beat()
        if self._alive_timer.is_due(now):
            self._notifier.alive()
        if self._held.running and self._lookout.is_time_for_orders(now):
            self._obey_orders()
        if self._held.progress and self._flush_timer.is_due(now):
            self._flush()
        if self._held.running and self._life_timer.is_due(now):
            self._line.visit(lambda leases: leases.show_life())
        if self._upkeep.keep(self._crews.work, now, is_introduced=self._is_introduced):
            self._lookout.expect()
        self._held.press(now)
        if self._leaving.is_grace_over(now):
            self._held.stop_all(Stop.DRAIN, now)
        self._keep_crews(now)

    def _beat(self) -> None:
        is_known = self._line.visit(lambda leases: (self._beat_over(leases),))
        if is_known == (False,):
            self._let_go()
            self._line.begin_anew()
        else:
            self._obey_orders()

    def _obey_orders(self) -> None:
        """See what is still held, and what is asked to stop."""
        held = self._line.visit(lambda leases: leases.held())
        if held is not None:
            self._held.agree_with(held, clock.monotonic())

    def _flush(self) -> None:
        told = self._held.progress
        stale = self._line.visit(lambda leases: leases.report(list(told.values())))
        if stale is not None:
            told.clear()
            self._held.fence(stale)

    def _keep_crews(self, now: float) -> None:
        if self._held.is_stuck(now):
            self._crews.recall("it was taken ahead, and would have waited for a longer one")
        needed = [running.crew for running in self._held.running.values()]
        if self._crews.keep(now, needed=needed):
            self._is_introduced = False

    # --- stopping and reloading -------------------------------------------------------------------

    def _leave(self) -> None:
        """The first signal: finish what runs, within the grace. Any further one: hand it back at once."""
        signals, self._signals.stops = self._signals.stops, 0
        now = clock.monotonic()
        self._begin_to_leave()
        if self._leaving.is_asked_again(signals, now):
            self._voice.say("asked again: handing back at once")
            self._held.kill_all(Stop.DRAIN, now)

    def _begin_to_leave(self) -> None:
        if not self._leaving.begin(clock.monotonic()):
            return
        who = counted(len(self._held.running), "attempt has", "attempts have")
        self._voice.say(f"asked to stop: {who} {self._options.grace_s:g} s to finish")
        self._notifier.stopping()
        self._crews.begin_no_more("its worker was asked to stop")

    def _reload_work(self) -> None:
        """Read the configuration and import the handlers anew; what runs goes on as it began."""
        self._signals.reloads = 0
        self._notifier.reloading()
        try:
            self._crews.renew(self._reload())
        except JobctlError as error:
            self._go_on(error.message)
        except OSError as error:
            self._go_on(f"the process that imports the handlers cannot be started: {error.strerror}")

    def _end_reload(self) -> None:
        """Once the handlers are imported anew: begin with them, unless something is wrong with them now."""
        troubles = self._crews.renewal()
        if troubles is None:
            return
        if troubles:
            self._go_on("; ".join(troubles))
            return
        kept = self._begun_with.only_from_next_start(self._crews.work)
        self._began_at = self._line.visit(lambda _: store_now(self._site)) or self._began_at
        self._is_introduced = False
        still = f"; {', '.join(kept)} in [worker] count only from its next start" if kept else ""
        self._voice.say(f"reloaded{still}")

    def _go_on(self, why: str) -> None:
        self._voice.say(f"{why}; everything goes on as before")
        self._notifier.ready("not reloaded")
