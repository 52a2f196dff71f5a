"""How a database would read what it is asked for."""

from __future__ import annotations

from sqlalchemy import event
from sqlalchemy.engine import Connection


def plans_of(connection: Connection, run: object) -> list[str]:
    """How the database would read what ``run`` asks for, as it explains it."""
    asked: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, sql: str, values: object, *_more: object) -> None:
        asked.append((sql, values))

    event.listen(connection, "before_cursor_execute", note)
    try:
        run()  # type: ignore[operator]
    finally:
        event.remove(connection, "before_cursor_execute", note)
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    plans = []
    for sql, values in asked:
        rows = connection.exec_driver_sql(f"{how} {sql}", values).all()  # type: ignore[arg-type]
        plans.append("\n".join(str(row[-1]) for row in rows))
    return plans
