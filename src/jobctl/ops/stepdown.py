"""Step down: run by root, jobctl becomes the owner of what it works on before it touches it.

Otherwise cron's root would leave a store and markers behind that the service cannot write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from jobctl.errors import JobctlError, error_from
from jobctl.outputs.owner import become_owner_of
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


def learn_as_owner(settings: Settings, question: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """The answer to a question that steps down; this process stays root, if that is what it is.

    Then a child process asks, and the answer must be something JSON can hold. Raises the
    ``JobctlError`` that ``question`` raised.
    """
    if os.geteuid() != 0 or settings.as_root:
        return question()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _tell_and_end(question, writer)
    os.close(writer)
    with open(reader, encoding="ascii") as told:
        text = told.read()
    os.waitpid(child, 0)
    answer = json.loads(text or '{"fault": "it ended without an answer"}')
    if "error" in answer:
        raise error_from(*answer["error"])
    if "fault" in answer:
        raise RuntimeError(f"what only the owner may read could not be read: {answer['fault']}")
    return dict(answer["told"])


def _tell_and_end(question: Callable[[], Mapping[str, Any]], writer: int) -> NoReturn:
    """Nothing of the parent is unwound in the child, and nothing it has buffered is written twice."""
    try:
        answer: dict[str, Any] = {"told": question()}
    except JobctlError as error:
        answer = {"error": [error.code, error.message, error.hint]}
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        answer = {"fault": repr(error)}
    try:
        with open(writer, "w", encoding="ascii") as telling:
            json.dump(answer, telling)
    finally:
        os._exit(0)
