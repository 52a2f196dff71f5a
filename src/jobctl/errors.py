"""Every error jobctl tells a user about: what happened, what to do next, and the exit code.

This table is the only place where exit codes are written down; the documentation's
table is generated from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar, Self


class ExitCode(IntEnum):
    """The exit codes of every command. ``meaning`` is the text of the documentation."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    CLEAN = 0, "clean, or done"
    INTERNAL = 1, "internal error: a fault in jobctl itself"
    USAGE = 2, "the command line or the configuration is not usable"
    INCOMPLETE = 3, "finished, but some items failed, were skipped or could not be read"
    FINDINGS = 4, "findings are open (only with --exit-code)"
    APPROVAL = 5, "approval is needed and there is no terminal to ask on"
    STORE = 10, "the store is unreachable, not initialised or of another schema"
    LOCKED = 11, "another run holds the lock"
    STALE_PLAN = 12, "the plan is stale or was altered"
    BRAKE = 13, "a brake held part of the plan"
    ROOT = 14, "the root is unavailable or is not the registered one"
    OLD_STORE = 15, "the store is older than the root: an older copy was put back"
    INTERRUPTED = 130, "interrupted from the keyboard; run the same command again to go on"
    TERMINATED = 143, "terminated; run the same command again to go on"


# From harmless to grave. Where several apply, the gravest is what the program exits with.
_SEVERITY = (
    ExitCode.CLEAN,
    ExitCode.FINDINGS,
    ExitCode.INCOMPLETE,
    ExitCode.BRAKE,
    ExitCode.APPROVAL,
    ExitCode.STALE_PLAN,
    ExitCode.LOCKED,
    ExitCode.USAGE,
    ExitCode.ROOT,
    ExitCode.OLD_STORE,
    ExitCode.STORE,
    ExitCode.TERMINATED,
    ExitCode.INTERRUPTED,
    ExitCode.INTERNAL,
)


