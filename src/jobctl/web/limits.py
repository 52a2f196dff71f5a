"""How much the API takes on at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one process. Times in seconds."""

    body_bytes: int = 1 << 20
    """Of a request to enqueue."""
    body_s: float = 30.0
    """How long a client may take to send it."""
    waiters: int = 500
    """Clients that wait for a change at once, by ``wait`` or ``/events``."""
    downloads: int = 100
    """Files that are handed out at once."""
    send_s: float = 60.0
    """How long a client may take to receive the next part of a file, which is at most 256 KiB."""
    calls: int = 8
    """Threads that ask the store."""
    queued_calls: int = 200
    """Calls that wait for one of them; more are refused with 503."""
    call_s: float = 15.0
    """How long a call of the store may take."""
    check_s: float = 120.0
    """How long it may take to find out whether a file is the one that was accepted."""
    events_s: float = 600.0
    """How long one stream of events lasts; clients come back by themselves."""
    look_every_s: float = 0.25
    """How often the store is asked, once for all, about the jobs that somebody waits for."""


LONGEST_WAIT_S = 60
"""Of one request, in seconds."""
