"""Texts in a form that both databases hold, whatever bytes a message, a name or a payload came with."""

from __future__ import annotations

from typing import Any


def storable_text(text: str) -> str:
    """``text`` with bytes that are no UTF-8, and NUL, which PostgreSQL refuses, written out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def storable_json(value: Any) -> Any:
    """What JSON said, with every text and name in it storable."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list):
        return [storable_json(each) for each in value]
    if isinstance(value, dict):
        return {storable_text(name): storable_json(each) for name, each in value.items()}
    return value
