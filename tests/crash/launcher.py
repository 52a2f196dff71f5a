"""Runs the real program, with one chosen effect replaced by a fault.

A zygote: it imports jobctl once and forks a child for each order it reads (one JSON
object a line), so that hundreds of crashes cost seconds. The child is the program as
users run it, but for the one hook in the effects module.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite.pysqlite

from jobctl import cli
from jobctl.cli.commands import cleanup, expire, import_, quarantine, recover, scan, undo
from jobctl.evidence import dumped_job, rules
from jobctl.ops import apply, explain, ingest, init, lastruns, moves, transfer
from jobctl.ops import cleanup as cleanup_op
from jobctl.ops import expire as expire_op
from jobctl.ops import quarantine as quarantine_op
from jobctl.ops import recover as recover_op
from jobctl.ops import undo as undo_op
from jobctl.outputs import effects
from jobctl.store import runs

# Imported before the first fork, so that no child pays for it.
rules.rule_sets({})
PRELOADED = (apply, dumped_job, explain, import_, ingest, init, psycopg, recover, recover_op, sqlalchemy)
PRELOADED += (transfer, undo, undo_op)
PRELOADED += (cleanup, cleanup_op, expire, expire_op, lastruns, quarantine, quarantine_op, scan)


def _fault(how: str) -> None:
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))


def _install(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if order.get("log") else None
    fault = order.get("fault") or {"number": -1, "when": "never"}

    def before(name: str, number: int) -> None:
        if log is not None:
            os.write(log, f"{number} {name}\n".encode())
        if fault["when"] == "before" and number == fault["number"]:
            _fault(fault["how"])

    def after(name: str, number: int) -> None:
        del name
        if fault["when"] == "after" and number == fault["number"]:
            _fault(fault["how"])

    effects.observe(before=before, after=after)


def _tear_the_chunk() -> None:
    """A deliberately wrong variant: records are committed before their history and outcome."""
    record_events = runs._Chunk.record_events

    def commit_first(chunk: runs._Chunk) -> None:
        effects.commit(_Statement(chunk.connection, "COMMIT"))
        chunk.connection.exec_driver_sql("BEGIN")
        record_events(chunk)

    runs._Chunk.record_events = commit_first  # type: ignore[method-assign]


def _forget_what_was_moved() -> None:
    """A deliberately wrong variant: what an interrupted run had moved already is not asked of the disk."""
    moves.Mover.catch_up = lambda mover: None  # type: ignore[method-assign,assignment]


_VARIANTS = {"torn": _tear_the_chunk, "forgetful": _forget_what_was_moved}


class _Statement(NamedTuple):
    connection: Any
    text: str

    def commit(self) -> None:
        self.connection.exec_driver_sql(self.text)


def _become_program(order: dict[str, Any], run: Callable[[], None]) -> None:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(target, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order.get("env", {}))
    if order.get("variant"):
        _VARIANTS[order["variant"]]()
    _install(order)
    sys.argv = ["jobctl", *order["argv"]]
    code = 0
    try:
        run()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except BaseException:  # noqa: BLE001 - a traceback is what the test looks for
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(run: Callable[[], None] = cli.main) -> None:
    """Carry out orders, each a run of the program, until standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become_program(order, run)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"returncode": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
