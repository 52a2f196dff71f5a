"""Checks of what jobctl is set up with: configuration, secrets, tools."""

from __future__ import annotations

import os
import stat

from jobctl.core.health.setup import ConfigFile, judge_command_lines, judge_configuration, judge_decoders
from jobctl.errors import JobctlError
from jobctl.model.health import Diagnosis, unknown
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.doctor.processes import command_line, program_of
from jobctl.ops.doctor.work import living_workers
from jobctl.settings import Settings
from jobctl.store.redact import redact_url

THEME = "setup"
CODECS = ("h264", "aac", "vp9")
_OURS = "JOBCTL_"
_DATABASE = "JOBCTL_DATABASE_URL"


@health_check(
    "configuration",
    THEME,
    "Settings come from one file; who can write it says what jobctl runs, who can read it has its passwords.",
    needs_store=False,
)
def configuration(patient: Patient) -> Diagnosis:
    """Which file was read, and its mode."""
    variables = sorted(name for name in os.environ if name.startswith(_OURS))
    path = patient.settings.source
    if path is None:
        return judge_configuration(None, variables)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return unknown(f"{path} cannot be looked at: {error.strerror}")
    file = ConfigFile(path, stat.S_IMODE(mode), _has_secret(patient.settings), stat.S_ISREG(mode))
    return judge_configuration(file, variables)


def _has_secret(settings: Settings) -> bool:
    """Whether a password was in the file. It is not read again: by now this may be another user than then."""
    addresses = [source.database or "" for source in settings.sources]
    if _DATABASE not in os.environ:
        addresses.append(settings.database)
    return any(redact_url(address) != address for address in addresses)


@health_check(
    "command-lines",
    THEME,
    "'ps' shows every user the command lines of all processes, with the passwords in them.",
    needs_store=False,
)
def command_lines(patient: Patient) -> Diagnosis:
    """That of this process, and those of the workers on this host."""
    pids = [os.getpid(), *pids_of_workers(patient)]
    showing = {
        pid: program_of(pid) for pid in pids if any(redact_url(word) != word for word in command_line(pid))
    }
    return judge_command_lines(showing)


def pids_of_workers(patient: Patient) -> list[int]:
    """The workers that run on this host, as far as the store tells."""
    try:
        return [row.executor.pid for row in living_workers(patient.site)]
    except JobctlError:
        return []


@health_check(
    "codecs",
    THEME,
    "A rebuilt job is called completed only once its video was read through, which takes PyAV.",
    needs_store=False,
)
def codecs(patient: Patient) -> Diagnosis:
    """Whether PyAV loads, and what it decodes."""
    del patient
    try:
        from jobctl.outputs.decode_worker import VERSION, missing_decoders  # noqa: PLC0415 - loads FFmpeg
    except ImportError:
        return judge_decoders(None, [])
    return judge_decoders(VERSION, missing_decoders(CODECS))


CHECKS: tuple[HealthCheck, ...] = (configuration, command_lines, codecs)
