"""Runs the real program, with one chosen effect replaced by a fault.

A zygote: it imports jobctl once and forks a child for each order it reads (one JSON
object a line), so that hundreds of crashes cost seconds. The child is the program as
users run it, but for the one hook in the effects module.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import psycopg
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite.pysqlite

from jobctl import cli, clock
from jobctl.cli import app
from jobctl.cli.commands import backup, cleanup, expire, import_, quarantine, recover, restore, scan, undo
from jobctl.evidence import dumped_job, rules
from jobctl.model.plan import Action, Outcome
from jobctl.ops import (
    apply,
    explain,
    ingest,
    init,
    lastruns,
    moves,
    restore_postgresql,
    restore_sqlite,
    space,
    transfer,
)
from jobctl.ops import backup as backup_op
from jobctl.ops import cleanup as cleanup_op
from jobctl.ops import expire as expire_op
from jobctl.ops import quarantine as quarantine_op
from jobctl.ops import recover as recover_op
from jobctl.ops import restore as restore_op
from jobctl.ops import runs as runs_op
from jobctl.ops import undo as undo_op
from jobctl.outputs import decode, decode_worker, effects, manifest
from jobctl.store import backup_contents, postgresql_backup, run_steps, sqlite_backup

# Imported before the first fork, so that no child pays for it.
rules.rule_sets({})
PRELOADED = (apply, dumped_job, explain, import_, ingest, init, psycopg, recover, recover_op, sqlalchemy)
PRELOADED += (transfer, undo, undo_op)
PRELOADED += (cleanup, cleanup_op, expire, expire_op, lastruns, quarantine, quarantine_op, scan)
PRELOADED += (app, runs_op, space, backup, backup_op, restore, restore_op, restore_postgresql)


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
    record_events = run_steps._Chunk.record_events

    def commit_first(chunk: run_steps._Chunk) -> None:
        effects.commit(_Statement(chunk.connection, "COMMIT"))
        chunk.connection.exec_driver_sql("BEGIN")
        record_events(chunk)

    run_steps._Chunk.record_events = commit_first  # type: ignore[method-assign]


def _forget_what_was_moved() -> None:
    """A deliberately wrong variant: what an interrupted run had moved already is not asked of the disk."""
    moves.Mover.catch_up = lambda mover: None  # type: ignore[method-assign,assignment]


def _journal_before_moving() -> None:
    """A deliberately wrong variant: steps are called done before their files are moved."""
    move = moves.Mover._move

    def promise(mover: moves.Mover, steps: Sequence[Action], now: datetime) -> list[moves._Result]:
        promised = [moves._Result(step.seq, Outcome.DONE) for step in steps]
        mover._conclude(steps, promised, steps[0].seq, steps[-1].seq + 1)
        move(mover, steps, now)
        return []

    moves.Mover._move = promise  # type: ignore[method-assign]


def tell_late() -> None:
    """A deliberately wrong variant: lines reach the manifest one step late."""
    append, kept = manifest.Run.append, []

    def late(run: manifest.Run, lines: Iterable[bytes]) -> None:
        kept.append(list(lines))
        append(run, chain.from_iterable(kept[:-1]))

    manifest.Run.append = late  # type: ignore[method-assign]


def _keep_nothing() -> None:
    """A deliberately wrong variant: the store that is there is replaced and not kept."""
    restore_sqlite._Restore._keep = lambda *_: None  # type: ignore[method-assign,assignment]


def _trust_absence() -> None:
    """A deliberately wrong variant: older records condemn files that are newer."""
    backup_contents.begin_anew = lambda *_, **__: None


def _die_midway() -> None:
    """Killed in the middle of what must be one step."""

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    replace, load = sqlite_backup.replace_contents, postgresql_backup._load
    tables = []

    def replace_and_die(*arguments: Any, on_step: Any, **named: Any) -> None:
        def step(done: int, total: int) -> None:
            on_step(done, total)
            if done > total / 2:
                die()

        replace(*arguments, on_step=step, **named)

    def load_and_die(*arguments: Any) -> int:
        tables.append(load(*arguments))
        return die() or tables[-1] if len(tables) > 5 else tables[-1]

    sqlite_backup.replace_contents = replace_and_die
    postgresql_backup._load = load_and_die


_VARIANTS = {
    "unkept": _keep_nothing,
    "trusting": _trust_absence,
    "killed-midway": _die_midway,
    "torn": _tear_the_chunk,
    "forgetful": _forget_what_was_moved,
    "hasty": _journal_before_moving,
    "untold": tell_late,
}


class _Statement(NamedTuple):
    connection: Any
    text: str

    def commit(self) -> None:
        self.connection.exec_driver_sql(self.text)


class _Forked:
    """A process of the launcher's own kind, as ``Popen`` has one."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                run()
            finally:
                os._exit(1)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _fork_reader(decoder: decode.Decoder) -> decode._Worker:
    """Start the process that reads media as it is started, but for its imports."""
    ours, theirs = socket.socketpair()

    def read() -> None:
        # Nothing of the program's is kept open: a lock would outlive it.
        os.dup2(theirs.fileno(), 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        sys.argv[1:] = ["3"]
        decode_worker.main()

    with theirs:
        decoder._worker = decode._Worker(_Forked(read), ours)  # type: ignore[arg-type]
    decode._receive(ours, clock.monotonic() + decode._START_LIMIT_S)
    return decoder._worker


def _become_program(order: dict[str, Any], run: Callable[[], None]) -> None:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(target, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order.get("env", {}))
    if order.get("variant"):
        _VARIANTS[order["variant"]]()
    _install(order)
    decode.Decoder._start = _fork_reader  # type: ignore[method-assign]
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
    # A child's collector would copy all that it shares with its parent, only to look at it.
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become_program(order, run)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"returncode": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
