"""Small builders for the values that decisions are made on."""

from __future__ import annotations

from typing import Any

from jobctl.core.case import Candidate, Case, Liveness, RootCoverage, World
from jobctl.model.files import Check, FileIdentity, Probe, Role, Seen, Tier, Verdict
from jobctl.model.records import Linked, Record

JOB = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
ROOT = "r00000001"
DAY = 86_400 * 10**9
NOON = 1_762_300_800 * 10**9  # 2025-11-05T00:00:00Z
DEAD = Liveness("dead", "pid 4711 is gone")
ALIVE = Liveness("alive", "pid 4711 runs")
UNKNOWN = Liveness("unknown", "it runs on another host")


def seen(name: str = f"presentation_{JOB}.mp4", role: Role = Role.VIDEO, **changes: Any) -> Seen:
    base = Seen(JOB, ROOT, name, role, 1, abs(hash(name)) % 10**6, 1000, NOON, NOON)
    return base._replace(**changes)


def video(verdict: Verdict = Verdict.WHOLE, **changes: Any) -> Candidate:
    return Candidate(seen(**changes), Check(verdict, Tier.TABLES, f"it is {verdict}"))


def other(role: Role, name: str) -> Candidate:
    return Candidate(seen(name, role), None)


def record(status: str, **changes: Any) -> Record:
    base = Record(
        job_id=JOB,
        status=status,
        version=3,
        progress=75.0,
        error_code=None,
        attempt=1,
        root_id=None,
        created_at="2025-11-04T20:00:00.000000Z",
        started_at="2025-11-04T21:00:00.000000Z",
        completed_at="2025-11-05T00:00:00.000000Z" if status == "completed" else None,
        last_heartbeat="2025-11-04T23:00:00.000000Z",
        updated_at="2025-11-05T00:00:00.000000Z",
        executor=None,
    )
    return base._replace(**changes)


def linked(name: str = f"presentation_{JOB}.mp4", **changes: Any) -> Linked:
    base = Linked(JOB, ROOT, name, "video", "present", 1000, NOON, None, 1)
    return base._replace(**changes)


def world(**changes: Any) -> World:
    base = World(
        coverage={ROOT: RootCoverage(is_visible=True, is_complete=True, is_suspended=False)},
        walk_started_at="2025-11-06T00:00:00.000000Z",
        stale_before="2025-11-05T23:45:00.000000Z",
    )
    return base._replace(**changes)


def case(*files: Candidate, **known: Any) -> Case:
    return Case(JOB, files=files, **known)


def deep(candidate: Candidate, **changes: Any) -> Probe:
    identity = FileIdentity(*candidate.seen[4:])
    base = Probe(
        check=Check(Verdict.WHOLE, Tier.DEMUX, "every packet was read"), identity=identity, sha256="0" * 64
    )
    return base._replace(**changes)
