"""Logbook: what each life of an instance says of each job, folded from mentions in their order. Pure.

A service that keeps its jobs in memory forgets them all when it boots. So what an instance
writes falls into lives: a boot ends one and begins the next, and a job that was not ended
by then was interrupted. A boot speaks only for the instance that wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from jobctl.core.remote_ids import created_at_of
from jobctl.model.logs import OF_WORK, Mark, Mention, Says
from jobctl.model.timestamps import format_timestamp

_MOST_TROUBLES = 5
_MOST_UNDATED = 1_000
_MOST_WORKING = 10_000
_NEAR_AMONG_OTHERS = 20
"""How many lines, those of other instances among them, a moment may stand away from its record."""


class Key(NamedTuple):
    """What one trace is about: a job, in one life of one instance."""

    job_id: str
    stream: str
    life: int


@dataclass(slots=True)
class Trace:
    """What one life of an instance says of one job. ``outcome`` is completed, failed or empty."""

    first: Mark | None = None
    last: Mark | None = None
    created: Mark | None = None
    started: Mark | None = None
    report: Mark | None = None
    status: str = ""
    progress: float | None = None
    ended: Mark | None = None
    outcome: str = ""
    reason: str = ""
    renders: dict[str, str] = field(default_factory=dict)
    """Remote ids, each with the line that names it."""
    troubles: dict[str, str] = field(default_factory=dict)
    """What went wrong without ending it, each with its line."""
    asked_first: Mark | None = None
    asked_last: Mark | None = None
    denied_first: Mark | None = None
    denied_last: Mark | None = None
    served: Mark | None = None

    @property
    def is_of_work(self) -> bool:
        """Whether the instance worked on the job, and was not only asked for it."""
        return bool(
            self.created or self.started or self.report or self.ended or self.renders or self.troubles
        )


@dataclass(slots=True)
class Boot:
    """The instance began anew after life ``life``. ``outlived_by``: a job that went on regardless."""

    life: int
    mark: Mark
    outlived_by: str = ""


@dataclass(slots=True)
class Instance:
    """Where an instance stands at the end of what was read."""

    life: int = 0
    clock: str = ""
    """The latest moment it has printed."""
    boots: list[Boot] = field(default_factory=list)
    has_worked: bool = False
    working: dict[str, None] = field(default_factory=dict)
    """Jobs of this life that have not ended."""
    left: dict[str, None] = field(default_factory=dict)
    """Jobs of the life before that had not ended when it booted."""
    undated: list[tuple[Key, str]] = field(default_factory=list)
    """Traces and lines that wait for the next moment as their bound."""
    is_shared: bool = False
    """Whether several processes write as this instance."""
    pending: tuple[Key, str, str, int] | None = None
    """The last record, which the next line may date: its trace, line, rule and line number."""


class Logbook:
    """Folds mentions into traces.

    ``instances`` carries on where an earlier reading stopped; ``recall`` gives a trace that
    was noted before.
    """

    def __init__(
        self, stream: str, instances: dict[str, Instance], recall: Callable[[Key], Trace | None]
    ) -> None:
        self.stream = stream
        self.instances = instances
        self.traces: dict[Key, Trace] = {}
        self._recall = recall

    def note(self, name: str, mentions: Iterable[tuple[str, Mention]], *, lines_before: int = 0) -> None:
        """Take the mentions of a part of the log, called ``name``, that begins after ``lines_before``."""
        for speaker, mention in mentions:
            instance = self.instances.get(speaker)
            if instance is None:
                instance = self.instances[speaker] = Instance()
            where, line = f"{name}:{mention.line}", lines_before + mention.line
            if mention.says is Says.TIME:
                self._date(instance, mention, where, line, is_alone=not speaker)
            elif mention.says in {Says.BOOT, Says.FORK}:
                self._boot(instance, mention, where)
            else:
                key = Key(mention.job_id, stream_of(self.stream, speaker), instance.life)
                self._take(instance, key, mention, where, line)

    def _trace(self, key: Key) -> Trace:
        trace = self.traces.get(key)
        if trace is None:
            trace = self.traces[key] = self._recall(key) or Trace()
        return trace

    def _take(self, instance: Instance, key: Key, mention: Mention, where: str, line: int) -> None:
        trace = self._trace(key)
        mark = Mark(where, mention.at, instance.clock)
        _TAKE[mention.says](trace, mention, mark)
        if mention.at:
            self._tick(instance, mention.at)
        elif mention.remote_id and (made := created_at_of(mention.remote_id)):
            # Whoever names a render does so after it was made.
            instance.clock = max(instance.clock, format_timestamp(made))
        if mention.says in OF_WORK or mention.says is Says.FILE:
            trace.first, trace.last = trace.first or mark, mark
        if mention.says in OF_WORK:
            _note_work(instance, key.job_id, mention.says)
        if not mention.at and len(instance.undated) < _MOST_UNDATED:
            instance.undated.append((key, where))
        instance.pending = (key, where, mention.rule, line)

    def _date(self, instance: Instance, mention: Mention, where: str, line: int, *, is_alone: bool) -> None:
        """A moment on a line of its own dates the record right before it, and bounds all before that."""
        dating, pending = mention.dating, instance.pending
        if dating is None or not mention.at:
            return
        reach = dating.within if is_alone else max(dating.within, _NEAR_AMONG_OTHERS)
        if pending and pending[2] in dating.rules and 0 < line - pending[3] <= reach:
            trace = self._trace(pending[0])
            if dating.field:
                setattr(trace, dating.field, Mark(where, mention.at))
            else:
                _amend(trace, pending[1], at=mention.at)
        if not dating.field:
            self._tick(instance, mention.at)

    def _boot(self, instance: Instance, mention: Mention, where: str) -> None:
        """Several markers of one boot follow each other: only the first ends a life.

        Where several processes share the log, each has a memory of its own, and only the
        start of them all ends it.
        """
        is_everyones = mention.says is Says.FORK or not instance.is_shared
        instance.is_shared = instance.is_shared or mention.says is Says.FORK
        if instance.has_worked and is_everyones:
            instance.boots.append(Boot(instance.life, Mark(where, mention.at, instance.clock)))
            instance.life += 1
            instance.has_worked = False
            instance.left, instance.working = instance.working, {}
            instance.pending = None
        if mention.at:
            self._tick(instance, mention.at)

    def _tick(self, instance: Instance, moment: str) -> None:
        """The instance printed a moment: nothing it printed before came later."""
        if moment < instance.clock:
            return
        instance.clock = moment
        for key, where in instance.undated:
            _amend(self._trace(key), where, before=moment)
        instance.undated.clear()
        boot = instance.boots[-1] if instance.boots else None
        if boot and not boot.mark.at and not boot.mark.before:
            boot.mark = boot.mark._replace(before=moment)


def stream_of(log: str, speaker: str) -> str:
    """The name of one instance's stream in a log: a log without container names has one."""
    return f"{log}/{speaker}" if speaker else log


