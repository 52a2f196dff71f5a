"""Whatever is tried in whatever order, records only move as the transition table says."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from jobctl.errors import IllegalTransition, StaleJob
from jobctl.model.status import OPEN_ENDED_FAILURES, TRANSITIONS, Cause, Status
from jobctl.store import jobs
from jobctl.store.engine import Store
from store.records import AT, create

_numbers = count()
_statuses = st.sampled_from(Status)


class Life(RuleBasedStateMachine):
    """One job, and beside it what is known to have been done to it."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.connection = self.stack.enter_context(store.write())
        self.job_id = f"job-{next(_numbers)}"
        create(self.connection, self.job_id)
        self.path = [Status.QUEUED]
        self.attempt = 0
        self.error_code: str | None = None

    @rule(
        to=_statuses,
        expect=_statuses,
        cause=st.sampled_from(Cause),
        attempt=st.sampled_from([None, -1, 0, 1]),
        error_code=st.sampled_from(["interrupted", "bad-input", None]),
    )
    def change(
        self, to: Status, expect: Status, cause: Cause, attempt: int | None, error_code: str | None
    ) -> None:
        """Try any change at all; ``attempt`` is how far the caller's number is off."""
        is_stale = expect is not self.path[-1] or attempt not in {None, 0}
        error: type[Exception] | None = None
        try:
            jobs.change_status(
                self.connection,
                self.job_id,
                to,
                expect=expect,
                cause=cause,
                actor="anyone",
                at=AT,
                attempt=None if attempt is None else self.attempt + attempt,
                changes={"error_code": error_code} if to is Status.FAILED else None,
            )
        except (StaleJob, IllegalTransition) as refused:
            error = type(refused)
        if is_stale:
            assert error is StaleJob
        elif not self._is_allowed(to, cause):
            assert error is IllegalTransition
        else:
            assert error is None
            self._changed(to, error_code)

    @rule(to=_statuses, cause=st.sampled_from(Cause))
    def change_rightly_guessed(self, to: Status, cause: Cause) -> None:
        """Most guesses are stale; this one never is."""
        self.change(to, self.path[-1], cause, None, None)

    def _is_allowed(self, to: Status, cause: Cause) -> bool:
        if (self.path[-1], to) == (Status.FAILED, Status.COMPLETED) and (
            self.error_code not in OPEN_ENDED_FAILURES
        ):
            return False
        return cause in TRANSITIONS.get((self.path[-1], to), frozenset())

    def _changed(self, to: Status, error_code: str | None) -> None:
        self.path.append(to)
        if to is Status.PROCESSING:
            self.attempt += 1
        if to is Status.FAILED:
            self.error_code = error_code
        elif to in {Status.PROCESSING, Status.COMPLETED}:
            self.error_code = None

    @invariant()
    def the_record_is_where_it_was_led(self) -> None:
        found = jobs.get_job(self.connection, self.job_id)
        assert found.status is self.path[-1]
        assert found.attempt == self.attempt
        assert found.version == len(self.path)
        assert found.error_code == self.error_code

    @invariant()
    def each_change_has_one_event(self) -> None:
        _, *changes = jobs.history(self.connection, self.job_id)
        walked = [(event.from_status, event.to_status) for event in changes]
        assert walked == list(zip(self.path, self.path[1:], strict=False))
        assert all((Status(old), Status(new)) in TRANSITIONS for old, new in walked)

    def teardown(self) -> None:
        self.stack.close()


def test_any_sequence_of_changes_keeps_to_the_table(store: Store) -> None:
    run_state_machine_as_test(
        lambda: Life(store), settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
