"""Whether workers take the jobs that wait for one, and agree on what they take.

A store that only holds a service's job table has no workers and needs none: what counts as waiting is
what was enqueued, or what a worker is known to have taken (``store.standing.queue_depth``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_word
from jobctl.model.health import Diagnosis, fail, together, warn

MOST_WAIT_S = 300.0
_MOST_NAMED = 3
"""How many tasks that wait in one queue are named, and how many schedules."""


class Waiting(NamedTuple):
    """Jobs that are due. ``oldest_s``: how long the first of them waits; ``is_at_least``: maybe more wait."""

    queue: str
    kind: str
    jobs: int
    oldest_s: float
    is_at_least: bool = False


class Serving(NamedTuple):
    """What a worker that lives takes.

    ``specs``: how its tasks are declared, by name; ``troubles``: what it could not import.
    """

    queues: Collection[str]
    tasks: Collection[str]
    worker: str = ""
    specs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    troubles: Sequence[str] = ()


class Expected(NamedTuple):
    """What is to come, for which a worker has to run.

    ``later``: jobs that are queued for later, in these ``queues``; the first is due in ``next_s``.
    ``schedules`` enqueue jobs by themselves, which a worker does for them.
    """

    later: int = 0
    next_s: float = 0.0
    queues: Sequence[str] = ()
    schedules: Sequence[str] = ()


class Known(NamedTuple):
    """What is known of workers without one: when the last was seen, if there was one.

    ``has_tasks``: the configuration says what a worker runs, so that it needs not be named.
    """

    last_seen_s: float | None = None
    has_tasks: bool = False


def judge_workers(
    waiting: Sequence[Waiting],
    serving: Sequence[Serving],
    known: Known,
    expected: Expected,
) -> Diagnosis:
    """Whether somebody takes the jobs that are due, and those that will be."""
    lacking = _lacking(waiting, serving)
    if not lacking and not serving and (expected.later or expected.schedules):
        queues = expected.queues or ["default"]
        return warn(_expects(expected, known), "start one", start_of(queues, names_tasks=not known.has_tasks))
    jobs = sum(each.jobs for each in waiting)
    had_workers = known.last_seen_s is not None
    ill = [_unserved(each, serving, had_workers=had_workers) for each in lacking]
    found = together(ill, well=f"{counted(jobs, 'job')} due, {counted(len(serving), 'worker')} running")
    if not ill:
        return found
    said = found.said if serving else f"{found.said}{_last_seen(known)}"
    queues = list(dict.fromkeys(each.queue for each in lacking))
    # One worker serves them all: of several commands, the second would wait for the first to end.
    return found._replace(said=said, command=start_of(queues, names_tasks=not known.has_tasks))


def _expects(expected: Expected, known: Known) -> str:
    said = []
    if expected.later:
        are = "is" if expected.later == 1 else "are"
        first = "" if expected.later == 1 else "the first "
        said.append(
            f"{counted(expected.later, 'job')} {are} queued for later, {first}in {age_said(expected.next_s)}"
        )
    if expected.schedules:
        names = ", ".join(expected.schedules[:_MOST_NAMED])
        more = len(expected.schedules) - _MOST_NAMED
        named = f"{names} and {more} more" if more > 0 else names
        is_one = len(expected.schedules) == 1
        said.append(f"schedule {named} enqueues jobs" if is_one else f"schedules {named} enqueue jobs")
    return f"{' and '.join(said)}, and no worker runs{_last_seen(known)}"


def _last_seen(known: Known) -> str:
    if known.last_seen_s is None:
        return ""
    return f"; the last worker was seen {age_said(known.last_seen_s)} ago"


def unserved(waiting: Sequence[Waiting], serving: Sequence[Serving]) -> list[Diagnosis]:
    """The jobs that nobody takes, and what to do about it."""
    return [_unserved(each, serving, had_workers=True) for each in _lacking(waiting, serving)]


def _lacking(waiting: Sequence[Waiting], serving: Sequence[Serving]) -> list[Waiting]:
    """The jobs that nobody takes: by task, or by queue where nobody serves that at all."""
    served = {queue for one in serving for queue in one.queues}
    apart = [*(each for each in waiting if each.queue in served), *_by_queue(waiting, served)]
    return [each for each in apart if lack_of(each.queue, each.kind, serving)]


def _by_queue(waiting: Sequence[Waiting], served: Collection[str]) -> list[Waiting]:
    """What waits in queues that nobody serves, whatever its tasks: one worker would take all of it."""
    found = []
    for queue in dict.fromkeys(each.queue for each in waiting if each.queue not in served):
        here = [each for each in waiting if each.queue == queue]
        kinds = ", ".join(each.kind for each in here[:_MOST_NAMED])
        more = f" and {len(here) - _MOST_NAMED} more" if len(here) > _MOST_NAMED else ""
        jobs, oldest_s = sum(each.jobs for each in here), max(each.oldest_s for each in here)
        is_at_least = any(each.is_at_least for each in here)
        found.append(Waiting(queue, f"{kinds}{more}", jobs, oldest_s, is_at_least))
    return found


def _unserved(each: Waiting, serving: Sequence[Serving], *, had_workers: bool) -> Diagnosis:
    have = "has" if each.jobs == 1 and not each.is_at_least else "have"
    count = f"{'at least ' if each.is_at_least else ''}{counted(each.jobs, 'job')} ({each.kind})"
    lack = lack_of(each.queue, each.kind, serving)
    said = f"{count} {have} been due for {age_said(each.oldest_s)}, and {lack}"
    is_late = had_workers and each.oldest_s >= MOST_WAIT_S
    return (fail if is_late else warn)(said, "start one", start_of([each.queue]))


def lack_of(queue: str, kind: str, serving: Sequence[Serving]) -> str:
    """Why nobody takes jobs of a task from a queue; empty, where somebody does."""
    here = [one for one in serving if queue in one.queues]
    if any(kind in one.tasks for one in here):
        return ""
    if not here:
        return f"no worker serves the queue {queue}"
    if others := sorted({other for one in serving if kind in one.tasks for other in one.queues}):
        return f"no worker of the queue {queue} knows the task {kind}, only those of {', '.join(others)}"
    return f"no worker knows the task {kind}"


def start_of(queues: Sequence[str], *, names_tasks: bool = True) -> str:
    """The command that starts a worker of these queues."""
    tasks = " --tasks MODULE" if names_tasks else ""
    named = queues if list(queues) != ["default"] else []
    return f"jobctl worker{tasks}{''.join(f' --queue {shell_word(queue)}' for queue in named)}"


def judge_declared(serving: Sequence[Serving]) -> Diagnosis:
    """Whether the workers agree on their tasks, and could import all that declares them."""
    ill = [
        warn(f"worker {one.worker} goes without a module: {trouble}", "mend it, and send the worker SIGHUP")
        for one in serving
        for trouble in one.troubles
    ]
    tasks = sorted({name for one in serving for name in one.specs})
    ill += [found for name in tasks if (found := _disagreement(name, serving))]
    well = (
        f"{counted(len(tasks), 'task')} known, declared alike by all workers"
        if tasks
        else "no worker has any"
    )
    return together(ill, well=well)


def _disagreement(name: str, serving: Sequence[Serving]) -> Diagnosis | None:
    """Two versions of a service at work, or two services with a task of one name."""
    said: dict[str, str] = {}
    for one in serving:
        spec = one.specs.get(name)
        if spec is not None:
            said.setdefault(
                f"queue {spec.get('queue')}, {counted(spec.get('retries', 0), 'retry', 'retries')}",
                one.worker,
            )
    if len(said) < 2:
        return None
    versions = " and ".join(f"{words} (worker {worker})" for words, worker in said.items())
    return warn(
        f"task {name} is declared with {versions}; jobs that only name it get what the last worker said",
        f"run one version everywhere, or say in [tasks.{name}] of jobctl.toml what holds",
    )
