"""How a scan looks on a terminal: sums first, then examples with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from rich.console import RenderableType

from jobctl.durations import took_said
from jobctl.model.amounts import counted
from jobctl.model.finding import FindingKind
from jobctl.model.timestamps import from_epoch_ns
from jobctl.report.columns import Column
from jobctl.report.digest import CALM_KINDS, Digest
from jobctl.report.screen import Example, Place, line, section, spaced, table, told
from jobctl.report.units import age_of, size_shown

_CLOCK_SLACK = timedelta(hours=1)


class Extent(NamedTuple):
    """What a scan looked at. ``roots`` maps root id to path; ``seconds`` is how long it took."""

    files: int
    total_bytes: int
    records: int
    roots: Mapping[str, str]
    seconds: float


def scan_screen(
    digest: Digest, extent: Extent, *, now: datetime, width: int, nothing: str, place: Place
) -> Iterator[RenderableType]:
    """What a scan found, and what mends it; ``nothing`` is said of no finding."""
    return spaced(_blocks(digest, extent, now, width, nothing, place))


def _blocks(  # noqa: PLR0917 - what scan_screen was given
    digest: Digest, extent: Extent, now: datetime, width: int, nothing: str, place: Place
) -> Iterator[RenderableType]:
    yield line(
        f"Compared {counted(extent.files, 'file')} ({size_shown(extent.total_bytes)}) with "
        f"{counted(extent.records, 'record')} in {took_said(extent.seconds)}."
    )
    if not digest.counts:
        yield line(nothing)
        return
    yield table(_sums(digest, now), digest.kinds, width)
    for kind in digest.kinds:
        if kind not in CALM_KINDS or digest.is_narrow:
            examples = list(_examples(digest, kind, extent.roots, now))
            yield section(kind.value, kind.meaning, examples, place(_more(digest, kind)))
    if digest.acts or digest.declined:
        next_step = "jobctl recover" if digest.acts else "jobctl recover --include-declined"
        yield told(place(f"Next: {next_step}"))


def subject(job_id: str | None, root_id: str | None, path: str | None, roots: Mapping[str, str]) -> str:
    """What a row is about: its file, or its job; the root is named where there are several."""
    if path is None:
        return job_id or ""
    return f"{root_id}:{path}" if len(roots) > 1 else path


def _sums(digest: Digest, now: datetime) -> list[Column[FindingKind]]:
    return [
        Column(name="finding", value=lambda kind: kind.value),
        Column(name="count", value=lambda kind: f"{digest.counts[kind]:,}", is_number=True),
        Column(name="size", value=lambda kind: size_shown(digest.sizes[kind] or None), is_number=True),
        Column(name="oldest", value=lambda kind: _age(digest.oldest_mtime_ns.get(kind), now), is_number=True),
        Column(name="meaning", value=lambda kind: kind.meaning, may_wrap=True),
    ]


def _examples(
    digest: Digest, kind: FindingKind, roots: Mapping[str, str], now: datetime
) -> Iterator[Example]:
    for finding in digest.examples[kind]:
        about = subject(finding.job_id, finding.root_id, finding.path, roots)
        yield Example(about, finding.reason, (size_shown(finding.size), _age(finding.mtime_ns, now)))


def _more(digest: Digest, kind: FindingKind) -> str:
    rest = digest.counts[kind] - len(digest.examples[kind])
    if not rest:
        return ""
    all_of_it = (
        "send the output through a pipe" if digest.is_narrow else f"jobctl scan --finding {kind.value}"
    )
    return f"… {rest:,} more: {all_of_it}"


def _age(mtime_ns: int | None, now: datetime) -> str:
    """A file's age; empty where its time stamp is none that a clock could have shown."""
    if mtime_ns is None:
        return ""
    try:
        written_at = from_epoch_ns(mtime_ns)
    except OverflowError:
        return ""
    return age_of(written_at, now) if written_at < now + _CLOCK_SLACK else ""
