"""Ids of remote renders. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_OBJECT_ID = re.compile("[0-9a-f]{24}")
_YEARS = (2010, 2100)


def created_at_of(remote_id: str) -> datetime | None:
    """When a render was made, to the second; ``None`` where its id does not tell.

    The ids are ObjectIds of MongoDB: their first four bytes are seconds since 1970, UTC.
    """
    if not _OBJECT_ID.fullmatch(remote_id):
        return None
    moment = datetime.fromtimestamp(int(remote_id[:8], 16), UTC)
    return moment if _YEARS[0] <= moment.year < _YEARS[1] else None
