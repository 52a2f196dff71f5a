"""Incidents: what each restart of an instance took with it, and what came back. Pure.

Which jobs a restart ended tell the logs; which of them had a record then, and got one later, tells
the history. What was lost is what came back and what is lost still, by construction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.core.accounts import End, LastLife, Lives, Restart
from jobctl.core.reporting.periods import Period
from jobctl.model.logs import Mark
from jobctl.model.timestamps import parse_timestamp

MAKING = frozenset({"created", "imported", "recovered"})
"""The kinds of lines of the history that make a record."""

UNMAKING = frozenset({"deleted", "undone"})
"""The kinds that may remove one: it is gone where they leave no status."""


class Began(NamedTuple):
    """When something began: at or after ``not_before`` and not after ``not_later``; empty is not known."""

    not_before: str = ""
    not_later: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is one moment."""
        return bool(self.not_before) and self.not_before == self.not_later

    @property
    def best(self) -> str:
        """The moment by which it is put into a period: the last one at which all was well, if known."""
        return self.not_before or self.not_later


class Stay(NamedTuple):
    """What the history says of a job's record: one line that made, or may have removed it."""

    at: str
    kind: str
    leaves_record: bool


@dataclass(slots=True)
class Incident:
    """One restart, and the jobs of the life it ended; ``where`` its log tells of it.

    ``created``: those whose creation the log tells; the others were begun before the log. Each job
    is ``completed``, ``failed``, ``interrupted`` or ``unclear`` by then. ``lost``: those without a
    record at that moment; each is ``recovered`` by now, or ``still_lost``. ``recoveries``: lines of
    the history within the period that brought them back.
    """

    restart: Restart
    name: str
    where: str
    began: Began
    jobs: int = 0
    created: int = 0
    completed: int = 0
    failed: int = 0
    interrupted: int = 0
    unclear: int = 0
    lost: int = 0
    recovered: int = 0
    still_lost: int = 0
    recoveries: int = 0
    first_recovered: str = ""
    last_recovered: str = ""


class Fallen(NamedTuple):
    """A job whose last life was ended by a restart."""

    job_id: str
    restart: Restart
    life: LastLife


class Loss(NamedTuple):
    """A record that a restart took with it. ``until``: when it was recorded anew; empty while it is lost."""

    job_id: str
    incident: Incident
    until: str
    end: End

    @property
    def began(self) -> Began:
        """When it was lost."""
        return self.incident.began


@dataclass(slots=True)
class Losses:
    """What restarts took with them. ``incidents`` are in the order in which they happened."""

    incidents: list[Incident] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    fallen: set[str] = field(default_factory=set)
    """The jobs whose last life one of them ended, lost or not."""

    def attribute(self, recoveries: Iterable[tuple[str, str]]) -> int:
        """Count recoveries (job id, moment) of the period; how many belong to none of its restarts."""
        elsewhere = 0
        by_job = {loss.job_id: loss for loss in self.losses}
        for job_id, at in recoveries:
            loss = by_job.get(job_id)
            if loss is None or at < loss.began.best:
                elsewhere += 1
            else:
                loss.incident.recoveries += 1
        return elsewhere

    def other_interruptions(self, interruptions: Iterable[tuple[str, str]]) -> Counter[str]:
        """Of interruptions (job id, reason) those that no restart within the period explains, by reason."""
        return Counter(reason for job_id, reason in interruptions if job_id not in self.fallen)


def began_of(mark: Mark) -> Began:
    """When a boot was, as far as the log tells."""
    return Began(mark.at, mark.at) if mark.at else Began(mark.after, mark.before)


def restarts_in(lives: Lives, period: Period) -> Iterator[Restart]:
    """The restarts that lie in a period. One that a job outlived proves nothing, and is none."""
    for restart in all_restarts(lives):
        best = began_of(restart.boot.mark).best
        if best and period.holds(parse_timestamp(best)):
            yield restart


def all_restarts(lives: Lives) -> Iterator[Restart]:
    """Every restart that the logs tell of, of each instance in its order."""
    for stream, boots in lives.boots.items():
        for number, boot in enumerate(boots, start=1):
            if not boot.outlived_by:
                yield Restart(stream, number, boot)


def losses_of(
    restarts: Iterable[Restart],
    fallen: Iterable[Fallen],
    stays: Mapping[str, Sequence[Stay]],
    lives: Lives,
) -> Losses:
    """What restarts took with them; ``stays``: what the history says of each fallen job's record."""
    found = Losses()
    by_restart: dict[tuple[str, int], Incident] = {}
    for restart in restarts:
        name, mark = lives.short_name_of(restart), restart.boot.mark
        incident = Incident(restart, name, mark.where, began_of(mark))
        by_restart[restart.stream, restart.number] = incident
    for job in fallen:
        incident = by_restart[job.restart.stream, job.restart.number]
        found.fallen.add(job.job_id)
        _count(incident, job.life)
        loss = _loss(job, incident, stays.get(job.job_id, ()))
        if loss is not None:
            _count_loss(incident, loss)
            found.losses.append(loss)
    found.incidents = sorted(by_restart.values(), key=lambda each: (each.began.best, each.name))
    return found


def _count(incident: Incident, life: LastLife) -> None:
    incident.jobs += 1
    incident.created += life.trace.created is not None
    if life.fate.end is End.COMPLETED:
        incident.completed += 1
    elif life.fate.end is End.FAILED:
        incident.failed += 1
    elif life.fate.end is End.INTERRUPTED:
        incident.interrupted += 1
    else:
        incident.unclear += 1


def _count_loss(incident: Incident, loss: Loss) -> None:
    incident.lost += 1
    if not loss.until:
        incident.still_lost += 1
        return
    incident.recovered += 1
    incident.first_recovered = min(incident.first_recovered or loss.until, loss.until)
    incident.last_recovered = max(incident.last_recovered, loss.until)


def _loss(job: Fallen, incident: Incident, stays: Sequence[Stay]) -> Loss | None:
    """The loss of a job's record, unless it had one that a restart could not take."""
    moment = incident.began.best
    is_recorded, until = False, ""
    for stay in stays:
        if stay.at < moment:
            is_recorded = stay.leaves_record
        elif not is_recorded and stay.leaves_record and not until:
            until = stay.at
        elif until and stay.kind == "undone" and not stay.leaves_record:
            until = ""
    if is_recorded:
        return None
    return Loss(job.job_id, incident, until, job.life.fate.end)
