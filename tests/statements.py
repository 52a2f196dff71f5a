"""Statements compiled once for all stores that a process of the tests opens.

A program opens one store and compiles each statement once. Tests open thousands, and would spend a
fifth of their time on compiling the same statements for each.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

_MOST = 5_000


class _Statements(LRUCache[Any, Any]):
    """Keyed by the kind of database in place of the dialect object, of which each engine has its own."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_of_kind(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_kind(key), value)


def share() -> None:
    """Let all engines of this process have one cache."""
    statements = _Statements(_MOST)
    Engine._compiled_cache = property(lambda _: statements, lambda *_: None)  # type: ignore[assignment]


def _of_kind(key: Any) -> Any:
    dialect, *rest = key
    return type(dialect), *rest
