"""Plan files: one JSON line a step, under a hash, so that exactly what was shown is applied.

The first line says what the plan was made for, each further line is an action or a
finding nothing is done about, the last line carries the counts and the SHA-256 of all
lines before it. The hash guards against accidents, not against malice: what a plan may
change is checked again, step by step, when it is applied.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from jobctl.core.brakes import Pool, Tally, pool_of
from jobctl.core.lawfulness import PLANNED, why_unlawful
from jobctl.errors import PlanStale, UsageError
from jobctl.model.files import FileIdentity, Tier, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import Action, Held, Kept, PlanHeader, Relied, Verb
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.ops.hold import Hold
from jobctl.ops.new_file import new_file

FORMAT = "jobctl-plan/v1"
# An imported job carries its payload.
_LONGEST_LINE = 1 << 25
_MADE_AGAIN = "nothing was changed; make it anew: the command that made it, with --plan FILE"


@dataclass(slots=True)
class Plan:
    """A finished plan on disk. Iterating reads its actions in order, from the file, flat in memory."""

    file: IO[str]
    header: PlanHeader
    plan_id: str
    counts: dict[Verb, int]
    findings: dict[FindingKind, int]
    is_incomplete: bool = False
    """Whether part of the tree could not be read, so that more may be to do."""
    declined: int = 0
    """How many recoveries are left out because they were taken back before."""
    held: tuple[Held, ...] = ()
    """What brakes hold back: it is in the plan to be seen, and is not applied."""
    kept_count: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[Action]:
        for line in self._lines():
            if line.startswith('{"action":'):
                action = action_from_json(json.loads(line)["action"])
                if not _is_held(action, self.held):
                    yield action

    def kept(self) -> Iterator[Kept]:
        """What a policy looked at and left alone, with the reasons."""
        for line in self._lines():
            if line.startswith('{"kept":'):
                job_id, root_id, path, reason = json.loads(line)["kept"]
                yield Kept(job_id, root_id, from_stored(path), reason)
            elif self.held and line.startswith('{"action":'):
                action = action_from_json(json.loads(line)["action"])
                if _is_held(action, self.held):
                    why = f"held by a brake; else: {action.reason}"
                    yield Kept(action.job_id, action.root_id or "", action.path or "", why)

    def told(self) -> Iterator[Finding]:
        """The findings nothing is done about, with their reasons."""
        for line in self._lines():
            if line.startswith('{"finding":'):
                yield _finding_from_json(json.loads(line)["finding"])

    def save(self, path: str) -> None:
        """Keep the plan as ``path``: whole, or not at all. Raises the errors of ``new_file``."""
        with (
            new_file(path, hint="name another file for the plan") as file,
            open(file.fd, "w", encoding="utf-8", closefd=False) as out,
        ):
            out.writelines(self._lines())

    def close(self) -> None:
        """Let go of the plan's file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lines(self) -> Iterator[str]:
        # A second look at an unlinked file: each reader gets a position of its own.
        with open(f"/proc/self/fd/{self.file.fileno()}", encoding="utf-8") as lines:
            yield from lines