def most_severe(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code to end with when ``codes`` all apply; ``CLEAN`` for none."""
    return max(codes, key=_SEVERITY.index, default=ExitCode.CLEAN)


class JobctlError(Exception):
    """An error a user can act on: one sentence, and one next step.

    ``code`` is the stable name scripts match on; it never changes once released.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        # A service that does not handle it shows no more than a traceback.
        self.add_note(hint)


class UsageError(JobctlError):
    """The command line or the configuration cannot be used as given."""

    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigurationError(UsageError):
    """A configuration file or environment variable is unreadable or wrong."""

    code = "configuration"


class UnknownJob(UsageError):
    """No job with this id is recorded."""

    code = "unknown-job"


class ClassRefused(UsageError, TypeError):
    """Objects of this class cannot be followed, so that changes of theirs would be lost."""

    code = "class-refused"


class WouldBlock(UsageError, RuntimeError):
    """An assignment in async code would make the event loop wait for the database."""

    code = "would-block"


class UnknownRun(UsageError):
    """No run with this id is recorded."""

    code = "unknown-run"


class UnknownEntry(UsageError):
    """Nothing in quarantine is what was named."""

    code = "unknown-entry"


class QuarantineUnreadable(JobctlError):
    """Part of a manifest in quarantine tells nothing."""

    exit_code = ExitCode.INCOMPLETE
    code = "quarantine-unreadable"


class CollectorRefused(JobctlError):
    """A collector of metrics did not take them."""

    exit_code = ExitCode.INCOMPLETE
    code = "collector-refused"


class ScheduleRefused(UsageError):
    """A schedule cannot be written."""

    code = "schedule-refused"


class UnknownLog(UsageError):
    """No log of this name was read."""

    code = "unknown-log"


class ApprovalNeeded(JobctlError):
    """The plan needs a yes, and there is no terminal to ask on."""

    exit_code = ExitCode.APPROVAL
    code = "approval-needed"


class StoreUnreachable(JobctlError):
    """The store cannot be opened or does not answer."""

    exit_code = ExitCode.STORE
    code = "store-unreachable"


class StoreUninitialised(JobctlError):
    """There is no store at this place; only ``jobctl init`` creates one."""

    exit_code = ExitCode.STORE
    code = "store-uninitialised"


class StoreSchemaMismatch(JobctlError):
    """The store was written by another version of jobctl, or is not a jobctl store."""

    exit_code = ExitCode.STORE
    code = "store-schema"


class StoreReplaced(JobctlError):
    """Another store lies by now where the one lay that was opened."""

    exit_code = ExitCode.STORE
    code = "store-replaced"


class Locked(JobctlError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class LockLost(Locked):
    """The lock was taken over while this run did not renew it; nothing more was changed."""

    code = "lock-lost"


class PlanStale(JobctlError):
    """The plan was altered, is too old, or was made for another store, root or configuration."""

    exit_code = ExitCode.STALE_PLAN
    code = "plan-stale"


class RootUnavailable(JobctlError):
    """The root is not there, not readable, or not the registered one."""

    exit_code = ExitCode.ROOT
    code = "root-unavailable"


class RootRefused(JobctlError):
    """This directory may not become a root."""

    exit_code = ExitCode.ROOT
    code = "root-refused"


class StoreOlderThanRoot(JobctlError):
    """The root has seen runs this store does not know: an older copy of the store was put back."""

    exit_code = ExitCode.OLD_STORE
    code = "store-older"


class IllegalTransition(JobctlError):
    """A status change the transition table does not allow; the record was left as it was."""

    exit_code = ExitCode.INCOMPLETE
    code = "illegal-transition"


class StaleJob(JobctlError):
    """The record changed since it was read, or the attempt is no longer current; nothing written."""

    exit_code = ExitCode.INCOMPLETE
    code = "stale-job"


class JobExists(JobctlError):
    """A job with this id is recorded already."""

    exit_code = ExitCode.INCOMPLETE
    code = "job-exists"


class DiskFailed(JobctlError):
    """The disk is full or failed; what was done until then is kept."""

    exit_code = ExitCode.INCOMPLETE
    code = "disk-failed"


class BrakeHeld(JobctlError):
    """More would be taken away in one run than is usual; it was left as it is."""

    exit_code = ExitCode.BRAKE
    code = "brake-held"


class ClockJumped(JobctlError):
    """The store's clock cannot have run evenly: no age can be told."""

    exit_code = ExitCode.INCOMPLETE
    code = "clock-jumped"


class LogUnreadable(JobctlError):
    """A log cannot be read, or only in part; what could be read was kept."""

    exit_code = ExitCode.INCOMPLETE
    code = "log-unreadable"


class SidecarUnusable(JobctlError):
    """A sidecar is none; its video was judged without it."""

    exit_code = ExitCode.INCOMPLETE
    code = "sidecar-unusable"


class PublishRefused(JobctlError):
    """A file could not be published without replacing or breaking another one."""

    exit_code = ExitCode.INCOMPLETE
    code = "publish-refused"


class NotCompleted(JobctlError):
    """The job has no finished video to hand out: it is still open, or it ended without one."""

    exit_code = ExitCode.INCOMPLETE
    code = "not-completed"


class FileUnavailable(JobctlError):
    """A file of a job is not there, or not surely the one that was accepted: it is not handed out."""

    exit_code = ExitCode.INCOMPLETE
    code = "file-unavailable"


class ExtraMissing(UsageError):
    """What was asked for needs packages that are an extra of jobctl's."""

    code = "extra-missing"


class SourceUnusable(JobctlError):
    """Another table that knows of jobs could not be read; it was left as it is, the rest goes on."""

    exit_code = ExitCode.INCOMPLETE
    code = "source-unusable"


class RendererUnavailable(JobctlError):
    """The remote renderer does not answer, or with nothing that can be used."""

    exit_code = ExitCode.INCOMPLETE
    code = "renderer-unavailable"


class RendererRefused(JobctlError):
    """The remote renderer refused the key."""

    exit_code = ExitCode.INCOMPLETE
    code = "renderer-refused"


class RendererKeyMissing(UsageError):
    """No key for the remote renderer is given."""

    code = "renderer-key-missing"


class UnknownRender(UsageError):
    """No such remote render is known."""

    code = "unknown-render"


class RenderUnreadable(JobctlError):
    """The remote renderer tells of a render in a way that is not understood; the others are listed."""

    exit_code = ExitCode.INCOMPLETE
    code = "render-unreadable"


class RenderNotReady(JobctlError):
    """The remote render cannot be downloaded as it is now."""

    exit_code = ExitCode.INCOMPLETE
    code = "render-not-ready"


class DownloadFailed(JobctlError):
    """A download broke off or was not what it should be; nothing of it was kept."""

    exit_code = ExitCode.INCOMPLETE
    code = "download-failed"


class BackupFailed(JobctlError):
    """A backup could not be made; those there are were left as they are."""

    exit_code = ExitCode.INCOMPLETE
    code = "backup-failed"


class BackupUnusable(UsageError):
    """A file is no backup that can be put back here; the store was left as it is."""

    code = "backup-unusable"


class ToolMissing(UsageError):
    """A program that is needed is not installed, or is too old."""

    code = "tool-missing"


class StoreInUse(Locked):
    """A worker, a run or another process works with the store; it was left as it is."""

    code = "store-in-use"


def error_from(code: str, message: str, hint: str) -> JobctlError:
    """The error of this code, as another process told it."""
    kinds = [JobctlError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == code), JobctlError)
    return found(message, hint=hint)
