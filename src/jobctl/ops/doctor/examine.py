"""Carry out checks so that none can hurt the others: in a child process, which is replaced when one hangs.

A dead network mount stops whoever touches it, and not even a signal ends that. So the checks run one
after the other in a child that tells of each. When one takes too long, or takes the child with it, it is
left behind, and another child goes on with the next check.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn, Self

from jobctl import clock
from jobctl.durations import age_said
from jobctl.errors import JobctlError, StoreUnreachable
from jobctl.model.health import Diagnosis, Examined, Health, fail, unknown
from jobctl.ops.doctor.check import HealthCheck
from jobctl.ops.doctor.checks import STORE
from jobctl.ops.doctor.patient import Patient
from jobctl.store.redact import redact_url

_PR_SET_PDEATHSIG = 1
_CHUNK = 65_536
_LONGEST_TEXT = 2_000
_REAP_S = 1.0
_REAP_STEP_S = 0.005
_HEALTH = {health.value: health for health in Health}
_SEE_DISK = "see that its server or its disk answers"
_SEE_STORE = "the store cannot be used: see 'store'"


def examine(
    patient: Patient, checks: Sequence[HealthCheck], *, limit_s: float | None = None
) -> Iterator[Examined]:
    """Carry out the checks, in order. ``limit_s``: give up on any of them after that, not after its own time.

    The store is looked at first, so that one that does not answer costs one wait and not many; that
    is told only where it was asked for.
    """
    is_store_asked_for = STORE in checks
    if not is_store_asked_for:
        checks = [STORE, *checks]
    rest = deque(checks)
    while rest:
        with _Child(patient, tuple(rest)) as child:
            for told in _hear(child, rest, patient, limit_s):
                if is_store_asked_for or told.check != STORE.name:
                    yield told


def _hear(
    child: _Child, rest: deque[HealthCheck], patient: Patient, limit_s: float | None
) -> Iterator[Examined]:
    """What a child tells, until it has told all or of one nothing."""
    while rest:
        check = rest.popleft()
        limit = limit_s or check.limit_s
        began = clock.monotonic()
        try:
            told = child.hear(limit, check.name)
        except TimeoutError:
            why = f"it gave no answer within {age_said(limit)}"
        except EOFError:
            why = child.cause_of_death()
        except (ValueError, LookupError, TypeError):
            why = "what it answered cannot be read"
        else:
            if check is STORE and told.diagnosis.health is Health.FAIL:
                patient.trouble = StoreUnreachable(told.diagnosis.said, hint=told.diagnosis.fix)
            yield told
            continue
        if check is STORE:
            patient.trouble = StoreUnreachable(why, hint=_SEE_DISK)
        found = fail(why, _SEE_DISK) if check is STORE else unknown(why)
        yield Examined(check.name, check.theme, check.why, found, clock.monotonic() - began)
        return


class _Child:
    """A process that carries out checks and tells of each in one line."""

    def __init__(self, patient: Patient, checks: Sequence[HealthCheck]) -> None:
        self._heard = b""
        self._status: int | None = None
        self._from_child, writer = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._from_child)
            _be_child(patient, checks, writer, parent)
        os.close(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()
        os.close(self._from_child)

    def hear(self, limit_s: float, expected: str) -> Examined:
        """What it tells of the check of this name. Raises ``TimeoutError``, or ``EOFError`` where it died."""
        deadline = clock.monotonic() + limit_s
        while True:
            told = self._next(deadline)
            # A check that forks, and goes on in both, tells twice.
            if told.check == expected:
                return told

    def _next(self, deadline: float) -> Examined:
        while b"\n" not in self._heard:
            left_s = deadline - clock.monotonic()
            if left_s <= 0 or not select.select([self._from_child], [], [], left_s)[0]:
                raise TimeoutError
            chunk = os.read(self._from_child, _CHUNK)
            if not chunk:
                raise EOFError
            self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        name, theme, why, found, seconds = json.loads(line)
        return Examined(name, theme, why, Diagnosis(Health[found[0]], *found[1:]), seconds)

    def cause_of_death(self) -> str:
        """What it died of, where it tells no more. Its pipe is closed a moment before it has ended."""
        self._reap()
        if self._status is not None and os.WIFSIGNALED(self._status):
            return f"it died of {signal.Signals(os.WTERMSIG(self._status)).name}"
        return "its process ended without an answer"

    def end(self) -> None:
        """End it. One that the kernel does not let die is left behind."""
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        deadline = clock.monotonic() + _REAP_S
        while self._status is None and clock.monotonic() < deadline:
            is_over, status = os.waitpid(self._pid, os.WNOHANG)
            if is_over:
                self._status = status
            else:
                clock.sleep(_REAP_STEP_S)


def _be_child(patient: Patient, checks: Iterable[HealthCheck], writer: int, parent: int) -> NoReturn:
    """Nothing of the parent is unwound here, and nothing that it has buffered is written twice."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            _say_nothing()
            for check in checks:
                _tell(writer, check, patient)
    finally:
        os._exit(0)


def _say_nothing() -> None:
    """What a check prints would end up in the middle of the answer."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end


def _tell(writer: int, check: HealthCheck, patient: Patient) -> None:
    began = clock.monotonic()
    health, *texts = _diagnosis(check, patient)
    found = [health.name, *(redact_url(text)[:_LONGEST_TEXT] for text in texts)]
    why = getattr(check.examine, "told_why", "") or check.why
    line = json.dumps([check.name, check.theme, why, found, clock.monotonic() - began]).encode() + b"\n"
    while line:
        line = line[os.write(writer, line) :]


def _diagnosis(check: HealthCheck, patient: Patient) -> Diagnosis:
    if check.needs_store:
        try:
            patient.site  # noqa: B018 - opens it
        except JobctlError:
            return unknown(_SEE_STORE)
    try:
        found = check.examine(patient)
        if not isinstance(found, Diagnosis):
            return unknown(f"the check returned {found!r}, not a jobctl.Diagnosis")
        return Diagnosis(_HEALTH[found.health], *map(str, found[1:]))
    except JobctlError as error:
        return unknown(error.message, error.hint)
    # Whatever a check comes upon: the others go on.
    except BaseException as error:  # noqa: BLE001
        said = str(error).partition("\n")[0]
        return unknown(f"the check broke: {type(error).__name__}{f': {said}' if said else ''}")
