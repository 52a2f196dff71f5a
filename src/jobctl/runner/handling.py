"""Run the handler of one attempt, in the process or thread that was made for it, and say how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import traceback
from typing import Any

from jobctl.model.storable import storable_json, storable_text
from jobctl.runner.attempt import Attempt, Cancelled, GiveUp
from jobctl.runner.limits import die_with_parent
from jobctl.runner.tasks import Task, is_async

LARGEST_RESULT = 16 << 20
"""Bytes of a result as JSON."""

_LONGEST_ERROR = 2_000
_LONGEST_CODE = 100
_LONGEST_TRACEBACK = 16_000
_COMMAND_OUTPUT = 64 << 10
_STOP_POLL_S = 0.1
# What JSON can say and a database cannot store: NUL, and halves of characters.
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])")

Outcome = list[Any]
"""``["done", result]``, or ``["failed", error, code, traceback, is final]``; the texts can be stored."""


def run(task: Task, attempt: Attempt) -> Outcome:
    """Run one attempt. Never raises."""
    try:
        return _outcome(task, attempt)
    # What the handler raised raises itself when it is asked what it is.
    except BaseException:  # noqa: BLE001
        return _failed("the handler raised what cannot be told", "error", "", final=False)


def _outcome(task: Task, attempt: Attempt) -> Outcome:
    try:
        result = _call(task, attempt)
        return ["done", _as_json(result)]
    except MemoryError:
        return _failed("MemoryError: the attempt ran into its memory limit", "out-of-memory", "", final=False)
    except GiveUp as error:
        return _failed(_said(error) or "the handler gave up", "gave-up", _trace(), final=True)
    except (Cancelled, asyncio.CancelledError) as error:
        return _failed(_said(error) or "the attempt was asked to stop", "stopped", "", final=False)
    except _Unserialisable as error:
        return _failed(str(error), "bad-result", "", final=True)
    except _CommandFailed as error:
        return _failed(str(error), "exit-code", error.output, final=False)
    except SystemExit as error:
        return _failed(f"the handler called exit({_said(error)})", "exit", _trace(), final=False)
    # An attempt may fail in any way whatever; the worker is told of each.
    except BaseException as error:  # noqa: BLE001
        named = [type(error).__name__, *filter(None, [_said(error)])]
        return _failed(": ".join(named), _code_of(error), _trace(), final=False)


def _code_of(error: BaseException) -> str:
    """What failures are counted by: the exception's name. Codes of jobctl's own begin with a small letter."""
    name = storable_text(type(error).__name__[:_LONGEST_CODE])
    return name if name[:1].isupper() else "error"


class _Unserialisable(Exception):
    pass


class _CommandFailed(Exception):
    def __init__(self, said: str, output: str) -> None:
        super().__init__(said)
        self.output = output


def _call(task: Task, attempt: Attempt) -> Any:
    if task.function is None:
        return _run_command(task, attempt)
    if is_async(task.function):
        return asyncio.run(_awaited(task, attempt))
    return task.function(attempt)


async def _awaited(task: Task, attempt: Attempt) -> Any:
    """An async handler is cancelled, as async code expects, once its attempt is asked to stop."""
    if task.function is None:
        raise TypeError("a command is not awaited")
    handler = asyncio.ensure_future(task.function(attempt))
    loop = asyncio.get_running_loop()
    attempt.when_asked_to_stop(lambda: loop.call_soon_threadsafe(handler.cancel))
    return await handler


def _run_command(task: Task, attempt: Attempt) -> Any:
    """Run a command of the configuration. Its standard output is the result, where that is JSON."""
    payload = os.path.join(attempt.scratch, "payload.json")
    with open(payload, "w", encoding="utf-8") as file:
        file.write(attempt.payload_text)
    places = {
        "job_id": attempt.job_id,
        "attempt": str(attempt.number),
        "scratch": attempt.scratch,
        "payload": payload,
    }
    vector = [_filled(word, places) for word in task.spec.command or ()]
    names = {f"JOBCTL_{name.upper()}": value for name, value in places.items()}
    with open(os.path.join(attempt.scratch, "output"), "w+b") as out, _temporary(attempt) as err:
        try:
            process = subprocess.Popen(
                vector,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **names},
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it waits for no lock that another thread may have
            )
        except OSError as error:
            raise _CommandFailed(f"{vector[0]} cannot be started: {error.strerror}", "") from None
        code = _waited(process, attempt)
        if code:
            raise _command_failure(vector[0], code, _tail(err))
        return _result_in(out)


def _command_failure(program: str, code: int, said: str) -> _CommandFailed:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    last = said.strip().rpartition("\n")[2]
    return _CommandFailed(f"{program} {how}{': ' + last if last else ''}", said)


def _filled(word: str, places: dict[str, str]) -> str:
    return re.sub(r"\{(job_id|attempt|scratch|payload)\}", lambda found: places[found[1]], word)


def _temporary(attempt: Attempt) -> Any:
    return open(os.path.join(attempt.scratch, "errors"), "w+b")


def _waited(process: subprocess.Popen[bytes], attempt: Attempt) -> int:
    while True:
        try:
            return process.wait(timeout=_STOP_POLL_S)
        except subprocess.TimeoutExpired:
            if attempt.cancelled:
                process.terminate()
                return process.wait()


def _tail(file: Any) -> str:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _LONGEST_TRACEBACK))
    return str(file.read().decode("utf-8", "backslashreplace"))


def _result_in(file: Any) -> Any:
    file.seek(0)
    text = file.read(LARGEST_RESULT + 1)
    try:
        return json.loads(text, parse_constant=_refuse) if len(text) <= LARGEST_RESULT else None
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _as_json(result: Any) -> str | None:
    if result is None:
        return None
    try:
        text = json.dumps(result, allow_nan=False)
        if _UNSTORABLE.search(text):
            text = json.dumps(storable_json(json.loads(text)))
    except (TypeError, ValueError, RecursionError) as error:
        raise _Unserialisable(f"the handler's result cannot be kept as JSON: {error}") from None
    if len(text) > LARGEST_RESULT:
        raise _Unserialisable(
            f"the handler's result is {len(text):,} bytes of JSON, more than {LARGEST_RESULT:,}: "
            "publish it as a file, and return its path"
        )
    return text


def _failed(error: str, code: str, trace: str, *, final: bool) -> Outcome:
    told = storable_text(error[:_LONGEST_ERROR])
    return ["failed", told, code, storable_text(trace[-_LONGEST_TRACEBACK:]), final]


def _said(error: BaseException) -> str:
    """What an error says of itself; a broken one must not cost more than its attempt."""
    try:
        return str(error)
    # It is the handler's code that runs here.
    except BaseException as broken:  # noqa: BLE001
        return f"it cannot say what went wrong: its text raises {type(broken).__name__}"


def _trace() -> str:
    return traceback.format_exc()
