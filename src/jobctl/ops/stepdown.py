"""Step down: run by root, jobctl becomes the owner of what it works on before it touches it.

Otherwise cron's root would leave a store and markers behind that the service cannot write.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobctl.outputs.root import become_owner_of
from jobctl.settings import Settings
from jobctl.store.dialect import SQLite, dialect_of


def step_down_to(settings: Settings, places: Iterable[str]) -> None:
    """Become the owner of the first of these places that exists, unless the settings say to stay root."""
    if os.geteuid() != 0 or settings.as_root:
        return
    place = next((place for place in places if os.path.exists(place)), None)
    if place is not None:
        become_owner_of(place)


def store_places(settings: Settings) -> list[str]:
    """The file of an embedded store: it belongs to whom the outputs belong to."""
    dialect = dialect_of(settings.database)
    return [dialect.path] if isinstance(dialect, SQLite) else []


def make_place_for_store(settings: Settings, owned_like: str) -> None:
    """As root, make the directory of a new embedded store for the owner of the outputs."""
    if os.geteuid() != 0 or settings.as_root:
        return
    owner = os.stat(owned_like)
    for place in store_places(settings):
        directory = os.path.dirname(place)
        if not os.path.exists(directory):
            os.makedirs(directory, mode=0o700)
            os.chown(directory, owner.st_uid, owner.st_gid)
