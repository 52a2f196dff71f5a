"""The live objects of one ``JobDict``: for each job at most one, as long as somebody has it."""

from __future__ import annotations

from collections import deque
from threading import RLock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from jobctl.service.jobdict_books import UNRECORDED, Books, Standing
from jobctl.service.jobdict_hook import follower_of
from jobctl.service.jobdict_live import Live, Patience
from jobctl.service.jobdict_shape import Said

J = TypeVar("J")
_KEPT = 256


class Lives(Generic[J]):
    """Which object is which job."""

    def __init__(self, books: Books[J], patience: Patience) -> None:
        self._books = books
        self._patience = patience
        self._by_id: WeakValueDictionary[str, J] = WeakValueDictionary()
        # So that what was just handed out is not gone before it is used.
        self._kept: deque[J] = deque(maxlen=_KEPT)
        self._turn = RLock()

    def of(self, owner: J) -> Live[J] | None:
        """What follows an object on behalf of this dict."""
        follower = follower_of(owner)
        return follower if isinstance(follower, Live) and follower.books is self._books else None

    def live_of(self, job_id: str, owner: J) -> Live[J]:
        """What follows an object of the dict in memory; one that came there by itself is followed now."""
        with self._turn:
            live = self.of(owner)
            return live or self._adopt(job_id, owner, UNRECORDED, beats=True)

    def present(self, job_id: str, found: Standing) -> J:
        """The live object of a record: the one there is, brought up to date, or a new one."""
        with self._turn:
            owner = self._by_id.get(job_id)
            live = None if owner is None else self.of(owner)
            if owner is None or live is None:
                owner, live = self._books.shape.made(found.said), None
                self._adopt(job_id, owner, found, beats=True)
            self._kept.append(owner)
        if live is not None:
            live.refresh(owner, found)
        return owner

    def begin(self, job_id: str, owner: J, mine: Said, standing: Standing) -> None:
        """Follow an object that was just recorded, and said ``mine``, instead of the one before."""
        with self._turn:
            before = self._by_id.get(job_id)
            live = self._adopt(job_id, owner, standing, beats=mine.fields.get("last_heartbeat") is None)
        # Who is changing an object may be waiting for this turn: never wait for him while holding it.
        if before is not None and before is not owner:
            self._end(before)
        if standing.version:
            live.take_over(owner, mine, standing)

    def refresh(self, job_id: str, found: Standing) -> None:
        """Let the object of a job say what its record says by now, if there is one."""
        owner = self._by_id.get(job_id)
        live = None if owner is None else self.of(owner)
        if owner is not None and live is not None:
            live.refresh(owner, found)

    def check_not_edited_here(self, job_id: str) -> None:
        """Raise ``WouldBlock`` where the task that asks is in the middle of an ``edit`` of a job."""
        owner = self._by_id.get(job_id)
        live = None if owner is None else self.of(owner)
        if live is not None:
            live.check_not_edited_here()

    def let_go(self, job_id: str) -> None:
        """The object of a job that is deleted is a plain one from now on."""
        with self._turn:
            owner = self._by_id.pop(job_id, None)
        if owner is not None:
            self._end(owner)

    def end(self) -> None:
        """All of them are plain ones from now on."""
        for owner in list(self._by_id.values()):
            self._end(owner)

    def _adopt(self, job_id: str, owner: J, standing: Standing, *, beats: bool) -> Live[J]:
        live = Live(self._books, job_id, owner, standing, self._patience, beats=beats)
        self._by_id[job_id] = owner
        self._kept.append(owner)
        return live

    def _end(self, owner: J) -> None:
        live = self.of(owner)
        if live is not None:
            live.end(owner)
