"""How plans and runs look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType

from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.plan import MOVES, Action, Outcome, Verb
from jobctl.model.quarantine import Entry
from jobctl.report.backup_screen import put_back_pairs
from jobctl.report.digest import CALM_KINDS
from jobctl.report.listings import KeptLine, Step
from jobctl.report.screen import Example, Place, line, pairs, section, spaced, told
from jobctl.report.units import local_time, size_shown

_EXAMPLES = 5

_MEANING = {
    Verb.CREATE: "make the record of a job that has none",
    Verb.COMPLETE: "complete a record whose video is whole",
    Verb.FAIL: "fail a job whose executor is proven dead",
    Verb.LINK: "add a file to the record of its job",
    Verb.NOTE_MISSING: "note that a file is gone; the status stays",
    Verb.IMPORT: "record a job from a dump",
    Verb.REQUEUE: "give a job whose worker is dead another try",
    Verb.EXPIRE: "end a job for good; its record stays as a tombstone",
    Verb.QUARANTINE: "move a file into quarantine, from where it can be given back",
    Verb.FORGET: "remove a record that the run made",
    Verb.REVERT: "put a record back as it was",
    Verb.UNLINK: "take a file off its record; the file stays",
    Verb.UNNOTE: "take back that a file is gone",
    Verb.RESTORE: "give a file back to where it was",
    Verb.PURGE: "remove a file for good: this cannot be taken back",
}


@dataclass(slots=True)
class PlanDigest:
    """A plan's steps by verb and its findings by kind, with the first few of each."""

    counts: Mapping[Verb, int]
    findings: Mapping[FindingKind, int]
    steps: dict[Verb, list[Action]] = field(default_factory=dict)
    told: dict[FindingKind, list[Finding]] = field(default_factory=dict)

    @property
    def is_cut(self) -> bool:
        """Whether there are steps that are no examples."""
        return sum(self.counts.values()) > sum(map(len, self.steps.values()))


_WHAT_BECOMES = {FindingKind.DUPLICATE: "each keeps its own record"}


def digest_plan(
    actions: Iterable[Action],
    told: Iterable[Finding],
    *,
    counts: Mapping[Verb, int],
    findings: Mapping[FindingKind, int],
) -> PlanDigest:
    """Read a plan for the screen, no further than its examples need."""
    digest = PlanDigest(counts, findings)
    wanted_steps = sum(min(count, _EXAMPLES) for count in counts.values())
    for action in actions:
        wanted_steps -= _keep(digest.steps, action.verb, action)
        if wanted_steps == 0:
            break
    wanted_findings = sum(min(count, _EXAMPLES) for kind, count in findings.items() if kind not in CALM_KINDS)
    for finding in told if wanted_findings else ():
        if finding.kind not in CALM_KINDS:
            wanted_findings -= _keep(digest.told, finding.kind, finding)
        if wanted_findings == 0:
            break
    return digest


def plan_screen(digest: PlanDigest, place: Place) -> Iterator[RenderableType]:
    """What a plan would do, verb by verb, and what it leaves alone."""
    return spaced(_plan_blocks(digest, place))


def report_screen(
    *, run_id: str, counts: Mapping[str, int], faults: Sequence[Step], undo_command: str | None, place: Place
) -> Iterator[RenderableType]:
    """What became of a plan: counts, the first steps that were not done, and how to take it back."""
    return spaced(_report_blocks(run_id, counts, faults, undo_command, place))


