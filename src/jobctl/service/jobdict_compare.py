"""Compare a dict with the store in full: replay what only the dict knows, list what cannot be settled."""

from __future__ import annotations

from contextlib import suppress
from typing import Generic, NamedTuple, Protocol, TypeVar

from jobctl.errors import ExitCode, JobctlError, UnknownJob
from jobctl.model.shadow import Compared, Differing
from jobctl.service.jobdict_books import Books, Standing
from jobctl.service.jobdict_live import Live
from jobctl.service.jobdict_shadow import Shadow
from jobctl.service.jobdict_shape import Said

J = TypeVar("J")
_MOST_ATTRIBUTES = 5


class Follows(Protocol[J]):
    """Who follows the objects of the dict."""

    def live_of(self, job_id: str, owner: J) -> Live[J]:
        """What follows an object, from now on if nothing did."""


class Result(NamedTuple):
    """What a comparison came to, and the ids the store need not learn of any more."""

    compared: Compared
    settled: set[str]


class Comparison(Generic[J]):
    """One full comparison. Raises the store's error where it is away; what was done until then stays."""

    def __init__(self, books: Books[J], shadow: Shadow[J], follows: Follows[J]) -> None:
        self._books = books
        self._shadow = shadow
        self._follows = follows
        self._found = Compared()
        self._settled: set[str] = set()
        self._made = 0

    def run(self) -> Result:
        """Look at every job of the dict, and at every one it has deleted meanwhile."""
        dirty = self._shadow.dirty
        held = dict(self._shadow.held)
        in_both = 0
        for job_id, owner in held.items():
            found = self._find(job_id)
            in_both += found is not None
            self._compare(job_id, owner, found, is_dirty=job_id in dirty)
        for job_id in sorted(dirty - held.keys()):
            self._delete(job_id)
        self._found.only_in_store = max(0, self._books.count() - in_both - self._made)
        return Result(self._found, self._settled)

    def _find(self, job_id: str) -> Standing | None:
        """The record of a job; one that was deleted meanwhile is none, whatever has begun since."""
        if job_id in self._shadow.deleted:
            with suppress(UnknownJob):
                self._books.delete(job_id)
            self._shadow.deleted.discard(job_id)
            return None
        return self._books.find(job_id)

    def _compare(self, job_id: str, owner: J, found: Standing | None, *, is_dirty: bool) -> None:
        live = self._follows.live_of(job_id, owner)
        try:
            why = self._settle(live, owner, found, is_dirty=is_dirty)
        except JobctlError as error:
            if error.exit_code is ExitCode.STORE:
                raise
            why = error.message
        except ValueError as error:
            why = str(error)
        if why is not None:
            self._found.differing.append(Differing(job_id, why))
        # What differs is told as that from now on, and is no secret of this process any more.
        self._settled.add(job_id)

    def _settle(self, live: Live[J], owner: J, found: Standing | None, *, is_dirty: bool) -> str | None:
        """Bring one job into the store, if it is this dict's to say; why not, if it is not."""
        if found is None:
            if live.standing.version and not is_dirty:
                return "it was deleted in the store"
            live.replay(owner, anew=True)
            self._made += 1
            self._found.replayed += 1
            return None
        mine = live.said(owner)
        differing = self._books.shape.differing(mine, found.said)
        if not differing or self._is_theirs_to_say(live, mine):
            live.refresh(owner, found)
            self._found.same += 1
            return None
        if live.standing.version and not self._books.shape.differing(mine, live.standing.said):
            named = ", ".join(differing[:_MOST_ATTRIBUTES])
            return f"{named} changed in the store by another writer"
        live.replay(owner)
        self._found.replayed += 1
        return None

    def _is_theirs_to_say(self, live: Live[J], mine: Said) -> bool:
        """Whether the store is what counts, and the object only has not heard of it yet."""
        return self._shadow.reads_store and not self._books.shape.differing(mine, live.standing.said)

    def _delete(self, job_id: str) -> None:
        try:
            self._books.delete(job_id)
        except UnknownJob:
            self._found.same += 1
        else:
            self._found.replayed += 1
        self._settled.add(job_id)
