"""How much room there is, said before a plan that moves files and after it was applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobctl.cli.context import Call
from jobctl.model.plan import Verb
from jobctl.report.units import size_shown

if TYPE_CHECKING:
    from jobctl.ops.hold import Hold
    from jobctl.ops.plan import Plan
    from jobctl.ops.space import Space


@contextmanager
def telling_space(call: Call, hold: Hold, plan: Plan) -> Iterator[None]:
    """Say what room there is; in JSON as ``space`` of the answer's data, before and after."""
    from jobctl.ops.space import space_of  # noqa: PLC0415 - slow to import

    before = space_of(hold, plan)
    verb = "remove" if Verb.PURGE in plan.counts else "move"
    if plan.total:
        for each in before:
            call.output.note(_before(each, verb))
    call.output.further["space"] = lambda: _both(before, space_of(hold))
    yield
    if plan.total:
        for was, now in zip(before, space_of(hold), strict=True):
            # What is free changes by itself.
            if was.quarantined != now.quarantined:
                call.output.note(_after(now))


def _before(space: Space, verb: str) -> str:
    return (
        f"{space.path}: {size_shown(space.free)} of {size_shown(space.total)} free, "
        f"{size_shown(space.quarantined)} in quarantine, {size_shown(space.planned)} to {verb}"
    )


def _after(space: Space) -> str:
    return (
        f"{space.path}: {size_shown(space.free)} of {size_shown(space.total)} free, "
        f"{size_shown(space.quarantined)} in quarantine until 'jobctl quarantine purge' frees it"
    )


def _both(before: Sequence[Space], after: Sequence[Space]) -> list[dict[str, object]]:
    return [
        {**was._asdict(), "free_after": now.free, "quarantined_after": now.quarantined}
        for was, now in zip(before, after, strict=True)
    ]
