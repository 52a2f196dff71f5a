"""Texts sought within columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func

from jobctl.model.storable import storable_text


def contains(column: ColumnElement[Any], sought: str, dialect: str) -> ColumnElement[bool]:
    """Whether a column holds a text, whatever its case; SQLite knows the case of ASCII letters alone.

    No pattern: nothing in the text has a meaning, and it may be of any length.
    """
    position = func.strpos if dialect == "postgresql" else func.instr
    found: ColumnElement[bool] = position(func.lower(column), func.lower(storable_text(sought))) > 0
    return found
