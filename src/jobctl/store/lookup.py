"""Jobs by how their ids begin and by what else names them, and what is kept of those that have no record."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select, tuple_

from jobctl.model.lookup import Buried, DeclinedMark, Move
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import MOVES, Outcome, Verb
from jobctl.model.storable import storable_text
from jobctl.store.engine import Connection
from jobctl.store.schema import artifact, declined, job, remote_render, run_action, tombstone

_MOST = 5


def resolve_prefix(connection: Connection, prefix: str, *, limit: int = 5) -> list[str]:
    """Ids that begin with ``prefix``."""
    low = storable_text(prefix)
    found = select(job.c.job_id).where(job.c.job_id >= low, job.c.job_id < low + "\U0010ffff")
    return list(connection.execute(found.order_by(job.c.job_id).limit(limit)).scalars())


def jobs_with_file(connection: Connection, places: Iterable[tuple[str, str]]) -> list[str]:
    """The jobs of which a file is recorded at one of these places: root id and path."""
    wanted = [(root_id, storable_text(to_stored(path))) for root_id, path in places]
    place = tuple_(artifact.c.root_id, artifact.c.path)
    found = select(artifact.c.job_id).where(place.in_(wanted)).distinct().limit(_MOST)
    return list(connection.execute(found.order_by(artifact.c.job_id)).scalars()) if wanted else []


def renders_named(connection: Connection, remote_id: str) -> list[tuple[str, str | None]]:
    """The renderers that know a render of this id, and the job that it belongs to for each."""
    columns = select(remote_render.c.renderer, remote_render.c.job_id)
    rows = connection.execute(columns.where(remote_render.c.remote_id == storable_text(remote_id)))
    return [(renderer, job_id) for renderer, job_id in rows]


def jobs_with_key(connection: Connection, key: str) -> list[str]:
    """The jobs of any kind with this idempotency key."""
    found: list[str] = []
    kind = ""
    # From kind to kind by the index, which holds the keys of one kind together.
    while True:
        following = select(func.min(job.c.kind)).where(job.c.kind > kind, job.c.idempotency_key.is_not(None))
        kind = connection.execute(following).scalar_one()
        if kind is None:
            return found
        with_key = select(job.c.job_id).where(job.c.kind == kind, job.c.idempotency_key == storable_text(key))
        found += connection.execute(with_key).scalars()


def tombstone_of(connection: Connection, job_id: str) -> Buried | None:
    """What is kept of the end of a job that ended for good."""
    columns = [tombstone.c[name] for name in Buried._fields]
    found = select(*columns).where(tombstone.c.job_id == storable_text(job_id))
    row = connection.execute(found).one_or_none()
    return None if row is None else Buried._make(row)


def declined_of(connection: Connection, job_id: str) -> list[DeclinedMark]:
    """The recoveries of a job that were taken back, the newest first."""
    columns = select(declined.c.run_id, declined.c.path, declined.c.at)
    rows = connection.execute(
        columns.where(declined.c.job_id == storable_text(job_id)).order_by(declined.c.at.desc())
    )
    return [DeclinedMark(row.run_id, from_stored(row.path), row.at) for row in rows]


def in_quarantine(connection: Connection, job_id: str) -> list[Move]:
    """The files of a job that were moved into quarantine and, by the journal, are there still."""
    columns = (
        *(run_action.c.run_id, run_action.c.seq, run_action.c.entry, run_action.c.verb),
        *(run_action.c.root_id, run_action.c.path, run_action.c.applied_at),
    )
    carried_out = run_action.c.outcome.in_([Outcome.DONE.value, Outcome.ALREADY.value])
    moves = select(*columns).where(
        run_action.c.job_id == storable_text(job_id),
        run_action.c.verb.in_([verb.value for verb in MOVES]),
        carried_out,
    )
    there: dict[str, Move] = {}
    gone: set[str] = set()
    for row in connection.execute(moves.order_by(run_action.c.applied_at)):
        if row.verb == Verb.QUARANTINE:
            entry = f"{row.run_id}/{row.seq}"
            there[entry] = Move(entry, row.verb, row.root_id, from_stored(row.path), row.applied_at)
        else:
            gone.add(row.entry)
    return [move for entry, move in there.items() if entry not in gone]
