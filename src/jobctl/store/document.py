"""Fields of JSON documents as typed columns, so that rows can be written from documents set by set."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, DefaultClause, cast, func, literal, literal_column

from jobctl.store.schema import Document


class DocumentReader:
    """Builds expressions that read and make documents in the dialect of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._is_postgresql = connection.dialect.name == "postgresql"

    def field(self, document: ColumnElement[Any], column: Column[Any]) -> ColumnElement[Any]:
        """The document's field of the column's name, as the column's type; NULL where it has none.

        A column that is never NULL may be younger than the document: then, what it has by default.
        """
        found = self._field(document, column)
        if column.nullable or not isinstance(column.server_default, DefaultClause):
            return found
        return func.coalesce(found, cast(literal(str(column.server_default.arg)), column.type))

    def _field(self, document: ColumnElement[Any], column: Column[Any]) -> ColumnElement[Any]:
        if not self._is_postgresql:
            return func.json_extract(document, f'$."{column.name}"')
        if isinstance(column.type, Document):
            found = func.jsonb_extract_path(document, column.name, type_=Document)
            return func.nullif(found, literal_column("'null'::jsonb"), type_=Document)
        return cast(func.jsonb_extract_path_text(document, column.name), column.type)

    def make(self, **fields: ColumnElement[Any]) -> ColumnElement[Any]:
        """A document of these fields."""
        parts: list[Any] = []
        for name, value in fields.items():
            parts.extend((name, value))
        function = func.jsonb_build_object if self._is_postgresql else func.json_object
        return function(*parts)
