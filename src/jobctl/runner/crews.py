"""The crew that begins attempts now, earlier ones, which only end what they began, and maybe the next one."""

from __future__ import annotations

import random
import selectors
from collections.abc import Callable, Iterable, Mapping, Sequence

from jobctl.model.attempts import Claim
from jobctl.runner import limits
from jobctl.runner.crew import Crew, Report, Setup
from jobctl.runner.process_crew import ProcessCrew
from jobctl.runner.thread_crew import ThreadCrew
from jobctl.runner.timers import Backoff
from jobctl.work import TaskSpec, Work

_RETRY_S = (0.1, 5.0)
_HOPELESS = 3
"""So often in a row a crew ends before it has imported its handlers, until a burst gives it up."""
_ENDS_EACH_TIME = f"the process that imports the handlers ended before it had, {_HOPELESS} times in a row"


class Crews:
    """Keeps a crew running, and replaces it when the handlers change."""

    def __init__(self, isolation: str, selector: selectors.BaseSelector, say: Callable[[str], None]) -> None:
        self._isolation = isolation
        self._selector = selector
        self._say = say
        self._current: Crew | None = None
        self._retired: list[Crew] = []
        self._next: Crew | None = None
        self._backoff = Backoff(*_RETRY_S)
        self._starts_in_vain = 0
        self._begins = True
        limits.adopt_orphans()
        # Whoever became this program may have started processes before: they are no attempt's.
        self._known = frozenset(limits.strays())

    def _open(self, setup: Setup) -> Crew:
        made: Crew = (ProcessCrew if self._isolation == "process" else ThreadCrew)(setup, self._selector)
        return made

    def begin(self, setup: Setup) -> None:
        """Import the handlers, and begin attempts with them."""
        self._current = self._open(setup)

    def renew(self, work: Work) -> None:
        """Import the handlers anew, as this says; until that has worked, attempts begin with the old ones.

        Raises ``OSError`` where no process can be started for them.
        """
        if self._next is not None:
            self._end(self._next)
            self._next = None
        self._next = self._open(self._begun.setup._replace(work=work))

    def renewal(self) -> Sequence[str] | None:
        """What is wrong with the new handlers; if nothing is, attempts begin with them from now on.

        ``None`` while there are no new ones, or they are imported still.
        """
        new, old = self._next, self._current
        if new is None or old is None or not (new.is_ready or new.is_over):
            return None
        self._next = None
        # What could not be imported before either is no reason to keep the rest from being used.
        troubles = [trouble for trouble in new.troubles if trouble not in old.troubles]
        if new.is_over:
            troubles.append("the process that imports the handlers ended")
        if troubles:
            self._end(new)
            return troubles
        old.recall("its worker read its handlers anew")
        self._retired.append(old)
        self._current = new
        return []

    @property
    def work(self) -> Work:
        """The configuration with which attempts begin."""
        return self._begun.setup.work

    @property
    def is_ready(self) -> bool:
        """Whether the handlers are imported, and attempts can begin."""
        return self._current is not None and self._current.is_ready

    @property
    def specs(self) -> Mapping[str, TaskSpec]:
        """The tasks that are known, by name."""
        return self._current.specs if self._current is not None else {}

    @property
    def troubles(self) -> Sequence[str]:
        """What could not be imported, each in one sentence."""
        known = self._current.troubles if self._current is not None else ()
        return [*known, _ENDS_EACH_TIME] if self.is_hopeless else known

    @property
    def is_hopeless(self) -> bool:
        """Whether something among the handlers ends, each time, the process that imports them."""
        return self._starts_in_vain >= _HOPELESS

    @property
    def next_start_at(self) -> float:
        """When a crew that ended is to be started again; never, while it runs or nothing is to begin."""
        is_over = self._current is None or self._current.is_over
        return self._backoff.at if is_over and self._begins else float("inf")

    def start(self, claims: Sequence[Claim]) -> Crew:
        """Begin attempts; the crew that runs them."""
        self._begun.start(claims)
        return self._begun

    def reports(self) -> list[Report]:
        """What happened since the last call."""
        return [report for crew in self._all() for report in crew.reports()]

    def recall(self, why: str) -> None:
        """Have everything that was not begun reported as not begun, for that reason."""
        if self._current is not None:
            self._current.recall(why)

    def begin_no_more(self, why: str) -> None:
        """What was not begun never will be, and a crew that ends is not started again."""
        self._begins = False
        self.recall(why)

    def note_ready(self) -> None:
        """The handlers were imported: the next time one ends, it is started again at once."""
        self._backoff.succeed()
        self._starts_in_vain = 0

    def keep(self, now: float, *, needed: Iterable[Crew]) -> bool:
        """End the earlier crews that nothing runs in, and start the current one again; whether it did."""
        busy = set(map(id, needed))
        for crew in self._retired:
            if id(crew) not in busy:
                self._end(crew)
        self._retired = [crew for crew in self._retired if id(crew) in busy]
        if not self._begins or self._current is None or not self._current.is_over:
            return False
        if not self._backoff.pause:
            self._say("the process that runs handlers ended; it is started again")
        if not self._backoff.is_due(now):
            return False
        self._backoff.fail(now, luck=random.random())  # noqa: S311 - no secret
        self._starts_in_vain += 1
        if self._starts_in_vain == _HOPELESS:
            self._say(_ENDS_EACH_TIME)
        try:
            self._end(self._current)
            begun = self._open(self._current.setup)
        except OSError as error:
            self._say(f"the process that runs handlers cannot be started: {error.strerror}; tried again")
            return False
        # How its attempts ended may not have been heard yet.
        self._retired.append(self._current)
        self._current = begun
        return True

    def end(self) -> None:
        """End all of them, at once."""
        for crew in self._all():
            self._end(crew)

    @property
    def _begun(self) -> Crew:
        if self._current is None:
            raise RuntimeError("attempts are begun before their crew")
        return self._current

    def _end(self, crew: Crew) -> None:
        """End it, and what attempts had started in it: where it was killed itself, it could not."""
        if not crew.is_over:
            crew.kill()
        others = {each.pid for each in self._all() if each is not crew and not each.is_over}
        if left := limits.end_strays(self._known | others):
            self._say(limits.said_of_left(left))

    def _all(self) -> list[Crew]:
        return [*self._retired, *(crew for crew in (self._current, self._next) if crew is not None)]
