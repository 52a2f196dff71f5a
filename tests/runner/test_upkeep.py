"""What workers do in passing, so that nobody who asks has to wait for it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from jobctl import clock
from jobctl.store import tallies
from jobctl.store.schema import tally_owners
from runner.working import Crewed
from store.records import create


def test_the_owners_of_a_day_that_is_over_are_kept_ready(crew: Crewed) -> None:
    with crew.store.write() as connection:
        create(connection, "a", owner="ada", at=clock.now() - timedelta(days=40))
    while tallies.fold(crew.store) or tallies.fold(crew.store):
        pass

    def kept() -> list[str]:
        with crew.store.read() as connection:
            return sorted(connection.execute(select(tally_owners.c.grain)).scalars())

    assert kept() == []
    crew.start()
    crew.until(lambda: "day" in kept())