def _note_work(instance: Instance, job_id: str, says: Says) -> None:
    instance.has_worked = True
    if job_id in instance.left:
        # Work that goes on without beginning anew: the boot was another process's of the same log.
        if says not in {Says.CREATED, Says.STARTED, Says.FAILED}:
            instance.boots[-1].outlived_by = job_id
        del instance.left[job_id]
    if says in {Says.COMPLETED, Says.FAILED}:
        instance.working.pop(job_id, None)
    elif len(instance.working) < _MOST_WORKING:
        instance.working[job_id] = None


def _amend(trace: Trace, where: str, **changes: str) -> None:
    """Fill in what became known of the marks that one line left, where they do not know better."""
    for name in _MARKS:
        mark = getattr(trace, name)
        if mark is not None and mark.where == where and not mark.at:
            setattr(trace, name, mark._replace(**changes))


def _created(trace: Trace, _mention: Mention, mark: Mark) -> None:
    trace.created = trace.created or mark
    _reopen(trace)


def _started(trace: Trace, _mention: Mention, mark: Mark) -> None:
    trace.started = mark
    _reopen(trace)


def _reopen(trace: Trace) -> None:
    """What ended was begun again."""
    trace.ended, trace.outcome, trace.reason = None, "", ""


def _report(trace: Trace, mention: Mention, mark: Mark) -> None:
    trace.report, trace.status = mark, mention.status or trace.status
    if mention.progress is not None:
        trace.progress = mention.progress


