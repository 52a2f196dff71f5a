"""Call idle workers when there is something to do.

On PostgreSQL by NOTIFY, once the transaction is committed. Transactions that notify commit one after
another (its documentation says so), so a stream of them calls seldom, and who was called looks again.
On SQLite nothing needs to be done: workers see that the file changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from jobctl import clock
from jobctl.model.storable import storable_text

CHANNEL = "jobctl_queue"
"""What PostgreSQL notifies about jobs that were enqueued or asked to stop; the payload names the queue."""

SELDOM_S = 0.05
"""So long one process does not call the same queue again."""


@dataclass(slots=True)
class Bell:
    """What one process called when, by a monotonic clock."""

    _rung: dict[str, float] = field(default_factory=dict)

    def ring(self, connection: Connection, queue: str) -> None:
        """Call the workers of a queue, unless it was just done.

        For a transaction that commits at once: those that are called look again a little later.
        """
        if self.is_due(queue):
            wake(connection, queue)

    def is_due(self, queue: str) -> bool:
        """Whether to call the workers of a queue now; if so, that counts as done."""
        now = clock.monotonic()
        if now - self._rung.get(queue, -SELDOM_S) < SELDOM_S:
            return False
        self._rung[queue] = now
        return True


def wake(connection: Connection, queue: str) -> None:
    """Call the workers of a queue, or with ``""`` all of them, whenever the transaction is committed."""
    if connection.dialect.name == "postgresql":
        named = {"channel": CHANNEL, "queue": storable_text(queue)}
        connection.execute(text("SELECT pg_notify(:channel, :queue)"), named)
