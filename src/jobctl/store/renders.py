"""Remote renders, as their renderer last told of them, and which job each belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Row, select

from jobctl.model.renders import KnownRender, Proof, Render, RenderState
from jobctl.model.timestamps import parse_timestamp
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.schema import remote_render
from jobctl.store.statements import put_rows, stream_range

_COLUMNS = (
    "renderer",
    "remote_id",
    "status",
    "name",
    "created_at",
    "document",
    "job_id",
    "matched_by",
    "seen_at",
)


def record_renders(connection: Connection, renders: Iterable[KnownRender]) -> None:
    """Write renders with their jobs and what ties them; one that is there already is replaced."""
    put_rows(connection, remote_render, [_row(known) for known in renders])


def list_renders(connection: Connection) -> list[KnownRender]:
    """Every render that is known, the newest first."""
    order = (remote_render.c.created_at.desc().nulls_last(), remote_render.c.remote_id)
    return [_known(row) for row in connection.execute(select(remote_render).order_by(*order))]


def renders_of(connection: Connection, job_id: str) -> list[KnownRender]:
    """The renders of one job."""
    rows = select(remote_render).where(remote_render.c.job_id == job_id).order_by(remote_render.c.remote_id)
    return [_known(row) for row in connection.execute(rows)]


def stream_renders(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[tuple[str, KnownRender]]:
    """The renders that belong to jobs with ``low`` ≤ id < ``high``, by job id."""
    moments = {"created_at", "seen_at"}
    columns = ", ".join(
        dialect.moment(name) if name in moments else dialect.text(name) if name == "document" else name
        for name in _COLUMNS
    )
    table = dialect.table("remote_render")
    sql = f"SELECT {columns} FROM {table} WHERE job_id IS NOT NULL"  # noqa: S608 - names of our own
    for row in stream_range(connection, sql, "job_id", low, high):
        fields = dict(zip(_COLUMNS, row, strict=True))
        fields["document"] = json.loads(fields["document"]) if fields["document"] else {}
        for name in moments:
            fields[name] = parse_timestamp(fields[name]) if fields[name] else None
        yield fields["job_id"], _from_fields(fields)


def _row(known: KnownRender) -> dict[str, Any]:
    render = known.render
    document = {
        "said": render.said,
        "tags": list(render.tags),
        "duration_s": render.duration_s,
        "error": render.error,
    }
    return {
        "renderer": known.renderer,
        "remote_id": render.remote_id,
        "status": render.state.value,
        "name": render.name,
        "created_at": render.created_at,
        "document": document,
        "job_id": known.job_id,
        "matched_by": known.matched_by.value if known.matched_by else None,
        "seen_at": known.seen_at,
    }


def _known(row: Row[Any]) -> KnownRender:
    return _from_fields(dict(row._mapping))


def _from_fields(fields: dict[str, Any]) -> KnownRender:
    document = fields["document"] or {}
    render = Render(
        remote_id=fields["remote_id"],
        state=RenderState(fields["status"]),
        said=document.get("said", ""),
        name=fields["name"],
        tags=tuple(document.get("tags", ())),
        created_at=fields["created_at"],
        duration_s=document.get("duration_s"),
        error=document.get("error"),
    )
    proof = Proof(fields["matched_by"]) if fields["matched_by"] else None  # type: ignore[call-arg]
    return KnownRender(fields["renderer"], render, fields["job_id"], proof, fields["seen_at"])
