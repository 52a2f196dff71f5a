"""Run ids: readable, unique, and in time order when sorted as text."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime


def new_run_id(now: datetime) -> str:
    """Make an id such as ``20261123-163024-4f1a``."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def is_run_id(text: str) -> bool:
    """Whether a text has the form of such an id."""
    return re.fullmatch(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", text) is not None
