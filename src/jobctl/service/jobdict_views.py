"""Views of a ``JobDict`` that read in pages instead of one look-up each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import TypeVar

J = TypeVar("J")


class Streamed(MutableMapping[str, J]):
    """A mapping that can be read in pages."""

    @abstractmethod
    def stream(self) -> Iterator[tuple[str, J]]:
        """Ids and objects, in order."""


class Values(ValuesView[J]):
    """Objects in pages, instead of one look-up each."""

    def __init__(self, jobs: Streamed[J]) -> None:
        super().__init__(jobs)
        self._streamed = jobs

    def __iter__(self) -> Iterator[J]:
        return (job for _, job in self._streamed.stream())


class Items(ItemsView[str, J]):
    """Ids and objects in pages, instead of one look-up each."""

    def __init__(self, jobs: Streamed[J]) -> None:
        super().__init__(jobs)
        self._streamed = jobs

    def __iter__(self) -> Iterator[tuple[str, J]]:
        return self._streamed.stream()
