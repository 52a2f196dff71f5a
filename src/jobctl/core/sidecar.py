"""Sidecars: what a JSON file beside a video says of its job. Pure.

jobctl's own (``jobctl-sidecar/v1``) is written by ``publish`` as ``<video>.json``. Those of
others are read by a mapping of job fields to the places in their JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

from jobctl.core.foreign import is_no_moment_yet, moment_text
from jobctl.model.evidence import Fact, Trust
from jobctl.model.files import Probe, Seen
from jobctl.model.storable import storable_text
from jobctl.source import SIDECAR_FIELDS

SCHEMA = "jobctl-sidecar/v1"
SOURCE = "sidecar"
_VOUCHING = ("job_id", "size", "sha256")
_MOMENTS = frozenset({"created_at", "started_at", "completed_at"})
_TEXTS = frozenset({"owner", "title"})
_LONGEST_TEXT, _LONGEST_ID = 1_000, 200
_SHA256 = re.compile("[0-9a-f]{64}")


class SidecarSays(NamedTuple):
    """The facts of a sidecar; ``conflict`` says why neither it nor its video may be believed."""

    facts: list[Fact]
    conflict: str | None = None


def own_document(job_id: str, *, size: int, sha256: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What ``publish`` writes beside a video. Raises ``ValueError`` for a fact that no sidecar can tell."""
    for name, value in facts.items():
        if name in _VOUCHING or name not in SIDECAR_FIELDS or _understood(name, value) is None:
            raise ValueError(f"no sidecar can tell that {name} is {value!r}")
    return {"schema": SCHEMA, "job_id": job_id, "size": size, "sha256": sha256, **facts}


def fields_of(document: Mapping[str, Any], mapping: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The fields a sidecar tells, by its own schema or by a mapping of field to keys.

    Raises ``ValueError`` saying what is wrong with it.
    """
    if document.get("schema") == SCHEMA:
        unknown = sorted(document.keys() - {"schema", *SIDECAR_FIELDS})
        if unknown:
            raise ValueError(f"it has the unknown field {unknown[0]!r}")
        found = {name: document[name] for name in SIDECAR_FIELDS if name in document}
    else:
        found = {name: _followed(document, keys) for name, keys in mapping.items()}
    fields = {}
    for name, value in found.items():
        if value is not None and not is_no_moment_yet(value):
            fields[name] = _understood(name, value)
            if fields[name] is None:
                shown = f" {str(value)[:60]!r}" if isinstance(value, str | float) else ""
                raise ValueError(f"its {name}{shown} is not understood")
    return fields


def facts_of_sidecar(
    job_id: str, fields: Mapping[str, Any], *, where: str, video: Seen, probe: Probe
) -> SidecarSays:
    """What the fields of a sidecar come to beside its video: trusted as far as they agree with its bytes."""
    named = fields.get("job_id", job_id)
    if named != job_id:
        return SidecarSays([], f"its sidecar is of job {named} ({where})")
    if fields.get("size", video.size) != video.size:
        return SidecarSays([], f"{video.size:,} bytes, its sidecar says {fields['size']} ({where})")
    if "sha256" in fields and probe.sha256 is not None and fields["sha256"] != probe.sha256:
        return SidecarSays([], f"its bytes are not those its sidecar vouches for ({where})")
    trust = _trust(fields, probe)
    return SidecarSays(list(_facts(job_id, fields, where, trust)))


def _facts(job_id: str, fields: Mapping[str, Any], where: str, trust: Trust) -> Iterator[Fact]:
    if trust is Trust.STAMP:
        yield Fact(job_id, "status", "completed", SOURCE, where, trust, "it vouches for the video's bytes")
    for name, value in fields.items():
        if name not in _VOUCHING:
            yield Fact(job_id, name, value, SOURCE, where, trust)


def _trust(fields: Mapping[str, Any], probe: Probe) -> Trust:
    if "sha256" in fields and probe.sha256 is not None:
        return Trust.STAMP
    return Trust.SIDECAR if "size" in fields else Trust.NAME_AND_FILE


def _understood(name: str, value: Any) -> Any:
    if name in _MOMENTS:
        return moment_text(value, UTC)
    if name in _TEXTS:
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        return storable_text(text) if text.strip() and len(text) <= _LONGEST_TEXT else None
    if name == "size":
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
    if not isinstance(value, str):
        return None
    is_sound = len(value) <= _LONGEST_ID if name == "job_id" else _SHA256.fullmatch(value)
    return value if is_sound else None


def _followed(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
