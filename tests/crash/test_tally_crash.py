"""The sums made anew, or the owners kept in one row, killed at any commit: all is as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crash.program import Ended, Program
from jobctl import clock
from jobctl.store import tallies
from jobctl.store.engine import Store
from store.records import claim, complete, create

pytestmark = pytest.mark.crash


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with Program(tmp_path) as program:
        yield program


def fill(store: Store) -> None:
    """Three days of jobs, added up."""
    with store.write() as connection:
        for number in range(6):
            at = clock.now() - timedelta(days=1 + number // 2, minutes=1)
            create(connection, f"j{number}", owner=f"owner-{number % 3}", at=at)
            claim(connection, f"j{number}", at=at)
            complete(connection, f"j{number}", at=at + timedelta(seconds=3))
    while tallies.fold(store) or tallies.fold(store):
        pass


def killed_at(number: int) -> dict[str, Any]:
    return {"number": number, "when": "after", "how": "SIGKILL"}


def asked(run: Any) -> Any:
    ended: Ended = run("metrics", "--by", "owner", "--since", "5d", "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["data"]["items"]


def test_a_kill_at_any_commit_leaves_sums_that_agree(store: Store, store_url: str, program: Program) -> None:
    def run(*argv: str, **how: Any) -> Ended:
        return program.run(*argv, JOBCTL_DATABASE_URL=store_url, **how)

    fill(store)
    before = asked(run)
    assert sum(item["completed"] for item in before) == 6
    number, step = 1, 1 if store.dialect.name == "sqlite" else 2
    while run("metrics", "rebuild", fault=killed_at(number)).returncode == -9:
        assert asked(run) == before
        assert run("metrics", "rebuild").returncode == 0
        number += step
    assert number > 3
    rows = 0
    while run("metrics", "--by", "owner", "--since", "5d", fault=killed_at(1)).returncode == -9:
        rows += 1
    assert rows >= 2
    assert asked(run) == before
    verified = json.loads(run("verify", "--history", "--json").stdout)["data"]["items"]
    assert not [item for item in verified if item["difference"] == "tally"]