def run_screen(run: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Who applied what, when, and with what result; ``run`` as ``run_item`` has it."""
    put_back = run.get("restored")
    result = [("steps", f"{run['actions']:,}: {counts_shown(run['counts'])}")]
    yield pairs(
        [
            ("run", run["run_id"]),
            ("command", run["command"]),
            ("state", run["state"]),
            ("by", f"{run['actor']} on {run['host']}"),
            ("started", local_time(run["started_at"])),
            ("finished", local_time(run["finished_at"])),
            ("undo of", run["undo_of"] or ""),
            *(result if put_back is None else put_back_pairs(put_back)),
            ("exit code", "" if run["exit_code"] is None else str(run["exit_code"])),
        ]
    )
    yield line()


def entry_screen(entry: Entry) -> Iterator[RenderableType]:
    """One file in quarantine, and where it came from."""
    age = "" if entry.age is None else f", {age_said(entry.age.total_seconds())} ago"
    yield pairs(
        [
            ("entry", f"{entry.run_id}/{entry.action}"),
            ("state", entry.whereabouts.value),
            ("path", entry.path),
            ("root", entry.root_id),
            ("job", entry.job_id or ""),
            ("role", entry.role or ""),
            ("size", size_shown(entry.identity.size)),
            ("moved", f"{local_time(entry.at)}{age}"),
            ("reason", entry.reason),
            ("mode", f"{entry.mode:04o}, owner {entry.uid}:{entry.gid}"),
            ("sha256", entry.sha256 or ""),
            ("note", entry.note or ""),
        ]
    )


def counts_shown(counts: Mapping[str, int]) -> str:
    """Write ``1,180 done, 2 skipped``: what there was, the steps done first."""
    outcomes = [outcome.value for outcome in Outcome if counts.get(outcome.value)]
    return ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in outcomes) or "nothing to do"


def _report_blocks(
    run_id: str, counts: Mapping[str, int], faults: Sequence[Step], undo_command: str | None, place: Place
) -> Iterator[RenderableType]:
    yield line("Run ", (run_id, "bold"), f": {counts_shown(counts)}.")
    for outcome in (Outcome.FAILED, Outcome.CONFLICT, Outcome.SKIPPED):
        found = [step for step in faults if step.outcome is outcome]
        if found:
            examples = [Example(_about(step.action), step.note or step.action.reason) for step in found]
            rest = counts.get(outcome.value, 0) - len(found)
            more = f"… {rest:,} more: jobctl run show {run_id} --result {outcome.value}" if rest > 0 else ""
            yield section(outcome.value, "", examples, place(more))
    if undo_command:
        yield told(place(f"To take it back: {undo_command}"))


def _plan_blocks(digest: PlanDigest, place: Place) -> Iterator[RenderableType]:
    yield line((f"Plan: {counted(sum(digest.counts.values()), 'step')}", "bold"))
    for verb in Verb:
        if digest.counts.get(verb):
            yield _verb_section(digest, verb)
    for kind, findings in digest.told.items():
        yield _told_section(kind, findings, digest.findings[kind], place)
    calm = [f"{count:,} {kind.value}" for kind, count in digest.findings.items() if kind in CALM_KINDS]
    if calm:
        yield line(f"Left alone as well: {', '.join(calm)}.")


def _verb_section(digest: PlanDigest, verb: Verb) -> RenderableType:
    shown = digest.steps.get(verb, [])
    examples = [Example(_about(action), action.reason, (_change(action),)) for action in shown]
    count = digest.counts[verb]
    rest = count - len(shown)
    more = f"… {rest:,} more" if rest else ""
    return section(f"{verb.value} {count:,}", _MEANING[verb], examples, more)


def _told_section(kind: FindingKind, findings: Sequence[Finding], count: int, place: Place) -> RenderableType:
    examples = [Example(finding.path or finding.job_id or "", finding.reason) for finding in findings]
    rest = count - len(findings)
    more = place(f"… {rest:,} more: jobctl scan --finding {kind.value}") if rest else ""
    return section(
        f"{kind.value} {count:,}", f"{kind.meaning}: {_WHAT_BECOMES.get(kind, 'left alone')}", examples, more
    )


def _about(action: Action | KeptLine) -> str:
    return action.path or action.job_id


def _change(action: Action) -> str:
    if action.verb in MOVES:
        return size_shown(action.expect_file.size) if action.expect_file else ""
    if action.to_status is None:
        return ""
    return f"{action.from_status} → {action.to_status}" if action.from_status else action.to_status


def _keep(kept: dict[Any, list[Any]], key: Any, row: Any) -> int:
    """Keep a row if it is among the first; say how many were kept."""
    rows = kept.setdefault(key, [])
    if len(rows) >= _EXAMPLES:
        return 0
    rows.append(row)
    return 1