def _completed(trace: Trace, _mention: Mention, mark: Mark) -> None:
    # The service says so twice; the first time is when it was.
    if trace.outcome != "completed":
        trace.ended, trace.outcome, trace.reason = mark, "completed", ""


def _failed(trace: Trace, mention: Mention, mark: Mark) -> None:
    trace.ended, trace.outcome, trace.reason = mark, "failed", mention.text


def _trouble(trace: Trace, mention: Mention, mark: Mark) -> None:
    if len(trace.troubles) < _MOST_TROUBLES:
        trace.troubles.setdefault(mention.text or mention.rule, mark.where)


def _render(trace: Trace, mention: Mention, mark: Mark) -> None:
    if len(trace.renders) < _MOST_UNDATED:
        trace.renders.setdefault(mention.remote_id, mark.where)


def _asked(trace: Trace, _mention: Mention, mark: Mark) -> None:
    trace.asked_first, trace.asked_last = trace.asked_first or mark, mark


def _denied(trace: Trace, _mention: Mention, mark: Mark) -> None:
    trace.denied_first, trace.denied_last = trace.denied_first or mark, mark


def _served(trace: Trace, _mention: Mention, mark: Mark) -> None:
    trace.served = mark


def _nothing(_trace: Trace, _mention: Mention, _mark: Mark) -> None:
    """A file of the job: a sign of life, and no more."""


_TAKE: Mapping[Says, Callable[[Trace, Mention, Mark], None]] = {
    Says.CREATED: _created,
    Says.STARTED: _started,
    Says.REPORT: _report,
    Says.COMPLETED: _completed,
    Says.FAILED: _failed,
    Says.TROUBLE: _trouble,
    Says.RENDER: _render,
    Says.FILE: _nothing,
    Says.ASKED: _asked,
    Says.DENIED: _denied,
    Says.SERVED: _served,
}
_MARKS = tuple(each.name for each in fields(Trace) if "Mark" in str(each.type))


def trace_to_json(trace: Trace) -> dict[str, Any]:
    """A trace as a JSON object; empty fields are left out."""
    return {
        name: value
        for name in Trace.__dataclass_fields__
        if (value := getattr(trace, name)) not in (None, "", {})
    }


def trace_from_json(document: Mapping[str, Any]) -> Trace:
    """The trace whose JSON form this is."""
    trace = Trace()
    for name, value in document.items():
        setattr(trace, name, Mark(*value) if name in _MARKS else value)
    return trace


def instance_to_json(instance: Instance) -> dict[str, Any]:
    """An instance's state as a JSON object."""
    return {
        "life": instance.life,
        "clock": instance.clock,
        "boots": [[boot.life, boot.mark, boot.outlived_by] for boot in instance.boots],
        "has_worked": instance.has_worked,
        "is_shared": instance.is_shared,
        "working": list(instance.working),
        "left": list(instance.left),
        "undated": instance.undated,
        "pending": instance.pending,
    }


def instance_from_json(document: Mapping[str, Any]) -> Instance:
    """The state whose JSON form this is."""
    pending = document["pending"]
    return Instance(
        life=document["life"],
        clock=document["clock"],
        boots=boots_from_json(document),
        has_worked=document["has_worked"],
        is_shared=document["is_shared"],
        working=dict.fromkeys(document["working"]),
        left=dict.fromkeys(document["left"]),
        undated=[(Key(*key), where) for key, where in document["undated"]],
        pending=(Key(*pending[0]), *pending[1:]) if pending else None,
    )


def boots_from_json(document: Mapping[str, Any]) -> list[Boot]:
    """The boots in an instance's JSON form."""
    return [Boot(life, Mark(*mark), outlived_by) for life, mark, outlived_by in document["boots"]]
