"""How a worker ends: when it stops what still runs, and how long it waits for a store that is away."""

from __future__ import annotations

from jobctl.errors import StoreSchemaMismatch


class Leaving:
    """The end of one worker. Until it has begun, none of its moments comes.

    What runs has ``grace_s`` to finish, and is asked to stop then. A store that is away is waited
    for a lease longer: after that, others have taken over what this worker held. A second signal
    leaves no time for either. ``now`` is a monotonic clock, in seconds.
    """

    def __init__(self, *, grace_s: float, lease_s: float) -> None:
        self._grace_s = grace_s
        self._lease_s = lease_s
        self._was_asked = False
        self._gone_by = float("inf")
        self.has_begun = False
        self.stops_at = float("inf")
        """When what still runs is to be asked to stop."""
        self.reason: StoreSchemaMismatch | None = None
        """Why it ends, where nobody asked it to: its store was migrated."""

    def begin(self, now: float) -> bool:
        """Begin to end; ``False`` where it has begun already."""
        if self.has_begun:
            return False
        self.has_begun = True
        self.stops_at = now + self._grace_s
        self._gone_by = self.stops_at + self._lease_s
        return True

    def is_asked_again(self, signals: int, now: float) -> bool:
        """Note that it was asked by so many signals; whether that makes more than one in its life."""
        is_again, self._was_asked = self._was_asked or signals > 1, True
        if is_again:
            self._gone_by = now
        return is_again

    def is_grace_over(self, now: float) -> bool:
        """Whether what still runs is to be asked to stop now; that is said once."""
        if now < self.stops_at:
            return False
        self.stops_at = float("inf")
        return True

    def is_late(self, now: float) -> bool:
        """Whether a store that is away is not to be waited for any more."""
        return now >= self._gone_by
