"""Documents come back by key, those of a key as they came; a disk that fills is told."""

from __future__ import annotations

import pytest

from jobctl.errors import DiskFailed
from jobctl.store import spool
from jobctl.store.spool import SortedSpool


def test_documents_come_by_key_and_those_of_a_key_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_BATCH", 2)
    with SortedSpool() as kept:
        for key, document in (("b", 1), ("a", {"x": None}), ("é", [2]), ("b", 0), ("", "first")):
            kept.add(key, document)
        found = [("", "first"), ("a", {"x": None}), ("b", 1), ("b", 0), ("é", [2])]
        assert list(kept.stream()) == found
        assert list(kept.stream("a", "c")) == found[1:4]
        kept.add("aa", 3)
        assert list(kept.stream("a", "b")) == [("a", {"x": None}), ("aa", 3)]


@pytest.mark.parametrize("more", [0, 50])
def test_a_disk_that_fills_is_told_whether_rows_are_written_or_sorted(more: int) -> None:
    with SortedSpool() as kept:
        for number in range(300):
            kept.add(f"{number:>200}", None)
        kept._write()
        (pages,) = kept._database.execute("PRAGMA page_count").fetchone()
        kept._database.execute(f"PRAGMA max_page_count = {pages}")
        for number in range(more):
            kept.add(f"{number:>200}", None)
        with pytest.raises(DiskFailed, match="full"):
            list(kept.stream())
