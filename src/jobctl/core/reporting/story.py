"""The story of a period: what happened, what restarts took, what came back, and what is stored. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from jobctl.core.reporting.activity import Activity
from jobctl.core.reporting.incidents import Incident
from jobctl.core.reporting.periods import Bins, Period, Zone
from jobctl.model.storage import Stored, Walked


@dataclass(slots=True)
class Story:
    """A report on a period, as of ``now``.

    ``elsewhere``: recoveries within the period of what no restart within it is known to have taken;
    with those of ``incidents`` they are the recoveries of ``activity``. ``undated``: restarts of
    which the logs do not tell when they were. ``interruptions``: those of ``activity`` that no
    restart within the period explains, by their reason.
    """

    period: Period
    zone: Zone
    now: datetime
    bins: Bins
    activity: Activity
    incidents: list[Incident] = field(default_factory=list)
    elsewhere: int = 0
    interruptions: Counter[str] = field(default_factory=Counter)
    undated: int = 0
    stored: list[Stored] = field(default_factory=list)
    walked: list[Walked] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be added to the period any more."""
        return self.period.until <= self.now

    @property
    def lost(self) -> int:
        """How many records restarts took."""
        return sum(incident.lost for incident in self.incidents)

    @property
    def still_lost(self) -> int:
        """How many of them are lost still."""
        return sum(incident.still_lost for incident in self.incidents)
