"""Exported documents as the rows of tables and of CSV files, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobctl.core.dump import EXPORTED, Wrong
from jobctl.core.foreign import shortened
from jobctl.core.job_rows import BODY_FIELDS

_JSON_FIELDS = frozenset({"created_files", "executor", "provenance", *BODY_FIELDS})
_NUMBER_FIELDS = frozenset({"progress", "max_progress"})
_INTEGER_FIELDS = frozenset({"priority", "attempt", "spared", "max_attempts"})

# Before any of these a spreadsheet takes a cell for a formula; the mark itself is marked as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def to_columns(document: Mapping[str, Any]) -> dict[str, Any]:
    """An exported document as the values of a table's row: what has structure as JSON text."""
    return {
        name: _as_json(document.get(name))
        if name in _JSON_FIELDS and document.get(name) is not None
        else document.get(name)
        for name in EXPORTED
    }


def from_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """The exported document of a table's row, also where all its values are text. Raises ``Wrong``."""
    return {name: _from_column(name, value) for name, value in values.items()}


def to_cell(value: Any) -> str:
    """A value as a CSV cell that no spreadsheet takes for a formula; empty text is told from nothing."""
    if value is None:
        return ""
    text = repr(value) if isinstance(value, float) else str(value)
    return defused(text) if text else "'"


def defused(text: str) -> str:
    """``text`` as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_cell(cell: str) -> str | None:
    """The text that ``to_cell`` wrote; ``None`` for nothing."""
    return cell.removeprefix("'") if cell else None


def _as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _from_column(name: str, value: Any) -> Any:
    if value is None or not isinstance(value, str):
        return value
    try:
        if name in _JSON_FIELDS:
            return json.loads(value)
        if name in _NUMBER_FIELDS:
            return float(value)
        return int(value) if name in _INTEGER_FIELDS else value
    except (ValueError, RecursionError):
        raise Wrong(f"its {name} {shortened(value)} is not understood") from None
