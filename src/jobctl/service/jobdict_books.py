"""Books: the records behind a ``JobDict``, each read and written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import chain
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from jobctl.core.steps import Step, steps
from jobctl.core.threeway import Conflict, is_same, merged_fields
from jobctl.errors import JobExists, StaleJob
from jobctl.model.commands import show_command
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.ops.site import Site, open_site
from jobctl.service.jobdict_shape import Said, Shape, status_in
from jobctl.settings import Settings
from jobctl.store import jobs
from jobctl.store.dialect import dialect_of
from jobctl.store.engine import Connection
from jobctl.store.mirror import (
    Change,
    Whole,
    change_whole,
    count_jobs,
    create_whole,
    find_whole,
    has_job,
    hold,
    page_of_ids,
    page_of_wholes,
)
from jobctl.store.mirror_alone import Seen, change_alone, create_alone

J = TypeVar("J")
R = TypeVar("R")
_PAGE = 500
_DEFAULT_KIND = "presentation"
_HEART = "last_heartbeat"


class Standing(NamedTuple):
    """A record as it was last seen."""

    said: Said
    status: Status
    version: int
    attempt: int
    updated_at: datetime | None


UNRECORDED = Standing(Said({}, {}), Status.QUEUED, version=0, attempt=0, updated_at=None)
"""Of a job that no record is known of."""


class Books(Generic[J]):
    """The records of one class. The store is opened when it is first asked for.

    ``patience_s``: how long a write waits for somebody who keeps a job or the store locked, if not for as
    long as the database does.
    """

    def __init__(
        self, settings: Settings, shape: Shape[J], kind: str | None, *, patience_s: float | None = None
    ) -> None:
        self.shape = shape
        self.kind = kind
        self._settings = settings
        self._patience_s = patience_s
        self._opened: Site | None = None
        self._opening = Lock()

    @property
    def site(self) -> Site:
        """The opened store. Raises the errors of ``open_store``."""
        with self._opening:
            if self._opened is None:
                self._opened = open_site(self._settings, pooled=True)
            return self._opened

    @property
    def place(self) -> str:
        """Where the store is, without secrets."""
        return dialect_of(self._settings.database).place

    def close(self) -> None:
        """Let go of the store."""
        with self._opening:
            if self._opened is not None:
                self._opened.store.close()
                self._opened = None

    def _writing(self) -> AbstractContextManager[Connection]:
        return self.site.store.write(patience_s=self._patience_s)

    def find(self, job_id: str) -> Standing | None:
        """A record, or ``None``."""
        with self.site.store.glance() as connection:
            found = find_whole(connection, job_id, kind=self.kind)
        return None if found is None else self._standing(found)

    def has(self, job_id: str) -> bool:
        """Whether there is a record."""
        with self.site.store.glance() as connection:
            return has_job(connection, job_id, kind=self.kind)

    def count(self) -> int:
        """How many there are."""
        with self.site.store.glance() as connection:
            return count_jobs(connection, kind=self.kind)

    def ids(self) -> Iterator[str]:
        """Every id, in order, a page at a time; the first one is read at once."""
        return chain.from_iterable(self._pages(self._page_of_ids, lambda job_id: job_id))

    def all(self) -> Iterator[tuple[str, Standing]]:
        """Every record, by id, a page at a time; the first one is read at once."""
        found = chain.from_iterable(self._pages(self._page, lambda whole: whole.job.job_id))
        return ((whole.job.job_id, self._standing(whole)) for whole in found)

    def _pages(self, read: Callable[[str], list[R]], last: Callable[[R], str]) -> Iterator[list[R]]:
        first = read("")

        def rest() -> Iterator[list[R]]:
            page = first
            while page:
                yield page
                page = read(last(page[-1])) if len(page) == _PAGE else []

        return rest()

    def _page_of_ids(self, after: str) -> list[str]:
        with self.site.store.glance() as connection:
            return page_of_ids(connection, kind=self.kind, after=after, limit=_PAGE)

    def _page(self, after: str) -> list[Whole]:
        with self.site.store.glance() as connection:
            return page_of_wholes(connection, kind=self.kind, after=after, limit=_PAGE)

    def put(self, job_id: str, mine: Said) -> Standing:
        """Record a job that says this, or make the record of it say so. Raises ``IllegalTransition``."""
        made = self._create_alone(job_id, mine)
        if made is not None:
            return made
        with self._writing() as connection:
            try:
                return self._create(connection, job_id, mine)
            except JobExists:
                at = hold(self.site.store, connection, job_id)
                now = find_whole(connection, job_id)
                if now is None or self.kind not in {None, now.job.kind}:
                    raise
            return self._write(connection, now, self._standing(now), mine, at, renews=False)

    def write(self, job_id: str, base: Standing, mine: Said, *, renews: bool) -> Standing:
        """Write what changed since ``base``. ``renews``: as a sign of life of a job that is processing.

        Raises ``StaleJob`` or ``IllegalTransition``; then nothing was written.
        """
        written = self._write_alone(job_id, base, mine, renews=renews)
        if written is not None:
            return written
        with self._writing() as connection:
            at = hold(self.site.store, connection, job_id)
            now = find_whole(connection, job_id, kind=self.kind)
            if now is None:
                raise StaleJob(
                    f"job {job_id} was deleted meanwhile; nothing was written",
                    hint="assign it anew to begin another job of this id",
                )
            return self._write(connection, now, base, mine, at, renews=renews)

    def amend(self, job_id: str, change: Callable[[Said], Said], *, renews: bool) -> Standing | None:
        """Write what ``change`` makes of a record, seen in the same moment; ``None`` without a record.

        ``renews`` as of ``write``. Raises ``IllegalTransition``; then nothing was written.
        """
        with self._writing() as connection:
            at = hold(self.site.store, connection, job_id)
            now = find_whole(connection, job_id, kind=self.kind)
            if now is None:
                return None
            base = self._standing(now)
            return self._write(connection, now, base, change(base.said), at, renews=renews)

    def delete(self, job_id: str) -> None:
        """Remove a record, with a tombstone. Raises ``UnknownJob``."""
        with self._writing() as connection:
            at = self.site.store.now(connection)
            jobs.delete_job(connection, job_id, actor=self.site.actor, at=at)

    def _create_alone(self, job_id: str, mine: Said) -> Standing | None:
        """Record a job that is queued, in one go; ``None`` where there is more to do."""
        if status_in(mine) is not Status.QUEUED:
            return None
        site, kind = self.site, self.kind or _DEFAULT_KIND
        made = create_alone(
            site.store,
            job_id,
            kind,
            _plain(mine.fields),
            mine.payload,
            actor=site.actor,
            patience_s=self._patience_s,
        )
        return None if made is None else self._standing(made)

    def _write_alone(self, job_id: str, base: Standing, mine: Said, *, renews: bool) -> Standing | None:
        """Write what nobody else has changed of a job, in one go; ``None`` where there is more to do."""
        said = base.said
        if base.updated_at is None or status_in(mine) is not base.status:
            return None
        if not is_same(mine.payload, said.payload):
            return None
        fields = _plain(mine.fields)
        changes = {name: value for name, value in fields.items() if not is_same(value, said.fields[name])}
        if not changes:
            return None
        written = change_alone(
            self.site.store,
            Seen(job_id, base.version, base.updated_at, _plain(said.fields)),
            changes,
            beats=renews and base.status is Status.PROCESSING and _HEART not in changes,
            patience_s=self._patience_s,
        )
        if written is None:
            return None
        after = Said({**said.fields, **written.fields}, said.payload)
        return base._replace(said=after, version=base.version + 1, updated_at=written.updated_at)

    def _create(self, connection: Connection, job_id: str, mine: Said) -> Standing:
        site, at = self.site, self.site.store.now(connection)
        way = steps(job_id, Status.QUEUED, status_in(mine))
        fields = _plain(mine.fields)
        made = create_whole(
            connection,
            job_id,
            self.kind or _DEFAULT_KIND,
            Change(way, fields, mine.payload),
            actor=site.actor,
            executor=site.executor,
            at=at,
        )
        return self._standing(made)

    def _write(
        self,
        connection: Connection,
        now: Whole,
        base: Standing,
        mine: Said,
        at: datetime,
        *,
        renews: bool,
    ) -> Standing:
        change = self._change(now, base, mine, at if renews else None)
        if not (change.steps or change.fields or change.payload is not None):
            return self._standing(now)
        written = change_whole(
            connection, now, change, actor=self.site.actor, executor=self.site.executor, at=at
        )
        return self._standing(written)

    def _change(self, now: Whole, base: Standing, mine: Said, beat: datetime | None) -> Change:
        """What to write, so that what others wrote since ``base`` stays. Raises ``StaleJob``."""
        job, theirs = now.job, self._standing(now)
        way = self._way(job, base, status_in(mine))
        try:
            fields = self._merged(base.said.fields, mine.fields, theirs.said.fields)
            payload = merged_fields(base.said.payload, mine.payload, theirs.said.payload)
        except Conflict as conflict:
            raise _stale(job.job_id, f"another writer changed its {conflict} to something else") from None
        before = theirs.said
        changed = {name: value for name, value in fields.items() if not is_same(value, before.fields[name])}
        has_payload = not is_same(payload, dict(before.payload))
        if way:
            said = {name: value for name, value in fields.items() if value is not None}
            if beat is not None and _HEART not in changed:
                said.pop(_HEART, None)
            changed = {**said, **changed}
        elif beat is not None and job.status is Status.PROCESSING and (changed or has_payload):
            changed.setdefault(_HEART, beat)
        return Change(way, changed, payload if has_payload else None)

    def _way(self, job: Job, base: Standing, wanted: Status) -> list[Step]:
        """The changes of status. Raises ``StaleJob`` where the job went on without us."""
        if job.attempt != base.attempt:
            raise _stale(
                job.job_id, f"it is in attempt {job.attempt} by now, and no longer in {base.attempt}"
            )
        if wanted is base.status:
            if job.status is not base.status:
                raise _stale(job.job_id, f"it is {job.status} by now, and no longer {base.status}")
            return []
        return steps(job.job_id, job.status, wanted, error_code=job.error_code)

    @staticmethod
    def _merged(
        base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The fields but for id and status. Of two heartbeats the later one counts."""
        sides = [_plain(side) for side in (base, mine, theirs)]
        beats = [side[_HEART] for side in sides[1:] if side.get(_HEART) is not None]
        if len(beats) > 1 and sides[1][_HEART] != sides[0].get(_HEART):
            sides[1][_HEART] = sides[2][_HEART] = max(beats)
        return merged_fields(*sides)

    def _standing(self, whole: Whole) -> Standing:
        job = whole.job
        said = self.shape.recorded(job, whole.payload)
        return Standing(said, job.status, job.version, job.attempt, job.updated_at)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields but for the id, which never changes, and the status, which has rules of its own."""
    return {name: value for name, value in fields.items() if name not in {"job_id", "status"}}


def _stale(job_id: str, why: str) -> StaleJob:
    return StaleJob(f"job {job_id}: {why}; nothing was written", hint=f"run '{show_command(job_id)}'")
