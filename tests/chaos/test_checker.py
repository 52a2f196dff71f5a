"""The checker accepts every history that can come about, and none that cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chaos.checker import PUBLISHED, Entry, Step, violations


class World(NamedTuple):
    """One job: its history, and what its handlers wrote."""

    history: list[Step]
    ledger: list[Entry]

    def violations(self) -> list[str]:
        return violations(["j"], self.history, self.ledger)


def _step(attempt: int | None, before: str | None, after: str, cause: str | None) -> Step:
    return Step("j", attempt, before, after, cause)


def _published(attempt: int) -> Step:
    return _step(attempt, None, PUBLISHED, None)


@st.composite
def lawful(draw: st.DrawFn) -> World:
    """Some attempts that were lost, handed back or failed, and one that ended the job."""
    history, ledger = [_step(None, None, "queued", None)], list[Entry]()
    for attempt in range(1, draw(st.integers(1, 5)) + 1):
        history.append(_step(attempt, "queued", "processing", "claim"))
        if draw(st.booleans()):
            ledger.append(Entry("begin", "j", attempt))
            if draw(st.booleans()):
                ledger.append(Entry("done", "j", attempt))
                history += [_published(attempt)] * draw(st.integers(0, 2))
        cause = draw(st.sampled_from(["rescue", "hand-back", "retry"]))
        history.append(_step(attempt, "processing", "queued", cause))
    last = history[-1].attempt or 0
    history.pop()
    after, cause = draw(
        st.sampled_from(
            [
                ("completed", "executor"),
                ("completed", "rescue"),
                ("failed", "executor"),
                ("failed", "proof-of-death"),
                ("cancelled", "operator"),
            ]
        )
    )
    if (after, cause) == ("completed", "executor") and Entry("done", "j", last) not in ledger:
        if draw(st.booleans()):
            ledger.append(Entry("done", "j", last))
        else:
            # Its process was killed once the video was accepted, and before it could write a line.
            history.append(_published(last))
    history.append(_step(last, "processing", after, cause))
    return World(history, ledger)


@given(lawful())
def test_what_can_come_about_is_accepted(world: World) -> None:
    assert world.violations() == []


def _lose(world: World, pick: int) -> World:
    return World([], world.ledger)


def _complete_twice(world: World, pick: int) -> World:
    return World([*world.history, world.history[-1]], world.ledger)


def _begin_anew(world: World, pick: int) -> World:
    last = world.history[-1]
    return World([*world.history, _step(last.attempt, last.after, "queued", "retry")], world.ledger)


def _drop(world: World, pick: int) -> World:
    changes = [at for at, step in enumerate(world.history) if step.after != PUBLISHED]
    at = changes[pick % len(changes)]
    return World(world.history[:at] + world.history[at + 1 :], world.ledger)


def _renumber(world: World, pick: int) -> World:
    """What an old attempt wrote was taken, or a number was left out."""
    at = 1 + pick % (len(world.history) - 1)
    step = world.history[at]
    changed = step._replace(attempt=(step.attempt or 0) + (-1 if pick % 2 else 1))
    return World([*world.history[:at], changed, *world.history[at + 1 :]], world.ledger)


def _claim_twice(world: World, pick: int) -> World:
    claims = [at for at, step in enumerate(world.history) if step.after == "processing"]
    at = claims[pick % len(claims)]
    return World([*world.history[: at + 1], *world.history[at:]], world.ledger)


def _publish_too_late(world: World, pick: int) -> World:
    """A file of an attempt is accepted once that one is over, whatever runs then."""
    ends = [at for at, step in enumerate(world.history) if step.before == "processing"]
    at = ends[pick % len(ends)]
    late = _published(world.history[at].attempt or 0)
    place = min(at + 1 + pick % 2, len(world.history))
    return World([*world.history[:place], late, *world.history[place:]], world.ledger)


def _publish_unclaimed(world: World, pick: int) -> World:
    """A file is accepted from an attempt that never was."""
    return World([*world.history[:-1], _published(99), world.history[-1]], world.ledger)


def _run_twice(world: World, pick: int) -> World:
    assume(world.ledger)
    return World(world.history, [*world.ledger, world.ledger[pick % len(world.ledger)]])


def _run_unclaimed(world: World, pick: int) -> World:
    return World(world.history, [*world.ledger, Entry("begin", "j", 99)])


def _never_do_it(world: World, pick: int) -> World:
    last = world.history[-1]
    assume((last.after, last.cause) == ("completed", "executor"))
    history = [step for step in world.history if step != _published(last.attempt or 0)]
    return World(history, [entry for entry in world.ledger if entry != Entry("done", "j", last.attempt or 0)])


@pytest.mark.parametrize(
    "spoil",
    [
        _lose,
        _complete_twice,
        _begin_anew,
        _drop,
        _renumber,
        _claim_twice,
        _publish_too_late,
        _publish_unclaimed,
        _run_twice,
        _run_unclaimed,
        _never_do_it,
    ],
)
@given(world=lawful(), pick=st.integers(0, 100))
def test_whatever_is_spoilt_is_noticed(spoil: Callable[[World, int], World], world: World, pick: int) -> None:
    assert spoil(world, pick).violations()


def test_a_job_that_nobody_enqueued_is_noticed() -> None:
    assert violations([], [Step("j", None, None, "queued", None)], []) == ["j: nobody enqueued it"]
