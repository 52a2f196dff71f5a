"""Rotated logs: parts of one log, from the oldest on, by their names."""

from __future__ import annotations

import pytest

from jobctl.evidence.rotation import by_log, is_rotated


@pytest.mark.parametrize(
    "names",
    [
        ["app.log.10.gz", "app.log.2.gz", "app.log.1", "app.log"],
        ["app.log-20251103.gz", "app.log-20251104", "app.log"],
        ["app-2025-11-03.log.xz", "app-2025-11-04.log", "app.log"],
        ["app.log.2025-11-03_09-00-00", "app.log.2025-11-04_09-00-00", "app.log"],
        ["app.log-20251104-1762246800.bz2", "app.log-20251104-1762250400", "app.log"],
    ],
)
def test_parts_come_in_their_order(names: list[str]) -> None:
    paths = [f"/var/log/{name}" for name in names]
    assert list(by_log(reversed(paths)).values()) == [paths]
    assert [is_rotated(path) for path in paths] == [True] * (len(paths) - 1) + [False]


def test_other_names_are_other_logs() -> None:
    paths = ["/a/app.log", "/b/app.log", "/a/other.log", "/a/server-1.log", "/a/server-2.log"]
    assert sorted(by_log(paths).values()) == sorted([path] for path in paths)


def test_a_file_named_twice_counts_once() -> None:
    assert list(by_log(["/a/app.log", "/a/../a/app.log"]).values()) == [["/a/app.log"]]
