"""Words: what a service calls the statuses of its jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobctl.errors import UsageError
from jobctl.model.status import Status

_KNOWN = {status.value: status for status in Status}


class Words:
    """A service's words for statuses, and which word to use where several mean one status."""

    def __init__(self, given: Mapping[str, str] | None = None, *, known: Iterable[str] = ()) -> None:
        """Take the words that ``given`` explains, and those a class has, as far as they say themselves.

        Raises ``UsageError`` for one that means nothing.
        """
        self._meaning: dict[str, Status] = {}
        self._word: dict[Status, str] = {}
        for word, meant in (given or {}).items():
            self._add(word, meant)
        for word in known:
            if word not in self._meaning:
                self._add(word, word)

    def status_of(self, word: Any) -> Status:
        """What a word means. Raises ``ValueError`` for one that means nothing."""
        found = self._meaning.get(str(word)) or _KNOWN.get(str(word).lower())
        if found is None:
            raise ValueError(_meaningless(word))
        return found

    def word_of(self, status: Status) -> str:
        """The service's word for a status."""
        return self._word.get(status, status.value)

    def _add(self, word: str, meant: str) -> None:
        status = _KNOWN.get(str(meant).lower())
        if status is None:
            raise UsageError(
                _meaningless(word), hint=f'say it with statuses={{"{word}": "…"}}: {", ".join(_KNOWN)}'
            )
        self._meaning[word] = status
        self._word.setdefault(status, word)


def _meaningless(word: Any) -> str:
    return f"{word!r} is the word for none of the statuses {', '.join(_KNOWN)}"
