"""Accounts: what all evidence beyond the files comes to for one job. Pure.

The facts go into ``believe`` like those of the files. The fate is what the logs say became
of the job: it decides what a job without a video and without a record may be called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from jobctl.core.logbook import Boot, Trace
from jobctl.core.remote_ids import created_at_of
from jobctl.model.evidence import Bound, Fact, Trust
from jobctl.model.logs import Mark
from jobctl.model.timestamps import format_timestamp

SOURCE = "log"


class End(StrEnum):
    """What logs say became of a job."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    OPEN = "open"
    ASKED = "asked"
    """Nobody is known to have worked on it; it was only asked for."""


class Fate(NamedTuple):
    """How a job ended, as one sentence says it. ``proven_after``: the moment by which that was not yet so."""

    end: End
    sentence: str
    where: str = ""
    proven_after: str = ""


class Statement(NamedTuple):
    """One trace with whose it is."""

    stream: str
    life: int
    trace: Trace


class Restart(NamedTuple):
    """A boot in the log of an instance, counted from 1 in each stream."""

    stream: str
    number: int
    boot: Boot


@dataclass(frozen=True, slots=True)
class Lives:
    """The lives of every instance whose log was read.

    ``names``: each stream's as people call it. ``heirs``: the stream in which another goes on,
    where one log was split over files.
    """

    boots: Mapping[str, Sequence[Boot]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    heirs: Mapping[str, str] = field(default_factory=dict)

    def restart_after(self, stream: str, life: int) -> Restart | None:
        """The restart that ended a life; ``None`` while nothing proves that it ended."""
        for _ in range(1 + len(self.heirs)):
            for number, boot in enumerate(self.boots.get(stream, ()), start=1):
                if boot.life >= life:
                    return Restart(stream, number, boot)
            if stream not in self.heirs:
                return None
            stream, life = self.heirs[stream], 0
        return None

    def boot_after(self, stream: str, life: int) -> tuple[Boot, str] | None:
        """The boot that ended a life, and what to call it; ``None`` while nothing proves that it ended."""
        restart = self.restart_after(stream, life)
        return None if restart is None else (restart.boot, self.name_of(restart))

    def name_of(self, restart: Restart) -> str:
        """What to call a restart, and where its log tells of it."""
        return f"{self.short_name_of(restart)} ({restart.boot.mark.where})"

    def short_name_of(self, restart: Restart) -> str:
        """What to call a restart."""
        return f"restart {restart.number} of {self.names.get(restart.stream, restart.stream)}"


@dataclass(slots=True)
class Account:
    """Everything known of one job beyond its files and its record."""

    facts: list[Fact] = field(default_factory=list)
    fate: Fate | None = None
    notes: list[str] = field(default_factory=list)
    """What an operator should hear as well, for instance that its render is ready."""


def account_of(
    job_id: str, statements: Sequence[Statement], lives: Lives, facts: Iterable[Fact] = ()
) -> Account:
    """What the logs and other sources say of one job; ``facts`` are those that are not from logs."""
    account = Account(list(facts))
    of_work = _in_order(each for each in statements if each.trace.is_of_work)
    if of_work:
        last = of_work[-1]
        ended = lives.boot_after(last.stream, last.life)
        account.fate = _fate(last.trace, ended)
        account.facts += _facts_of_work(job_id, [each.trace for each in of_work], account.fate)
        if ended:
            boot, name = ended
            account.facts.append(_fact(job_id, "lost_in", name, boot.mark.where, _when(boot.mark)))
    elif statements:
        account.fate = _only_asked([each.trace for each in statements])
    account.facts += _facts_of_asking(job_id, [each.trace for each in statements])
    return account


class LastLife(NamedTuple):
    """The last life that is known to have worked on a job, what it made of it, and what ended it."""

    trace: Trace
    fate: Fate
    restart: Restart | None


def last_life_of(statements: Iterable[Statement], lives: Lives) -> LastLife | None:
    """The last life that worked on a job; ``None`` where none did."""
    of_work = _in_order(each for each in statements if each.trace.is_of_work)
    if not of_work:
        return None
    last = of_work[-1]
    ended = lives.boot_after(last.stream, last.life)
    return LastLife(last.trace, _fate(last.trace, ended), lives.restart_after(last.stream, last.life))


def heirs_of(
    shared: Iterable[tuple[str, Sequence[Statement]]], last_life: Mapping[str, int]
) -> dict[str, str]:
    """Which stream goes on in which other: a job was at work at the end of one and at the other's begin.

    ``shared``: the statements of jobs that more than one stream worked on.
    """
    claims: dict[str, set[str]] = {}
    for _, statements in shared:
        for earlier in statements:
            for later in statements:
                if _goes_on(earlier, later, last_life):
                    claims.setdefault(earlier.stream, set()).add(later.stream)
    return {stream: heirs.pop() for stream, heirs in claims.items() if len(heirs) == 1}


def _goes_on(earlier: Statement, later: Statement, last_life: Mapping[str, int]) -> bool:
    if earlier.stream == later.stream or later.life != 0 or earlier.life != last_life.get(earlier.stream):
        return False
    began_there = earlier.trace.created or earlier.trace.started
    began_here = later.trace.created or later.trace.started
    return bool(began_there) and not began_here and later.trace.is_of_work and earlier.trace.is_of_work


def _in_order(statements: Iterable[Statement]) -> list[Statement]:
    """By time; the last one is of an instance's last life, whatever moments its lives name."""
    found = sorted(statements, key=_by_time)
    newest = {each.stream: each for each in sorted(found, key=lambda each: each.life)}
    if newest:
        last = max(newest.values(), key=_by_time)
        found.remove(last)
        found.append(last)
    return found


def _by_time(statement: Statement) -> tuple[str, int, str]:
    last = statement.trace.last
    moment = (last.at or last.after) if last else ""
    return moment, statement.life, statement.stream


def _fate(trace: Trace, ended: tuple[Boot, str] | None) -> Fate:
    if trace.outcome == End.COMPLETED and trace.ended:
        return Fate(End.COMPLETED, f"the log says that it completed{_moment(trace.ended)}", trace.ended.where)
    if trace.outcome == End.FAILED and trace.ended:
        return Fate(End.FAILED, trace.reason or "the log gives no reason", trace.ended.where)
    at = f" at {trace.progress:g} %" if trace.progress is not None else ""
    if ended and not ended[0].outlived_by:
        boot, name = ended
        sentence = f"interrupted{at} by {name}{_moment(boot.mark)}"
        return Fate(End.INTERRUPTED, sentence, boot.mark.where, boot.mark.at or boot.mark.after)
    last = trace.last or Mark("")
    status = trace.status or ("processing" if trace.started or trace.report else "created")
    sentence = f"last seen {status}{at} in {last.where}{_moment(last)}; the log does not tell its end"
    return Fate(End.OPEN, sentence, last.where)


def _only_asked(traces: Sequence[Trace]) -> Fate | None:
    """A job that was asked for again and again is somebody's; one request may be anybody's typing error."""
    firsts = sorted(mark for trace in traces for mark in (trace.asked_first, trace.denied_first) if mark)
    lasts = sorted(mark for trace in traces for mark in (trace.asked_last, trace.denied_last) if mark)
    if any(trace.served for trace in traces):
        served = next(trace.served for trace in traces if trace.served)
        return Fate(End.ASKED, f"its video was handed out{_moment(served)} ({served.where})", served.where)
    if not firsts or (len(traces) == 1 and firsts[0].where == lasts[-1].where):
        return None
    return Fate(
        End.ASKED,
        f"only asked for, from {firsts[0].where} to {lasts[-1].where}; nobody is known to have worked on it",
        firsts[0].where,
    )


def _facts_of_work(job_id: str, traces: Sequence[Trace], fate: Fate) -> Iterator[Fact]:
    last = traces[-1]
    created = next((trace.created for trace in traces if trace.created), None)
    first = next((trace.first for trace in traces if trace.first), None)
    yield from _facts_of_mark(job_id, "created_at", created or first, is_it=created is not None)
    if last.started:
        yield from _facts_of_mark(job_id, "started_at", last.started, is_it=True)
    if last.started and last.started.at:
        note = "work on it began then"
        yield _fact(job_id, "created_at", last.started.at, last.started.where, note, bound=Bound.NOT_LATER)
    if fate.end is End.COMPLETED and last.ended:
        yield from _facts_of_mark(job_id, "completed_at", last.ended, is_it=True)
        yield _fact(job_id, "status", "completed", last.ended.where)
    elif last.progress is not None and last.report:
        yield _fact(job_id, "progress", last.progress, last.report.where)
    if last.report and last.report.at:
        yield _fact(job_id, "last_heartbeat", last.report.at, last.report.where)
    yield from _facts_of_renders(job_id, traces)
    troubles = {what: where for trace in traces for what, where in trace.troubles.items()}
    if troubles:
        yield _fact(job_id, "trouble", "; ".join(troubles), next(iter(troubles.values())))


def _facts_of_renders(job_id: str, traces: Sequence[Trace]) -> Iterator[Fact]:
    renders = {remote_id: where for trace in traces for remote_id, where in trace.renders.items()}
    if not renders:
        return
    ids = sorted(renders)
    yield _fact(job_id, "remote_ids", ids, renders[ids[0]])
    dated = [(made, remote_id) for remote_id in ids if (made := created_at_of(remote_id))]
    if dated:
        made, remote_id = min(dated)
        note = f"its render {remote_id} was made then"
        yield _fact(
            job_id, "created_at", format_timestamp(made), renders[remote_id], note, bound=Bound.NOT_LATER
        )


def _facts_of_asking(job_id: str, traces: Sequence[Trace]) -> Iterator[Fact]:
    told = {
        "asked_last": [trace.asked_last for trace in traces],
        "denied_first": [trace.denied_first for trace in traces],
        "denied_last": [trace.denied_last for trace in traces],
        "served_at": [trace.served for trace in traces],
    }
    for name, marks in told.items():
        known = sorted((mark.at or mark.after, mark.where) for mark in marks if mark)
        if known:
            moment, where = known[0] if name == "denied_first" else known[-1]
            yield _fact(job_id, name, moment or None, where)


def _facts_of_mark(job_id: str, name: str, mark: Mark | None, *, is_it: bool) -> Iterator[Fact]:
    """The moment of a mark, or its bounds. ``is_it``: the line says just that; others only come after it."""
    if mark is None:
        return
    if mark.at and is_it:
        yield _fact(job_id, name, mark.at, mark.where)
    elif mark.at or mark.before:
        note = "the next moment in the log" if is_it else "the first that the log says of it"
        yield _fact(job_id, name, mark.at or mark.before, mark.where, note, bound=Bound.NOT_LATER)
    if is_it and not mark.at and mark.after:
        yield _fact(
            job_id, name, mark.after, mark.where, "the last moment in the log", bound=Bound.NOT_BEFORE
        )


def _fact(
    job_id: str, name: str, value: object, where: str, note: str = "", *, bound: Bound = Bound.EXACT
) -> Fact:
    return Fact(job_id, name, value, SOURCE, where, Trust.SERVER_LOG, note, bound)


def _moment(mark: Mark) -> str:
    """``mark``'s moment as the end of a sentence, to the second."""
    if mark.at:
        return f" at {_short(mark.at)}"
    if mark.after:
        return f" after {_short(mark.after)}"
    return f" before {_short(mark.before)}" if mark.before else ""


def _when(mark: Mark) -> str:
    return _moment(mark).strip()


def _short(moment: str) -> str:
    return f"{moment[:19]}Z"