@dataclass(slots=True)
class PlanWriter:
    """Writes a plan line by line while it is being made."""

    header: PlanHeader
    is_incomplete: bool = False
    declined: int = 0
    tallies: dict[Pool, Tally] = field(default_factory=dict)
    """How much a brake would have to judge, by category and root."""
    findings: Counter[FindingKind] = field(default_factory=Counter)
    kept: int = 0
    _steps: int = 0
    _counts: Counter[tuple[Pool, Verb]] = field(default_factory=Counter)
    _hash: Any = field(default_factory=hashlib.sha256)
    _file: IO[str] = field(init=False)

    def __post_init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the plan closes it
        self._write({"format": FORMAT, "header": asdict(self.header)})

    def add(self, action: Action) -> None:
        """Append a step; it is given the next number."""
        self._steps += 1
        action.seq = self._steps
        pool = pool_of(action)
        self._counts[pool, action.verb] += 1
        if action.category is not None:
            self.tallies[pool] = self.tallies.get(pool, Tally()).plus(action)
        self._write({"action": action_to_json(action)})

    def keep(self, kept: Kept) -> None:
        """Append what a policy left alone."""
        self.kept += 1
        self._write({"kept": [kept.job_id, kept.root_id, to_stored(kept.path), kept.reason]})

    def tell(self, finding: Finding) -> None:
        """Append a finding nothing is done about."""
        self.findings[finding.kind] += 1
        self.declined += finding.is_declined
        self._write({"finding": finding_to_json(finding)})

    def finish(self, held: Sequence[Held] = ()) -> Plan:
        """Seal the plan; what brakes hold stays in it and is not applied."""
        counts: Counter[Verb] = Counter()
        for (pool, verb), count in self._counts.items():
            if not _is_pool_held(pool, held):
                counts[verb] += count
        summary = {
            "counts": counts,
            "held": held,
            "kept": self.kept,
            "findings": self.findings,
            "incomplete": self.is_incomplete,
            "declined": self.declined,
        }
        self._write({"summary": summary})
        plan_id = self._hash.hexdigest()
        self._file.write(json.dumps({"plan_id": plan_id}) + "\n")
        self._file.flush()
        return Plan(
            self._file,
            self.header,
            plan_id,
            dict(counts),
            dict(self.findings),
            is_incomplete=self.is_incomplete,
            declined=self.declined,
            held=tuple(held),
            kept_count=self.kept,
        )

    def discard(self) -> None:
        """Throw the unfinished plan away."""
        self._file.close()

    def _write(self, document: dict[str, Any]) -> None:
        line = json.dumps(document, separators=(",", ":")) + "\n"
        self._hash.update(line.encode())
        self._file.write(line)


def header_of(hold: Hold, command: str) -> PlanHeader:
    """The header of a plan on the held roots, made now."""
    site = hold.site
    with site.store.read() as connection:
        now = site.store.now(connection)
    return PlanHeader(
        command=command,
        store_id=site.store.store_id,
        roots={root.root_id: root.marker_generation for root in hold.roots},
        created_at=format_timestamp(now),
        configuration=site.settings.digest(),
    )


def load_plan(path: str) -> Plan:
    """Read a saved plan and check it whole: form, hash and every step.

    Raises ``PlanStale`` where it was altered, torn, or never was a plan.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UsageError(f"{path} is no regular file; nothing was changed", hint="name a saved plan")
        file = open(path, encoding="utf-8")  # noqa: SIM115 - the plan closes it
    except OSError as error:
        raise UsageError(
            f"the plan {path} cannot be read: {error.strerror}", hint="check the file's name"
        ) from None
    try:
        return _checked(path, file)
    except PlanStale:
        file.close()
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        file.close()
        raise PlanStale(f"{path} is not a plan this version of jobctl can apply", hint=_MADE_AGAIN) from None


def _checked(path: str, file: IO[str]) -> Plan:
    """The plan in ``file``, once every line of it holds. Any error it raises says that it is none."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - slow to import

    check_action = TypeAdapter(Action)
    digest = hashlib.sha256()
    first = _line(file)
    digest.update(first.encode())
    if json.loads(first)["format"] != FORMAT:
        raise ValueError(first)
    header = TypeAdapter(PlanHeader).validate_python(json.loads(first)["header"])
    parse_timestamp(header.created_at)
    steps, counts = 0, Counter[tuple[Pool, Verb]]()
    summary: dict[str, Any] | None = None
    while line := _line(file):
        document = json.loads(line)
        if "plan_id" in document:
            if document["plan_id"] != digest.hexdigest() or summary is None or _line(file):
                raise _altered(path)
            return _summed_up(file, header, digest.hexdigest(), counts, summary)
        digest.update(line.encode())
        if "action" in document:
            action = check_action.validate_python(action_from_json(document["action"]))
            steps += 1
            counts[pool_of(action), action.verb] += 1
            _expect_lawful(path, header, action, number=steps)
        summary = document.get("summary", summary)
    raise _altered(path)


def _line(file: IO[str]) -> str:
    """The next line; an endless one is no line of ours."""
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise ValueError("the line is too long")
    return line


