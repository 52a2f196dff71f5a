"""What is stored where, in numbers."""

from __future__ import annotations

from typing import NamedTuple


class Stored(NamedTuple):
    """What the records say of the files of one state below one root.

    ``new_files`` and ``new_bytes`` are of those that were noted within a period.
    """

    root_id: str
    path: str
    state: str
    files: int
    bytes: int
    new_files: int
    new_bytes: int


class Walked(NamedTuple):
    """What the last walks saw below one root."""

    root_id: str
    path: str
    files: int
    bytes: int
    foreign_files: int
