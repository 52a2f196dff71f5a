"""Connections that a process keeps: used by it alone, and asked whether they live where that is in doubt."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError

from jobctl import clock

KNOWN = "leads to the store that was opened"
"""What is noted of a kept connection once it was asked; it is asked again where it lay unused."""

_TRUSTED_S = 1.0


def keep_apart(engine: Engine, place: Callable[[], object]) -> None:
    """Never use a kept connection in a forked process, nor for a file that lies there no longer."""

    def remember(_connection: Any, record: Any) -> None:
        record.info["home"] = (os.getpid(), place())

    def compare(_connection: Any, record: Any, proxy: Any) -> None:
        if record.info["home"] != (os.getpid(), place()):
            # Another process's connection must not be closed here either.
            record.dbapi_connection = proxy.dbapi_connection = None
            raise DisconnectionError("it was made by another process, or for another file")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


def expect_living(engine: Engine) -> None:
    """Take another connection where the server has ended a kept one. To be called after ``keep_apart``.

    SQLAlchemy's own ``pool_pre_ping`` asks before a listener can see that the connection is another
    process's, and so mixes up the words of both; and it asks each time, which takes as long as a look-up.
    """

    def begin(_connection: Any, record: Any) -> None:
        record.info["taken_at"] = clock.monotonic()

    def look(connection: Any, record: Any, _proxy: Any) -> None:
        now = clock.monotonic()
        was_used_now = now - record.info["taken_at"] < _TRUSTED_S
        if not (was_used_now and _is_silent(connection.pgconn.socket)):
            _ask(engine, connection)
            record.info.pop(KNOWN, None)
        record.info["taken_at"] = now

    event.listen(engine, "connect", begin)
    event.listen(engine, "checkout", look)


def _is_silent(socket: int) -> bool:
    """Whether the server has said nothing: to one who asked nothing it says only that it ends."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return not poll.poll(0)


def _ask(engine: Engine, connection: Any) -> None:
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError("the server has ended it") from error
