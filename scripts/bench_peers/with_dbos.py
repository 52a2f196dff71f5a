"""DBOS on PostgreSQL: a workflow for each job, on a queue without limits, looked at once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import marks
import sqlalchemy
from dbos import DBOS, DBOSClient

_UNFINISHED = "SELECT 1 FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING') LIMIT 1"


class Peer:
    """An application that is launched as a worker, and its client."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql://", "postgresql+psycopg://", 1)

    def prepare(self) -> None:
        self._launch()
        DBOS.destroy()

    @contextmanager
    def client(self) -> Iterator[None]:
        self._engine = sqlalchemy.create_engine(self._url)
        self._client = DBOSClient(system_database_engine=self._engine)
        try:
            yield
        finally:
            self._client.destroy()

    def enqueue(self, kind: str, *words: str) -> None:
        self._client.enqueue({"workflow_name": kind, "queue_name": "contest"}, *words)

    def enqueue_many(self, count: int) -> None:
        for start in range(0, count, 1_000):
            with self._engine.begin() as connection:
                for _ in range(min(1_000, count - start)):
                    self._client.enqueue_in_transaction(
                        connection, {"workflow_name": "noop", "queue_name": "contest"}
                    )

    def are_ended(self) -> bool:
        return marks.none_left(self._url.replace("+psycopg", "", 1), _UNFINISHED)

    def work(self) -> None:
        self._launch()
        threading.Event().wait()

    def _launch(self) -> None:
        DBOS(config={"name": "contest", "system_database_url": self._url, "log_level": "CRITICAL"})
        for name, handler in {"noop": _noop, "moment": _moment, "begin": _begin}.items():
            DBOS.workflow(name=name)(handler)
        DBOS.launch()
        DBOS.register_queue("contest")


def _noop() -> None:
    marks.drain.count()


def _moment(path: str) -> None:
    marks.moment(path)


def _begin(directory: str) -> None:
    marks.begun(directory)
    time.sleep(3_600)
