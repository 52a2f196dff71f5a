"""The ways in which a dump of jobs can be written."""

from __future__ import annotations

from enum import StrEnum


class DumpFormat(StrEnum):
    """How a dump is written."""

    JSON = "json"
    JSON_LINES = "jsonl"
    CSV = "csv"
    SQLITE = "sqlite"
