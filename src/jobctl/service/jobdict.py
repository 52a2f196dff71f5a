"""``JobDict``: the dict of jobs that a service already has, over the job store."""

from __future__ import annotations

import asyncio
import os
import zoneinfo
from collections.abc import (
    Callable,
    Coroutine,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    ValuesView,
)
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from types import TracebackType
from typing import Any, Generic, Self, TypeGuard, TypeVar, overload

from jobctl.errors import ExitCode, JobctlError, UnknownJob, UsageError
from jobctl.model.shadow import Compared
from jobctl.model.storable import storable_text
from jobctl.service.jobdict_books import UNRECORDED, Books, Standing
from jobctl.service.jobdict_compare import Comparison
from jobctl.service.jobdict_live import Handle, Patience, Strict
from jobctl.service.jobdict_lives import Lives
from jobctl.service.jobdict_shadow import Gate, GatedBooks, Reads, Shadow
from jobctl.service.jobdict_shape import Said, Shape, held_by
from jobctl.service.jobdict_values import Zone
from jobctl.service.jobdict_views import Items, Streamed, Values
from jobctl.settings import load_settings

J = TypeVar("J")
R = TypeVar("R")
_LONGEST_ID_BYTES = 1_000


class JobDict(Streamed[J], Generic[J]):
    """A dict of a service's own job objects that survives the process.

    ``jobs[id] = job`` records a job, and from then on ``job.progress = 40`` does too; see docs/jobdict.md.

    ``cls``: their dataclass or pydantic model. ``url`` as in ``--database``; left out, the settings name
    it. ``fields``: the record's field to the attribute of another name (``{"job_id": "id"}``).
    ``statuses``: the service's word to the status it means (``{"rendering": "processing"}``). ``skip``:
    attributes that are kept in memory only. ``timezone``: the zone of moments without one; where it is
    given, the class's moments have none. ``kind``: only jobs of this kind.

    ``shadow``: a dict that is written as well, while a service changes over. ``reads`` says which of both
    is read. While the store is away the dict goes on alone; what the store has to learn of then is noted
    in ``shadow_journal`` (a directory; the settings name one) and replayed by a full comparison, which is
    made every ``compare_every`` seconds too (0: only then). See docs/migration.md.

    Every object that was assigned or is handed out is live: a change of it is written at once, or
    raises ``StaleJob``, ``IllegalTransition`` or ``StoreUnreachable``. Raises ``ClassRefused`` for
    a class whose objects cannot be followed, and the errors of opening a store.
    """

    def __init__(
        self,
        cls: type[J],
        url: str | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        statuses: Mapping[str, str] | None = None,
        skip: Iterable[str] = (),
        timezone: str | None = None,
        kind: str | None = None,
        shadow: MutableMapping[str, J] | None = None,
        reads: Reads = "shadow",
        shadow_journal: str | None = None,
        compare_every: float = 300.0,
    ) -> None:
        shape = Shape(cls, fields=fields, statuses=statuses, skip=skip, zone=_zone(timezone))
        # A library never becomes another user than its program is.
        settings = replace(load_settings(database=url, environ=os.environ), as_root=True)
        self._cls = cls
        self._comparing = Lock()
        self._shadow: Shadow[J] | None = None
        if shadow is None:
            self._books: Books[J] = Books(settings, shape, kind)
            self._patience: Patience = Strict()
            self._lives = Lives(self._books, self._patience)
            self._books.site  # noqa: B018 - opens it
            return
        gate = Gate()
        self._books = GatedBooks(settings, shape, kind, gate)
        self._shadow = self._patience = Shadow(shadow, settings, reads, gate, shadow_journal)
        self._lives = Lives(self._books, self._patience)
        self._begin_shadow(self._shadow, compare_every)

    def _begin_shadow(self, shadow: Shadow[J], every_s: float) -> None:
        """Bring what the dict holds already into the store, and go on comparing."""
        try:
            self.compare()
        except JobctlError as error:
            for job_id in list(shadow.held):
                shadow.tolerates(job_id, error)
        shadow.announce()
        shadow.run(self.compare, every_s)

    def compare(self) -> Compared:
        """Compare dict and store in full: replay what only the dict knows, list what cannot be settled.

        Raises the store's error where it is away, and ``UsageError`` without a ``shadow``.
        """
        shadow = self._shadow
        if shadow is None:
            raise UsageError("there is no dict to compare with", hint="give one: JobDict(…, shadow=old)")
        with self._comparing:
            shadow.look_again()
            try:
                found, settled = Comparison(self._books, shadow, self._lives).run()
            except JobctlError as error:
                shadow.failed(error)
                raise
            shadow.compared(found, settled)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store, and of the objects: they are plain ones then."""
        if self._shadow is not None:
            self._shadow.close()
        self._lives.end()
        self._books.close()

    def __getitem__(self, job_id: str) -> J:
        if not _is_id(job_id):
            raise KeyError(job_id)
        return self._read(lambda: self._recorded(job_id), lambda held: self._held(job_id, held))

    def _recorded(self, job_id: str) -> J:
        found = self._books.find(job_id)
        if found is not None:
            return self._lives.present(job_id, found)
        if self._shadow is not None and job_id in self._shadow.dirty:
            return self._held(job_id, self._shadow.held)
        raise KeyError(job_id)

    def _held(self, job_id: str, held: MutableMapping[str, J]) -> J:
        """A job of the dict in memory, followed."""
        owner = held[job_id]
        self._lives.live_of(job_id, owner)
        return owner

    def _read(self, ask: Callable[[], R], instead: Callable[[MutableMapping[str, J]], R]) -> R:
        """Ask the store, or the dict in memory where that is what is read, or all there is."""
        if self._shadow is None:
            return ask()
        if not self._shadow.reads_store:
            return instead(self._shadow.held)
        try:
            return ask()
        except JobctlError as error:
            if error.exit_code is not ExitCode.STORE:
                raise
            self._shadow.failed(error)
            return instead(self._shadow.held)

    def __setitem__(self, job_id: str, job: J) -> None:
        self._check(job_id, job)
        live = self._lives.of(job)
        if live is not None:
            live.flush(job, every=True)
            return
        mine, standing = self._put(job_id, job)
        if self._shadow is not None:
            self._shadow.held[job_id] = job
        self._lives.begin(job_id, job, mine, standing)

    def _put(self, job_id: str, job: J) -> tuple[Said, Standing]:
        """Record an object; ``UNRECORDED`` where that failed and the dict goes on."""
        mine = UNRECORDED.said
        try:
            mine = self._books.shape.said(job)
            if mine.fields.get("job_id", job_id) != job_id:
                said = mine.fields["job_id"]
                raise ValueError(f"the job says it is {said!r} and cannot be kept as {job_id!r}")
            standing = self._books.put(job_id, mine)
        except Exception as error:
            if not self._patience.tolerates(job_id, error):
                raise
            return mine, UNRECORDED
        self._patience.learned(job_id)
        return mine, standing

    def __delitem__(self, job_id: str) -> None:
        if job_id not in self:
            raise KeyError(job_id)
        try:
            self._books.delete(job_id)
        except UnknownJob:
            if self._shadow is None or job_id not in self._shadow.held:
                raise KeyError(job_id) from None
        except JobctlError as error:
            if self._shadow is None or not self._shadow.tolerates(job_id, error):
                raise
            self._shadow.deleted.add(job_id)
        if self._shadow is not None:
            self._shadow.held.pop(job_id, None)
        self._lives.let_go(job_id)

    def __contains__(self, job_id: object) -> bool:
        if not _is_id(job_id):
            return False
        asked: str = job_id
        return self._read(
            lambda: self._books.has(asked) or self._is_new_in_dict(asked), lambda held: asked in held
        )

    def _is_new_in_dict(self, job_id: str) -> bool:
        shadow = self._shadow
        return shadow is not None and job_id in shadow.dirty and job_id in shadow.held

    def __iter__(self) -> Iterator[str]:
        return self._read(self._books.ids, iter)

    def __len__(self) -> int:
        return self._read(self._books.count, len)

    def __repr__(self) -> str:
        return f"<JobDict of {self._cls.__name__} in {self._books.place}>"

    def values(self) -> ValuesView[J]:
        """The objects, by job id, read a page at a time."""
        return Values(self)

    def items(self) -> ItemsView[str, J]:
        """Ids and objects, by job id, read a page at a time."""
        return Items(self)

    def copy(self) -> dict[str, J]:
        """A plain dict of all of them as they are now, the objects live: nothing waits for it to be read."""
        return dict(self.items())

    def stream(self) -> Iterator[tuple[str, J]]:
        """Ids and objects, by job id; some hundred of them are in memory at a time."""
        return self._read(
            lambda: ((job_id, self._lives.present(job_id, found)) for job_id, found in self._books.all()),
            lambda held: iter(held.items()),
        )

    @contextmanager
    def edit(self, job_id: str) -> Iterator[J]:
        """One job, to be changed in the block: all of it is written at its end, or nothing.

        An error in the block takes its changes back. Raises ``KeyError`` for an id that is not recorded;
        at the end ``StaleJob``, ``IllegalTransition`` or ``StoreUnreachable``.
        """
        owner = self[job_id]
        live = self._lives.of(owner)
        if live is None:
            raise KeyError(job_id)
        with live.editing(owner):
            yield owner

    async def fetch(self, job_id: str) -> J | None:
        """One job, to be read in async code, or ``None``. Assigning to it raises ``WouldBlock``."""
        found = await asyncio.to_thread(self._find, job_id) if _is_id(job_id) else None
        return None if found is None else self._handle(job_id, found)

    def _find(self, job_id: str) -> Said | None:
        """What a job says, without following it."""

        def recorded() -> Said | None:
            found = self._books.find(job_id)
            return None if found is None else found.said

        def held(jobs: MutableMapping[str, J]) -> Said | None:
            return self._books.shape.said(jobs[job_id]) if job_id in jobs else None

        return self._read(recorded, held)

    @overload  # type: ignore[override]
    def update(self, job_id: str, /, **changes: Any) -> Coroutine[Any, Any, J]: ...
    @overload
    def update(self, others: Mapping[str, J] | Iterable[tuple[str, J]] = (), /) -> None: ...
    def update(self, given: Any = (), /, **changes: Any) -> Coroutine[Any, Any, J] | None:
        """In async code ``await jobs.update(id, status=…, progress=…)``: one guarded change of a job.

        It is made of the job as it is at that moment, so updates at once are written one after the other.
        Returns the job as ``fetch`` does. Raises ``KeyError``, ``IllegalTransition``, ``StoreUnreachable``,
        and ``UsageError`` for an attribute that there is not. Given a mapping instead of an id, it
        assigns what that holds, as a dict does.
        """
        if isinstance(given, str):
            return self._update(given, changes)
        super().update(given, **changes)
        return None

    async def _update(self, job_id: str, changes: Mapping[str, Any]) -> J:
        self._lives.check_not_edited_here(job_id)
        return self._handle(job_id, await asyncio.to_thread(self._change, job_id, changes))

    def _change(self, job_id: str, changes: Mapping[str, Any]) -> Said:
        books = self._books
        if self._shadow is not None and job_id in self._shadow.held:
            with self.edit(job_id) as owner:
                self._set(owner, changes)
            return books.shape.said(owner)
        if not _is_id(job_id):
            raise KeyError(job_id)

        def changed(before: Said) -> Said:
            draft = books.shape.made(before)
            self._set(draft, changes)
            return books.shape.said_anew(draft, before, changes)

        heart = books.shape.of_field.get("last_heartbeat")
        after = books.amend(job_id, changed, renews=heart is None or heart.name not in changes)
        if after is None:
            raise KeyError(job_id)
        self._lives.refresh(job_id, after)
        return after.said

    def _set(self, owner: J, changes: Mapping[str, Any]) -> None:
        known = self._books.shape.attributes
        for name in changes:
            if name not in known and name not in held_by(owner):
                raise UsageError(
                    f"a {self._cls.__name__} has no attribute {name!r}; nothing was written",
                    hint=f"it has {', '.join(known)}",
                )
        for name, value in changes.items():
            setattr(owner, name, value)

    def _handle(self, job_id: str, found: Said) -> J:
        made = self._books.shape.made(found)
        Handle(job_id, made)
        return made

    def _check(self, job_id: str, job: J) -> None:
        if not isinstance(job_id, str):
            raise TypeError(f"a job id is text, not {job_id!r}")
        if not _is_id(job_id):
            raise ValueError(f"no database can keep {job_id!r:.80} apart from other ids; nothing was written")
        if not isinstance(job, self._cls):
            raise TypeError(f"only objects of {self._cls.__name__} are kept here, not {type(job).__name__}")
        live = self._lives.of(job)
        if live is not None and live.job_id != job_id:
            raise ValueError(f"the object is job {live.job_id!r} already; keep a copy of it as {job_id!r}")


def _is_id(key: object) -> TypeGuard[str]:
    """Whether a job may be kept under it: some text, which both databases hold as it is and in an index."""
    return (
        isinstance(key, str)
        and key != ""
        and storable_text(key) == key
        and len(key.encode()) <= _LONGEST_ID_BYTES
    )


def _zone(name: str | None) -> Zone:
    if name is None:
        return Zone()
    try:
        return Zone(zoneinfo.ZoneInfo(name), is_naive=True)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"timezone {name!r} is none that this machine knows",
            hint='write timezone="UTC" or "Europe/Berlin"',
        ) from None
