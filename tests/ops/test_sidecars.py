"""Sidecars: what a JSON file beside a video adds, trusted as far as it agrees with the video's bytes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobctl import publish
from jobctl.errors import JobctlError, SidecarUnusable
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.job import Confidence
from jobctl.ops.hold import hold_roots
from jobctl.ops.recover import plan_recover
from ops.world import World, a_job_id, set_age

FACTS = {"owner": "ada", "title": "Quarterly figures", "created_at": "2026-01-31T10:00:00+01:00"}


def beside(world: World, video: Path, document: Any) -> Path:
    sidecar = video.with_name(f"{video.name}.json")
    sidecar.write_text(document if isinstance(document, str) else json.dumps(document))
    set_age(sidecar, 7_200)
    return sidecar


def ours(video: Path, **changes: Any) -> dict[str, Any]:
    content = video.read_bytes()
    vouched = {"job_id": a_job_id(), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"schema": "jobctl-sidecar/v1", **vouched, **FACTS, **changes}


def troubles_of(world: World) -> tuple[list[JobctlError], int]:
    troubles: list[JobctlError] = []
    with (
        world.site() as site,
        hold_roots(site, command="recover") as hold,
        plan_recover(hold, troubles=troubles) as plan,
    ):
        return troubles, plan.total


def test_a_published_sidecar_brings_back_owner_and_creation_time(world: World) -> None:
    video = world.video()
    finished = video.with_name(".finished.part")
    video.rename(finished)
    publish(finished, video, job_id=a_job_id(), sidecar=FACTS)
    for path in (video, video.with_name(f"{video.name}.json")):
        set_age(path, 7_200)
    world.recover()
    job = world.job()
    assert (job.owner, job.confidence) == ("ada", Confidence.CERTAIN)
    assert job.created_at is not None
    assert job.created_at.isoformat() == "2026-01-31T09:00:00+00:00"
    assert job.provenance is not None
    assert (job.provenance["owner"]["source"], job.provenance["owner"]["trust"]) == ("sidecar", "E4")
    assert job.provenance["title"]["value"] == "Quarterly figures"


def test_a_sidecar_without_a_video_is_told_as_lost(world: World) -> None:
    beside(world, world.root / f"presentation_{a_job_id()}.mp4", {"schema": "jobctl-sidecar/v1"})
    (finding,) = world.scan()
    assert (finding.kind, finding.acts) == (Kind.LOST, False)


@pytest.mark.parametrize(("left_out", "trust"), [((), "E4"), (("sha256",), "E3"), (("sha256", "size"), "E1")])
def test_trust_goes_as_far_as_the_bytes_agree(world: World, left_out: tuple[str, ...], trust: str) -> None:
    video = world.video()
    beside(world, video, {name: value for name, value in ours(video).items() if name not in left_out})
    world.recover()
    provenance = world.job().provenance
    assert provenance is not None
    assert provenance["owner"]["trust"] == trust


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"job_id": a_job_id(9)}, "its sidecar is of job"),
        ({"size": 3}, "its sidecar says 3"),
        ({"sha256": "0" * 64}, "not those its sidecar vouches for"),
    ],
)
def test_a_sidecar_that_contradicts_its_video_is_a_conflict(
    world: World, changes: dict[str, Any], said: str
) -> None:
    video = world.video()
    beside(world, video, ours(video, **changes))
    plan = world.plan()
    (told,) = plan.told()
    assert (plan.total, told.kind) == (0, Kind.CONFLICT)
    assert said in told.reason


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is no JSON object"),
        ({"schema": "jobctl-sidecar/v1", "colour": 1}, "unknown field 'colour'"),
        ({"schema": "jobctl-sidecar/v1", "size": "big"}, "its size 'big' is not understood"),
        ({"schema": "jobctl-sidecar/v1", "created_at": 10**400}, "its created_at is not understood"),
        ({"schema": "jobctl-sidecar/v1", "created_at": "9999-12-31T23:59:59Z"}, "its created_at '9999"),
        ('{"schema": "jobctl-sidecar/v1", "owner": ' + "[" * 900 + "]" * 900 + "}", "its owner is not"),
        ({"schema": "jobctl-sidecar/v1", "job_id": "x" * 201}, "its job_id 'xxx"),
        ({"schema": "jobctl-sidecar/v1", "created_at": "yesterday"}, "its created_at 'yesterday'"),
        ("x" * (1 << 20) + "x", "larger than 1 MiB"),
    ],
)
def test_a_broken_sidecar_is_told_and_its_video_recovered_without_it(
    world: World, document: Any, said: str
) -> None:
    beside(world, world.video(), document)
    troubles, planned = troubles_of(world)
    assert [type(trouble) for trouble in troubles] == [SidecarUnusable]
    assert said in troubles[0].message
    assert planned == 2  # the video, and the link of the file that is no sidecar


def test_a_sidecar_that_leads_out_of_the_root_is_not_read(world: World, tmp_path: Path) -> None:
    video = world.video()
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(ours(video)))
    os.symlink(outside, video.with_name(f"{video.name}.json"))
    world.recover()
    assert world.job().owner is None


def test_sidecars_of_others_are_read_by_a_mapping(world: World) -> None:
    world.changes["sidecar"] = {"owner": ("request", "user"), "created_at": ("requestedAt",)}
    video = world.video()
    beside(world, video, {"request": {"user": 17}, "requestedAt": "2026-01-31T10:00:00Z", "more": [1]})
    world.recover()
    job = world.job()
    assert job.owner == "17"
    assert job.provenance is not None
    assert job.provenance["owner"]["trust"] == "E1"


def test_the_request_of_a_job_is_read_by_the_mapping_too(world: World) -> None:
    world.changes["sidecar"] = {"owner": ("userId",)}
    world.video()
    world.file(f"temp/remotion_input_{a_job_id()}.json", b'{"userId": "ada", "slides": [1, 2]}')
    world.recover()
    job = world.job()
    assert job.owner == "ada"
    assert job.provenance is not None
    assert job.provenance["owner"]["locator"].endswith(f"temp/remotion_input_{a_job_id()}.json")


def test_two_sources_that_disagree_on_the_owner_leave_it_empty(world: World) -> None:
    video = world.video()
    beside(world, video, ours(video))
    second = ours(video, owner="eve")
    (world.root / "copy").mkdir()
    copy = world.root / "copy" / f"{video.name}.json"
    copy.write_text(json.dumps(second))
    plan = world.plan()
    assert [finding.reason.partition(":")[0] for finding in plan.told()] == ["owner"]
    world.apply(plan)
    job = world.job()
    assert job.owner is None
    assert job.provenance is not None
    assert job.provenance["owner"]["conflict"] is True


def test_texts_that_no_database_holds_are_written_out(world: World) -> None:
    video = world.video()
    beside(world, video, ours(video, owner="a\0b", title="\ud800"))
    world.recover()
    assert (world.job().owner or "").startswith("a")


def test_publish_refuses_facts_that_no_sidecar_can_tell(world: World) -> None:
    video = world.video()
    finished = video.with_name(".finished.part")
    video.rename(finished)
    for facts in ({"sha256": "0" * 64}, {"owner": ""}, {"created_at": "yesterday"}):
        with pytest.raises(ValueError, match="no sidecar can tell"):
            publish(finished, video, job_id=a_job_id(), sidecar=facts)
    assert finished.exists()
    assert not video.exists()
