"""What all tables are made of: one metadata, types of columns that mean the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.event import listens_for

from jobctl.model.timestamps import TIMESTAMP_LENGTH, format_timestamp, parse_timestamp

SCHEMA = "jobctl"
ONLY_WHERE = "only where"
"""What an index of some rows only is marked with: see ``_say_options``."""
ALSO_HOLDS = "also holds"
"""What an index is marked with that holds columns it is not ordered by, where a database has such."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class Timestamp(TypeDecorator[datetime]):
    """An aware moment: ``timestamptz`` on PostgreSQL, 27 characters of RFC 3339 on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        is_postgresql = dialect.name == "postgresql"
        return dialect.type_descriptor(DateTime(timezone=True) if is_postgresql else Text())

    def process_bind_param(self, value: datetime | str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        at = parse_timestamp(value) if isinstance(value, str) else value
        # Formatted for both: PostgreSQL would take a naive moment, in whatever zone its session has.
        formatted = format_timestamp(at)
        return at if dialect.name == "postgresql" else formatted

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else parse_timestamp(value)


class Document(TypeDecorator[Any]):
    """A JSON document; ``None`` is NULL. ``jsonb`` on PostgreSQL, whose types are imported only there."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415 - slow to import

        return dialect.type_descriptor(JSONB(none_as_null=True))


# Byte order everywhere: merge joins rely on both databases sorting ids as Python does.
Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite only numbers rows of a column declared exactly INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")


def moment(name: str, *, nullable: bool = True) -> Column[datetime]:
    """Return a column of moments."""
    return Column(name, Timestamp, nullable=nullable)


def one_of(column: str, values: list[str], name: str) -> CheckConstraint:
    """Hold a column to the values listed."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def fix_timestamp_width(table: Table) -> None:
    """Hold SQLite, whose columns take anything, to the one text form that sorts by time."""
    for column in table.columns:
        if isinstance(column.type, Timestamp):
            width = f"length({column.name}) = {TIMESTAMP_LENGTH}"
            check = CheckConstraint(width, name=f"{column.name}_form").ddl_if(dialect="sqlite")
            table.append_constraint(check)


@listens_for(metadata, "before_create")
def _say_options(made: MetaData, connection: Connection, **_: Any) -> None:
    """Say what only some databases know of an index, where it is made: each dialect is slow to import."""
    for table in made.tables.values():
        for index in table.indexes:
            options = index.dialect_options[connection.dialect.name]
            if ONLY_WHERE in index.info:
                options["where"] = text(index.info[ONLY_WHERE])
            if ALSO_HOLDS in index.info and "include" in options:
                options["include"] = index.info[ALSO_HOLDS]
