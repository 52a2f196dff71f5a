"""What scans remember: files, directories, walks and heartbeats, alike on both databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, select

from jobctl.model.records import DirectoryMark, Watch
from jobctl.store import sightings
from jobctl.store.engine import Store
from jobctl.store.schema import sighting
from store.records import AT, later

LATIN = os.fsdecode(b"caf\xe9\\.mp4")


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    """A transaction of an empty store."""
    with store.write() as opened:
        yield opened


def seen(key: str = "a", path: str = "a.mp4", **changes: Any) -> tuple[Any, ...]:
    row: dict[str, Any] = {
        "key": key,
        "root_id": "r1",
        "path": path,
        "role": "video",
        "dev": 1,
        "inode": -(2**63),
        "size": 5,
        "mtime_ns": 2**62,
        "ctime_ns": 7,
        "verdict": "whole",
        "tier": "1b",
        "reason": "its container is complete",
        "checker": 1,
    }
    return tuple((row | changes).values())


def stream(store: Store, connection: Connection, low: str = "", high: str | None = None) -> list[Any]:
    return list(sightings.stream_sightings(connection, store.dialect, low, high))


def first_seen(connection: Connection) -> list[Any]:
    return list(connection.execute(select(sighting.c.first_seen).order_by(sighting.c.key)).scalars())


class TestFiles:
    def test_they_come_back_as_they_were_seen_with_names_stored(
        self, store: Store, connection: Connection
    ) -> None:
        sightings.record_sightings(connection, [seen("b"), seen("a", LATIN), seen("")], at=AT)
        assert stream(store, connection) == [seen(""), seen("a", r"caf\xe9\\.mp4"), seen("b")]
        assert stream(store, connection, "a", "b") == [seen("a", r"caf\xe9\\.mp4")]

    def test_the_last_look_replaces_the_one_before(self, store: Store, connection: Connection) -> None:
        sightings.record_sightings(connection, [seen(verdict=None, tier=None)], at=AT)
        sightings.record_sightings(connection, [seen(tier="2", checker=2)], at=later(1))
        assert stream(store, connection) == [seen(tier="2", checker=2)]

    def test_of_two_looks_at_once_the_last_counts(self, store: Store, connection: Connection) -> None:
        sightings.record_sightings(connection, [seen(tier="0"), seen(tier="1b"), seen(tier="2")], at=AT)
        sightings.record_sightings(connection, [], at=AT)
        assert stream(store, connection) == [seen(tier="2")]

    def test_first_seen_stays_while_it_is_the_same_file(self, connection: Connection) -> None:
        sightings.record_sightings(connection, [seen()], at=AT)
        sightings.record_sightings(connection, [seen(dev=2, ctime_ns=9, verdict="partial")], at=later(60))
        assert first_seen(connection) == [AT]

    @pytest.mark.parametrize("changed", ["inode", "size", "mtime_ns"])
    def test_another_file_of_the_same_name_is_first_seen_now(
        self, connection: Connection, changed: str
    ) -> None:
        sightings.record_sightings(connection, [seen("a"), seen("b")], at=AT)
        sightings.record_sightings(connection, [seen("a", **{changed: 1}), seen("b")], at=later(60))
        assert first_seen(connection) == [later(60), AT]

    def test_what_is_proven_gone_is_forgotten(self, store: Store, connection: Connection) -> None:
        sightings.record_sightings(connection, [seen("a", LATIN), seen("a"), seen("b")], at=AT)
        sightings.forget_sightings(connection, [("a", "r1", LATIN), ("b", "r2", "a.mp4")])
        sightings.forget_sightings(connection, [])
        assert stream(store, connection) == [seen("a"), seen("b")]

    def test_more_than_one_batch(self, store: Store, connection: Connection) -> None:
        rows = [seen(f"{number:05}") for number in range(sightings._BATCH + 1)]
        sightings.record_sightings(connection, rows, at=AT)
        assert stream(store, connection) == rows
        sightings.forget_sightings(connection, [row[:3] for row in rows])
        assert stream(store, connection) == []

    def test_all_files_of_one_job(self, connection: Connection) -> None:
        sightings.record_sightings(connection, [seen("a", LATIN, verdict=None), seen("a"), seen("b")], at=AT)
        assert sightings.sightings_of(connection, "a") == [
            ("r1", "a.mp4", "video", "whole"),
            ("r1", LATIN, "video", None),
        ]


class TestDirectories:
    MARK = DirectoryMark(LATIN, 1, 2, 3, 4, 5, "presentations", True, 6, 7, 8)

    def test_they_come_back_by_their_names(self, connection: Connection) -> None:
        sightings.record_directories(connection, "r1", [self.MARK, self.MARK._replace(path="")])
        sightings.record_directories(connection, "r2", [self.MARK])
        sightings.record_directories(connection, "r1", [self.MARK._replace(is_quiet=False)])
        assert sightings.load_directories(connection, "r1") == {
            LATIN: self.MARK._replace(is_quiet=False),
            "": self.MARK._replace(path=""),
        }

    def test_what_is_gone_is_forgotten(self, connection: Connection) -> None:
        sightings.record_directories(connection, "r1", [self.MARK])
        sightings.record_directories(connection, "r2", [self.MARK])
        sightings.forget_directories(connection, "r1", [LATIN])
        assert sightings.load_directories(connection, "r1") == {}
        assert sightings.load_directories(connection, "r2") == {LATIN: self.MARK}


class TestHeartbeats:
    def test_each_host_watches_by_itself(self, store: Store, connection: Connection) -> None:
        moment = "2026-01-31T12:00:00.123456Z"
        watch = Watch("a", "boot", 1, moment, 12.5)
        sightings.note_heartbeats(connection, [watch, Watch("b", "boot", 1, None, 1.0)], host="host-a")
        sightings.note_heartbeats(connection, [watch._replace(since=99.0)], host="host-b")
        sightings.note_heartbeats(connection, [], host="host-c")
        found = list(sightings.stream_watches(connection, store.dialect, "", None, host="host-a"))
        assert found == [watch, Watch("b", "boot", 1, None, 1.0)]
        found = list(sightings.stream_watches(connection, store.dialect, "b", None, host="host-a"))
        assert found == [Watch("b", "boot", 1, None, 1.0)]

    def test_a_new_beat_begins_a_new_watch(self, store: Store, connection: Connection) -> None:
        watch = Watch("a", "boot", 1, "2026-01-31T12:00:00.123456Z", 12.5)
        renewed = watch._replace(last_heartbeat="2026-01-31T12:00:30.000000Z", since=42.5)
        for each in (watch, renewed):
            sightings.note_heartbeats(connection, [each], host="host-a")
        assert list(sightings.stream_watches(connection, store.dialect, "", None, host="host-a")) == [renewed]
