"""Impatient clients: they poll, remember every answer, and tell whether any of them went back."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import NamedTuple
from urllib.parse import urlsplit

NO_ANSWER = 0
"""In place of a code, where no server took the connection, or it broke."""
_TIMEOUT_S = 120.0
_PAUSE_S = 0.1
_ORDER = {"queued": 0, "processing": 1, "failed": 2, "completed": 3}
"""A failure that was an interruption may still turn out to be a success, and nothing else turns."""


class Heard(NamedTuple):
    """One answer, and between which moments of one clock it was given."""

    job_id: str
    asked_at: float
    answered_at: float
    code: int
    status: str | None = None
    progress: float | None = None

    @property
    def standing(self) -> tuple[int, float]:
        """How far the job has come by this answer."""
        assert self.status is not None
        is_open = self.status == "processing"
        return _ORDER[self.status], (self.progress or 0.0) if is_open else 0.0


class Crowd:
    """Clients that poll the jobs of one service, each over a connection of its own.

    ``prefixes``: what stands before the paths of the endpoints that are asked, in turn.
    """

    def __init__(
        self, url: str, job_ids: Iterable[str], *, prefixes: Sequence[str] = ("",), clients: int = 3
    ) -> None:
        self.job_ids = list(job_ids)
        self.heard: list[Heard] = []
        self._place = urlsplit(url)
        self._prefixes = cycle(prefixes)
        self._clients = clients

    def poll(self, times: int) -> list[Heard]:
        """Poll so many times in all, one job after another, and once each at least."""
        asked = [self.job_ids[number % len(self.job_ids)] for number in range(times)]
        with ThreadPoolExecutor(self._clients) as pool:
            heard = list(pool.map(self.ask, asked))
        self.heard += heard
        return heard

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Poll without end, until the block ends. Jobs may be added meanwhile."""
        over = threading.Event()
        clients = [
            threading.Thread(target=self._poll_until, args=(over, number)) for number in range(self._clients)
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            over.set()
            for client in clients:
                client.join()

    def _poll_until(self, over: threading.Event, first: int) -> None:
        number = first
        while not over.wait(_PAUSE_S):
            if self.job_ids:
                self.heard.append(self.ask(self.job_ids[number % len(self.job_ids)]))
            number += self._clients + 1

    def ask(self, job_id: str) -> Heard:
        """Poll one job once."""
        asked_at = time.monotonic()
        try:
            code, body = self._get(f"{next(self._prefixes)}/presentations/{job_id}")
        except (OSError, HTTPException):
            return Heard(job_id, asked_at, time.monotonic(), NO_ANSWER)
        answered_at = time.monotonic()
        if code not in {200, 202}:
            return Heard(job_id, asked_at, answered_at, code)
        told = json.loads(body)
        assert told["jobId"] == job_id
        return Heard(job_id, asked_at, answered_at, code, told["status"], told["progress"])

    def _get(self, path: str) -> tuple[int, bytes]:
        assert self._place.hostname is not None
        connection = HTTPConnection(self._place.hostname, self._place.port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def with_code(heard: Iterable[Heard], *codes: int) -> list[Heard]:
    """The answers with one of these codes."""
    return [each for each in heard if each.code in codes]


def setbacks(heard: Iterable[Heard]) -> list[str]:
    """Answers that say less than one which somebody had before they were asked for."""
    by_job = defaultdict[str, list[Heard]](list)
    for each in heard:
        if each.status is not None:
            by_job[each.job_id].append(each)
    return [said for answers in by_job.values() for said in _setbacks_of(answers)]


def _setbacks_of(answers: Sequence[Heard]) -> Iterator[str]:
    ended = sorted(answers, key=lambda each: each.answered_at)
    furthest: Heard | None = None
    known = 0
    for each in sorted(answers, key=lambda each: each.asked_at):
        while ended[known].answered_at < each.asked_at:
            if furthest is None or ended[known].standing > furthest.standing:
                furthest = ended[known]
            known += 1
        if furthest is not None and each.standing < furthest.standing:
            before, now = (f"{one.status} at {one.progress}" for one in (furthest, each))
            yield f"{each.job_id}: {before}, and {each.asked_at - furthest.answered_at:.3f} s later {now}"
