"""Dual writing: a dict in memory beside the store, so that a service can change over without downtime.

What fails on the way to the store is noted as dirty, and replayed by a full comparison once it is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Generic, Literal, TypeVar

from jobctl import clock
from jobctl.errors import ExitCode, JobctlError, StoreUnreachable
from jobctl.evidence.executor import current_executor
from jobctl.model.shadow import Compared, Differing
from jobctl.ops.shadow_journal import ShadowJournal, take_over
from jobctl.ops.site import Site
from jobctl.service.jobdict_books import Books
from jobctl.service.jobdict_shape import Shape
from jobctl.settings import Settings
from jobctl.store.dialect import dialect_of

J = TypeVar("J")
Reads = Literal["shadow", "store"]
_log = logging.getLogger("jobctl.shadow")
_LEAST_PAUSE_S, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0, 30.0
_MOST_NAMED = 20
_PATIENCE_S = 5.0
"""How long a service waits for a store that somebody keeps locked, before its dict goes on alone."""


class Gate:
    """Keeps a service from waiting for a database that is away, again and again."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._pause_s = 0.0
        self._until = 0.0
        self._error: JobctlError | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is known to be wrong."""
        return self._error is None

    @property
    def pause_s(self) -> float:
        """Seconds until it may be tried again."""
        return max(0.0, self._until - clock.monotonic())

    def check(self) -> None:
        """Raise what was wrong last, until it is time to look again."""
        with self._turn:
            if self._error is not None and clock.monotonic() < self._until:
                raise StoreUnreachable(self._error.message, hint=self._error.hint)

    def shut(self, error: JobctlError) -> None:
        """Remember that it is away, for longer each time."""
        with self._turn:
            if clock.monotonic() >= self._until:
                self._pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))
                self._until = clock.monotonic() + self._pause_s
            self._error = error

    def look_again(self) -> None:
        """Try it now, whenever it was to be tried."""
        with self._turn:
            self._until = 0.0

    def open(self) -> None:
        """It is back."""
        with self._turn:
            self._error, self._pause_s, self._until = None, 0.0, 0.0


class GatedBooks(Books[J]):
    """Books that are not opened while their store is known to be away."""

    def __init__(self, settings: Settings, shape: Shape[J], kind: str | None, gate: Gate) -> None:
        super().__init__(settings, shape, kind, patience_s=_PATIENCE_S)
        self._gate = gate

    @property
    def site(self) -> Site:
        """The opened store. Raises what opening it does, at once where that is known."""
        self._gate.check()
        return super().site


class Shadow(Generic[J]):
    """The dict beside the store, and what is known of their differences."""

    def __init__(
        self, held: MutableMapping[str, J], settings: Settings, reads: Reads, gate: Gate, journal: str | None
    ) -> None:
        self.held = held
        self.reads_store = reads == "store"
        self._gate = gate
        self._place = dialect_of(settings.database).place
        self._directory = journal or settings.shadow_journal
        self.deleted: set[str] = set()
        """What the dict deleted while the store was away; it may have begun anew since."""
        self._dirty: set[str] = set()
        self._refused = 0
        self._told: set[Differing] = set()
        self._turn = Lock()
        self._stop = Event()
        self._wake = Event()
        self._thread: Thread | None = None
        self._journal = self._opened_journal(settings, reads)

    @property
    def dirty(self) -> set[str]:
        """The ids the store has still to learn of."""
        with self._turn:
            return set(self._dirty)

    @property
    def refused(self) -> int:
        """How many changes the store refused that the dict took."""
        return self._refused

    def announce(self) -> None:
        """Say loudly which of both is read, and whether that persists."""
        if self.reads_store:
            active = (
                f"jobs are read from the store {self._place}, WHICH PERSISTS; "
                "the dict in memory is written as well"
            )
        else:
            active = (
                "jobs are read from the dict in memory, WHICH DOES NOT PERSIST; "
                f"every change is written to the store {self._place} as well"
            )
        if self._gate.is_open:
            _log.warning("%s (journal: %s)", active, self._directory)
        else:
            _log.error("%s; THE STORE IS AWAY: until it is back nothing persists", active)

    def tolerates(self, job_id: str, error: Exception) -> bool:
        """Whether the dict goes on although the store did not take a change."""
        if isinstance(error, JobctlError) and error.exit_code is ExitCode.STORE:
            self._away(job_id, error)
            return True
        if self.reads_store:
            return False
        with self._turn:
            self._refused += 1
        _log.warning("the store refused a change of job %s that the dict took: %s", job_id, error)
        self._note(None)
        return True

    def learned(self, job_id: str) -> None:
        """The store knows of a job now."""
        if job_id in self._dirty:
            self._clear({job_id})

    def run(self, compare: Callable[[], Compared], every_s: float) -> None:
        """Compare both now and again in a thread, and as soon as a store that was away may be back.

        ``every_s``: seconds between; 0: only then.
        """

        def work() -> None:
            self._wake.wait(self._pause_s(every_s))
            while not self._stop.is_set():
                self._wake.clear()
                try:
                    compare()
                except JobctlError as error:
                    _log.debug("dict and store were not compared: %s", error.message)
                except Exception:  # the thread of a service, which has to go on # noqa: BLE001
                    _log.exception("dict and store could not be compared")
                self._wake.wait(self._pause_s(every_s))

        self._thread = Thread(target=work, name="jobctl-shadow", daemon=True)
        self._thread.start()

    def _pause_s(self, every_s: float) -> float | None:
        if self._gate.is_open:
            return every_s or None
        return max(self._gate.pause_s, _LEAST_PAUSE_S)

    def compared(self, found: Compared, replayed: set[str]) -> None:
        """Keep what a comparison came to."""
        self._gate.open()
        self._clear(replayed)
        self._note(found)
        # What is told already is not told again every few minutes: that would hide what is new.
        new = [each for each in found.differing if each not in self._told]
        self._told = set(found.differing)
        for each in new[:_MOST_NAMED]:
            _log.warning("job %s differs between dict and store: %s", each.job_id, each.why)
        if found.replayed or new:
            said = "dict and store compared: %d the same, %d replayed, %d differ"
            _log.warning(said, found.same, found.replayed, len(found.differing))

    def close(self) -> None:
        """Stop comparing; what is dirty stays noted."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._journal is not None:
            with suppress(OSError):
                self._journal.close()

    def look_again(self) -> None:
        """Try the store now, though it may be away."""
        self._gate.look_again()

    def failed(self, error: JobctlError) -> None:
        """The store is away."""
        was_open = self._gate.is_open
        self._gate.shut(error)
        if was_open:
            _log.error("the store is away, the dict goes on alone and does not persist: %s", error.message)
            self._wake.set()

    def _away(self, job_id: str, error: JobctlError) -> None:
        with self._turn:
            self._dirty.add(job_id)
        try:
            if self._journal is not None:
                self._journal.mark([job_id])
        except OSError as trouble:
            _log.error("job %s is dirty, and that cannot be noted: %s", job_id, trouble.strerror)
        self.failed(error)

    def _clear(self, job_ids: set[str]) -> None:
        with self._turn:
            self._dirty -= job_ids
            self.deleted -= job_ids
        try:
            if self._journal is not None:
                self._journal.clear(job_ids)
        except OSError as trouble:
            _log.error("what was replayed cannot be noted: %s", trouble.strerror)

    def _note(self, found: Compared | None) -> None:
        try:
            if self._journal is not None:
                self._journal.note(refused=self._refused, compared=found)
        except OSError as trouble:
            _log.error("the journal of dict and store cannot be written: %s", trouble.strerror)

    def _opened_journal(self, settings: Settings, reads: Reads) -> ShadowJournal | None:
        """This process's journal, once what earlier ones left has been told."""
        try:
            for lost in take_over(self._directory):
                named = ", ".join(sorted(lost.dirty)[:_MOST_NAMED])
                said = "not in the store when pid %d ended, their last changes are LOST: %s (%d in all, %s)"
                _log.error(said, lost.executor.pid, named, len(lost.dirty), lost.path)
            executor = current_executor(settings.host_id)
            return ShadowJournal(self._directory, executor, reads=reads, store=self._place)
        except OSError as trouble:
            said = "no journal in %s (%s): what is dirty when this process dies will not be told"
            _log.error(said, self._directory, trouble.strerror)
            return None
