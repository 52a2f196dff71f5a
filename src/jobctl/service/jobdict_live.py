"""Live objects: a service's own objects, each followed so that what is done to it is recorded."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from jobctl.errors import IllegalTransition, StaleJob, WouldBlock
from jobctl.service.jobdict_books import UNRECORDED, Books, Standing
from jobctl.service.jobdict_containers import Home, alive, refill
from jobctl.service.jobdict_hook import follow, follow_part, unfollow
from jobctl.service.jobdict_shape import Said, drop, held_by, put

J = TypeVar("J")
_PATIENCE_S = 5.0
"""How long who reads waits for a thread that is changing the object; an ``edit`` may take longer."""
_LONGEST_WAIT_S = 30.0
"""How long who is changing one job waits to change another one as well."""


class _Mine(threading.local):
    """The jobs that this thread is in the middle of changing."""

    def __init__(self) -> None:
        self.changing: list[str] = []


_mine = _Mine()


class Patience(Protocol):
    """What is done about writes that fail."""

    def tolerates(self, job_id: str, error: Exception) -> bool:
        """Whether the object goes on although the store did not take its change."""

    def learned(self, job_id: str) -> None:
        """The store knows of a job now."""


class Strict:
    """Every write that fails is told to who made it."""

    def tolerates(self, job_id: str, error: Exception) -> bool:
        """Never."""
        del job_id, error
        return False

    def learned(self, job_id: str) -> None:
        """Take no note."""


class _Before(NamedTuple):
    """What an object said, and which of its attributes could not be said, or had still to be recorded."""

    said: Said
    unsayable: set[str]
    touched: set[str]


class Live(Generic[J]):
    """Follows one object. One thread at a time changes it; the others wait for their turn."""

    def __init__(
        self,
        books: Books[J],
        job_id: str,
        owner: J,
        standing: Standing,
        patience: Patience,
        *,
        beats: bool = True,
    ) -> None:
        """Begin. ``beats``: writing shows a sign of life, until the service's code begins to do so itself."""
        self.books = books
        self.job_id = job_id
        self.standing = standing
        self._patience = patience
        self._turn = RLock()
        self._depth = 0
        self._task: asyncio.Task[Any] | None = None
        self._is_over = False
        self._touched: set[str] = set()
        heart = books.shape.of_field.get("last_heartbeat")
        self._heart = heart.name if heart else None
        self._beats = beats
        for name in held_by(owner):
            self.settle(owner, name)
        follow(owner, self)

    @contextmanager
    def changing(self, owner: J | None, name: str, value: Any) -> Iterator[None]:
        """Enclose a change of an attribute, and record it, unless it is one of several."""
        if not self.books.shape.is_kept(name):
            yield
            return
        with self._my_turn():
            try:
                yield
            except RecursionError:
                self._take_circle_back(owner, name)
                return
            if self._is_over:
                return
            if owner is None:
                self._flush_alone(name, value)
                return
            self._touched.add(name)
            if name == self._heart:
                self._beats = False
            if not self._depth:
                self.flush(owner)

    def _take_circle_back(self, owner: J | None, name: str) -> None:
        """Refuse a value whose end nobody reaches who follows it. Raises ``ValueError``."""
        error = ValueError(f"{name} cannot be kept, for it contains itself or is nested too deeply")
        if owner is not None:
            self._touched.add(name)
            if self._patience.tolerates(self.job_id, error):
                return
            # An edit takes all of it back at its end.
            if not self._depth:
                self._refused(owner, self.standing, error)
        raise error

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        """Be the one thread, and of its tasks the one, that changes the object.

        Raises ``StaleJob`` where another one does that may be waiting for this one.
        """
        if not self._turn.acquire(timeout=self._longest_wait_s()):
            raise StaleJob(
                f"job {self.job_id} is being changed by another thread, which may be waiting for this one; "
                "nothing was written",
                hint="edit one job at a time, or several always in the same order",
            )
        _mine.changing.append(self.job_id)
        try:
            self._check_task()
            yield
        finally:
            _mine.changing.pop()
            self._turn.release()

    def _check_task(self) -> None:
        """Tasks of one thread take turns at every ``await``: what two do at once could not be told apart."""
        if self._depth and self._task is not _current_task():
            raise StaleJob(
                f"job {self.job_id} is being edited by another task of this event loop; nothing was written",
                hint=f"await nothing within an edit, or use await jobs.update({self.job_id!r}, …)",
            )

    def check_not_edited_here(self) -> None:
        """Raise ``WouldBlock`` where the task that asks is in the middle of an ``edit``."""
        if self._depth and self._task is not None and self._task is _current_task():
            raise WouldBlock(
                f"job {self.job_id} was to be updated within an edit of it, for whose end that would wait; "
                "nothing was written",
                hint="assign to the object of the edit, or update after it",
            )

    def _longest_wait_s(self) -> float:
        if not _mine.changing:
            return -1
        # Of two that wait for each other one gives up first, and the other one goes on.
        return _LONGEST_WAIT_S if self.job_id < _mine.changing[-1] else 2 * _LONGEST_WAIT_S

    def settle(self, owner: J, name: str) -> None:
        """Follow the value an attribute has now."""
        if not self.books.shape.is_kept(name):
            return
        value = held_by(owner).get(name)
        told = alive(value, Home(self, weakref.ref(owner), name))
        if told is not value:
            put(owner, name, told)

    def part(self, part: Any, home: Home) -> None:
        """Follow an object within this one."""
        follow_part(part, home)

    @contextmanager
    def editing(self, owner: J) -> Iterator[None]:
        """Record all that is changed in the block as one change; an error in it takes all of it back.

        Of an ``edit`` in an ``edit`` it takes back what was changed in the inner one.
        """
        with self._my_turn():
            before = self._before(owner)
            if not self._depth:
                self._task = _current_task()
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                self._put_back(owner, before)
                raise
            self._depth -= 1
            if self._depth:
                return
            try:
                self.flush(owner, every=True)
            except ValueError:
                self._put_back(owner, before)
                raise

    def _before(self, owner: J) -> _Before:
        """What the object is before it is changed."""
        if self.standing.version and not self._touched and not self._depth:
            return _Before(self.standing.said, set(), set())
        unsayable = self.books.shape.unsayable(owner)
        return _Before(self._sayable(owner, unsayable), unsayable, set(self._touched))

    def _sayable(self, owner: J, unsayable: set[str]) -> Said:
        names = held_by(owner).keys() | self.standing.said.payload.keys()
        return self.books.shape.said_anew(owner, self.standing.said, names - unsayable)

    def flush(self, owner: J, *, every: bool = False) -> None:
        """Record what was changed. ``every``: also what nobody told of.

        Raises ``StaleJob`` or ``IllegalTransition``, and ``ValueError`` for what cannot be kept; the
        object then says what is recorded.
        """
        with self._turn:
            before = self.standing
            try:
                mine = self._said(owner, every=every)
                after = self._written(before, mine)
            except Exception as error:
                # What the object says stays then, and is written with its next change.
                if self._patience.tolerates(self.job_id, error):
                    return
                self._refused(owner, before, error)
                raise
            self._touched.clear()
            self._absorb(owner, mine, after)
            self._patience.learned(self.job_id)

    def _said(self, owner: J, *, every: bool) -> Said:
        before = self.standing
        whole = every or not before.version
        mine = self.books.shape.said_anew(owner, before.said, None if whole else self._touched)
        said = mine.fields.get("job_id", self.job_id)
        if said != self.job_id:
            raise ValueError(f"the job is kept as {self.job_id!r} and cannot become {said!r}")
        return mine

    def _written(self, before: Standing, mine: Said) -> Standing:
        if not before.version:
            return self.books.put(self.job_id, mine)
        return self.books.write(self.job_id, before, mine, renews=self._beats)

    def _refused(self, owner: J, before: Standing, error: Exception) -> None:
        """Let an object say what is recorded again; while the store is away it stays as it is."""
        if isinstance(error, StaleJob | IllegalTransition):
            self._take_back(owner)
        elif isinstance(error, ValueError) and before.version:
            names = set(self._touched)
            self._touched.clear()
            self._put(owner, before.said, names)

    def _flush_alone(self, name: str, value: Any) -> None:
        """Record an attribute that outlived its object."""
        shape, before = self.books.shape, self.standing
        draft = shape.made(before.said)
        put(draft, name, value)
        mine = shape.said_anew(draft, before.said, [name])
        self.standing = self._written(before, mine)

    def said(self, owner: J) -> Said:
        """What the object says, and what is recorded that its class does not know. Raises ``ValueError``."""
        return self.books.shape.said_anew(owner, self.standing.said)

    def replay(self, owner: J, *, anew: bool = False) -> None:
        """Record the whole object, and tell of it if that is refused. ``anew``: whatever was there before."""
        with self._turn:
            if anew:
                self.standing = UNRECORDED
            mine = self._said(owner, every=True)
            after = self._written(self.standing, mine)
            self._touched.clear()
            self._absorb(owner, mine, after)

    def take_over(self, owner: J, mine: Said, after: Standing) -> None:
        """Let an object that was just recorded say what that filled in."""
        with self._turn:
            self._absorb(owner, mine, after)

    def refresh(self, owner: J, found: Standing) -> None:
        """Let the object say what the record says, unless it knows better.

        Where another thread is changing it, that is waited for: what is not recorded yet, no other server
        tells. Who is changing something himself waits for nobody, who might be waiting for him.
        """
        if not self._turn.acquire(timeout=0 if _mine.changing else _PATIENCE_S):
            return
        try:
            if not self._depth and not self._touched and found.version >= self.standing.version:
                self._absorb(owner, self.standing.said, found)
        finally:
            self._turn.release()

    def end(self, owner: J) -> None:
        """Follow it no longer."""
        with self._turn:
            # Lists and parts of it know no other way to learn of it.
            self._is_over = True
            unfollow(owner)

    def _take_back(self, owner: J) -> None:
        """After a refusal: the object says what is recorded; one that was deleted is left alone."""
        mine = self._said(owner, every=True)
        self._touched.clear()
        found = self.books.find(self.job_id)
        if found is None:
            self.end(owner)
        else:
            self._absorb(owner, mine, found)

    def _put_back(self, owner: J, before: _Before) -> None:
        """Undo what was changed since then, whatever it is and whether or not anybody told of it."""
        self._touched = before.touched
        unsayable = self.books.shape.unsayable(owner)
        changed = self.books.shape.differing(self._sayable(owner, unsayable), before.said)
        self._put(owner, before.said, {*changed, *(unsayable - before.unsayable)})

    def _absorb(self, owner: J, mine: Said, after: Standing) -> None:
        """Take over what the record says otherwise than the object."""
        differing = self.books.shape.differing(mine, after.said)
        self.standing = after
        if differing:
            self._put(owner, after.said, differing)

    def _put(self, owner: J, said: Said, names: Iterable[str]) -> None:
        names = set(names)
        values = self.books.shape.values(said, names)
        for name in names:
            if name not in values:
                drop(owner, name)
                continue
            home = Home(self, weakref.ref(owner), name)
            if not refill(held_by(owner).get(name), values[name], home):
                put(owner, name, alive(values[name], home))


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class Handle:
    """Follows an object that async code was given: it is read, and never assigned to."""

    def __init__(self, job_id: str, owner: Any) -> None:
        self._job_id = job_id
        for name in held_by(owner):
            self.settle(owner, name)
        follow(owner, self)

    @contextmanager
    def changing(self, owner: Any, name: str, value: Any) -> Iterator[None]:
        """Refuse."""
        del owner, value
        raise WouldBlock(
            f"{name} of job {self._job_id} was to be assigned in async code, which would block the event "
            "loop; nothing was changed",
            hint=f"await jobs.update({self._job_id!r}, {name}=…)",
        )
        yield

    def settle(self, owner: Any, name: str) -> None:
        """Follow the value an attribute has now."""
        value = held_by(owner).get(name)
        put(owner, name, alive(value, Home(self, weakref.ref(owner), name)))

    def part(self, part: Any, home: Home) -> None:
        """Follow an object within this one."""
        follow_part(part, home)