def _expect_lawful(path: str, header: PlanHeader, action: Action, *, number: int) -> None:
    refused = why_unlawful(action, command=header.command)
    if action.seq != number:
        refused = f"it is number {action.seq}"
    elif action.root_id is not None and action.root_id not in header.roots:
        refused = "its root is not the plan's"
    if refused:
        raise PlanStale(f"step {number} of the plan {path} is refused: {refused}", hint=_MADE_AGAIN)


def _summed_up(
    file: IO[str],
    header: PlanHeader,
    plan_id: str,
    counts: Counter[tuple[Pool, Verb]],
    summary: dict[str, Any],
) -> Plan:
    is_undo = header.undo_of is not None
    # Only what is not about files needs no root.
    has_place = is_undo or bool(header.roots) == (header.command != "import")
    if is_undo != (header.command == "undo") or header.command not in PLANNED or not has_place:
        raise ValueError("the header fits no plan")
    held = tuple(Held._make(each) for each in summary["held"])
    applied: Counter[Verb] = Counter()
    for (pool, verb), count in counts.items():
        if not _is_pool_held(pool, held):
            applied[verb] += count
    return Plan(
        file,
        header,
        plan_id,
        dict(applied),
        {FindingKind(kind): int(count) for kind, count in summary["findings"].items()},  # type: ignore[call-arg]
        is_incomplete=bool(summary["incomplete"]),
        declined=int(summary["declined"]),
        held=held,
        kept_count=int(summary["kept"]),
    )


def _is_held(action: Action, held: Sequence[Held]) -> bool:
    return bool(held) and _is_pool_held(pool_of(action), held)


def _is_pool_held(pool: Pool, held: Sequence[Held]) -> bool:
    """Whether a brake holds these; one without a root holds its category everywhere."""
    category, root_id = pool
    return any(category == each.category and each.root_id in {"", root_id} for each in held)


def _altered(path: str) -> PlanStale:
    return PlanStale(f"the plan {path} was altered or cut off since it was saved", hint=_MADE_AGAIN)


def action_to_json(action: Action) -> dict[str, Any]:
    """One step as a JSON object; empty fields are left out."""
    document = {name: getattr(action, name) for name in Action.__dataclass_fields__}
    document["path"] = None if action.path is None else to_stored(action.path)
    document["expect_file"] = list(action.expect_file) if action.expect_file else None
    if action.relies_on is not None:
        root_id, path, identity = action.relies_on
        document["relies_on"] = [root_id, to_stored(path), list(identity)]
    return {name: value for name, value in document.items() if value is not None}


def action_from_json(document: dict[str, Any]) -> Action:
    """The step whose JSON form this is. Raises ``ValueError`` or ``TypeError`` on anything else."""
    fields = dict(document)
    fields["verb"] = Verb(fields["verb"])
    if "path" in fields:
        fields["path"] = from_stored(fields["path"])
    if "expect_file" in fields:
        fields["expect_file"] = FileIdentity(*fields["expect_file"])
    if "relies_on" in fields:
        root_id, path, identity = fields["relies_on"]
        fields["relies_on"] = Relied(root_id, from_stored(path), FileIdentity(*identity))
    return Action(**fields)


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """One finding as a JSON object, as ``scan`` prints it."""
    return {
        "finding": finding.kind.value,
        "job_id": finding.job_id,
        "root_id": finding.root_id,
        "path": None if finding.path is None else to_stored(finding.path),
        "verdict": finding.verdict.value if finding.verdict else None,
        "tier": finding.tier.value if finding.tier else None,
        "bytes": finding.size,
        "mtime_ns": finding.mtime_ns,
        "reason": finding.reason,
    }


def _finding_from_json(document: dict[str, Any]) -> Finding:
    return Finding(
        kind=FindingKind(document["finding"]),  # type: ignore[call-arg]
        job_id=document["job_id"],
        reason=document["reason"],
        root_id=document["root_id"],
        path=None if document["path"] is None else from_stored(document["path"]),
        verdict=Verdict(document["verdict"]) if document["verdict"] else None,
        tier=Tier(document["tier"]) if document["tier"] else None,
        size=document["bytes"],
        mtime_ns=document["mtime_ns"],
    )
