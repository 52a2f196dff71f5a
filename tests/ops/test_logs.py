"""Logs and recover: what a day's log knows comes back, once, whatever the order it is read in."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import demo_tree
import log_day
from cli.calling import PROGRAM
from jobctl.errors import ExitCode, Locked, LogUnreadable
from jobctl.evidence.executor import current_executor
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.job import Executor, Origin
from jobctl.model.status import Status
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.explain import explain
from jobctl.ops.hold import held_lock
from jobctl.ops.ingest import IngestReport, ingest
from jobctl.ops.logs import forget_log, list_logs
from jobctl.store import evidence, jobs, roots
from ops.world import World, a_job_id

ELSEWHERE = Executor("host-b", "boot", 1, 1)


def read(world: World, *paths: Path) -> IngestReport:
    with world.site() as site:
        return ingest(site, [str(path) for path in paths], zone=UTC)


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def created(number: int = 0) -> str:
    return f"INFO:svc:Created presentation job: {a_job_id(number)}"


def beat(at: datetime, progress: float = 45, number: int = 0) -> list[str]:
    return [
        f"INFO:svc:[HEARTBEAT] Job {a_job_id(number)}: status=processing, progress={progress}%",
        f"INFO:svc:[HEARTBEAT] Keeping connection alive - {at.replace(tzinfo=None).isoformat()}",
    ]


BOOT = "INFO:     Started server process [1]"


def test_a_day_with_three_restarts_comes_back_whole(world: World, tmp_path: Path) -> None:
    day = log_day.damage(log_day.simulate())
    log = tmp_path / "day.log"
    log.write_bytes(day.text())
    demo_tree.encode(tmp_path / "one.mp4", seed=1, frames=4, size=(64, 48))
    for number, truth in enumerate(day.jobs.values()):
        if truth.outcome == "completed":
            copy = world.root / f"presentation_{truth.job_id}.mp4"
            shutil.copy(tmp_path / "one.mp4", copy)
            with open(copy, "ab") as file:
                file.write(b"\0\0\0\x10free" + number.to_bytes(8, "big"))
            os.utime(copy, (truth.ended_at.timestamp(), truth.ended_at.timestamp()))  # type: ignore[union-attr]
    read(world, log)
    report = world.recover()
    assert (report.exit_code, report.counts["done"]) == (ExitCode.CLEAN, 300)
    assert world.job_ids() == set(day.jobs)
    lost_in: Counter[str] = Counter()
    with world.site() as site, site.store.read() as connection:
        for truth in day.jobs.values():
            job = jobs.get_job(connection, truth.job_id)
            expect_the_truth(job, truth)
            lost_in[job.provenance["lost_in"]["value"].partition(" of ")[0]] += 1  # type: ignore[index]
    assert lost_in == {"restart 1": 100, "restart 2": 80, "restart 3": 120}


def expect_the_truth(job: Any, truth: log_day.Truth) -> None:
    is_completed = truth.outcome == "completed"
    assert job.status is (Status.COMPLETED if is_completed else Status.FAILED)
    assert job.origin is Origin.RECOVERED
    assert job.error_code == ("interrupted" if truth.outcome == "interrupted" else None)
    assert job.owner is None
    assert timedelta(0) <= job.created_at - truth.created_at < timedelta(seconds=1)
    assert job.provenance["lost_in"]["value"].startswith(f"restart {truth.life} ")
    if is_completed:
        assert job.completed_at == parse_timestamp(f"{truth.completion_time}+00:00")
    elif truth.progress is not None:
        assert job.progress == pytest.approx(truth.progress, abs=5)  # its last line may be a torn one
    if truth.outcome == "failed":
        assert job.error.startswith(f"{truth.reason}\nTraceback")
        assert "secret" not in job.error


def decisions(world: World) -> list[tuple[Any, ...]]:
    """What a plan would do, without the places where its evidence stands."""
    found = []
    for action in world.plan():
        after = action.job_after or {}
        named = re.sub(r"\(.*?\)", "", after.get("error") or "").replace("day.log", "")
        fields = (
            after.get(name) for name in ("status", "progress", "created_at", "started_at", "last_heartbeat")
        )
        found.append((action.verb, action.job_id, named, *fields))
    return sorted(found, key=repr)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_log_split_packed_shuffled_or_twice_gives_the_same_plan(
    world: World, tmp_path: Path, seed: int
) -> None:
    day = log_day.damage(log_day.simulate(seed, losses=(6, 4, 7), noise=2), seed)
    whole = tmp_path / "day.log"
    whole.write_bytes(day.text())
    other = World(str(tmp_path / "other.db"), tmp_path / "other")
    other.init()
    read(other, whole)
    expected = decisions(other)
    other.close()
    assert len(expected) == sum(truth.outcome != "completed" for truth in day.jobs.values())

    choose, text = random.Random(seed), day.text()
    cuts = sorted(choose.sample(range(len(text)), 3))
    cuts = [text.rindex(b"\n", 0, max(cut, 5_000)) + 1 for cut in cuts]
    parts = []
    for number, (low, high) in enumerate(zip([0, *cuts], [*cuts, len(text)], strict=True)):
        name = f"split/day.log.{3 - number}" if number < 3 else "split/day.log"
        part = tmp_path / (f"{name}.gz" if number % 2 else name)
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(gzip.compress(text[low:high]) if number % 2 else text[low:high])
        parts.append(part)
    choose.shuffle(parts)
    read(world, *parts)
    assert decisions(world) == expected
    assert sum(log.bytes for log in read(world, *reversed(parts)).logs) == 0
    assert decisions(world) == expected


def test_a_file_seen_twice_counts_once_whatever_it_is_called(world: World, tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", created(), *beat(datetime(2026, 1, 1)))
    assert [part.lines for part in read(world, log).logs] == [3]
    packed = tmp_path / "copy.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    assert [part.lines for part in read(world, packed, log).logs] == [0, 0]
    with world.site() as site:
        assert [len(state.parts) for state in list_logs(site)] == [1]


def test_two_servers_whose_logs_begin_alike_stay_two(world: World, tmp_path: Path) -> None:
    beginning = [BOOT, "INFO:     Waiting for application startup."] * 100
    ours, theirs = write(tmp_path / "a.log", *beginning), write(tmp_path / "b.log", *beginning)
    read(world, ours, theirs)
    write(ours, *beginning, created(0))
    write(theirs, *beginning, created(1), BOOT)
    read(world, ours, theirs)
    kinds = {finding.job_id: finding.kind for finding in world.scan()}
    assert kinds == {a_job_id(0): Kind.LOST, a_job_id(1): Kind.INTERRUPTED}


def test_a_log_cut_off_in_place_goes_on_as_a_new_part(world: World, tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", created(0), *beat(datetime(2026, 1, 1)))
    read(world, log)
    write(log, BOOT)
    read(world, log)
    (finding,) = world.scan()
    assert finding.kind is Kind.INTERRUPTED


def test_reading_goes_on_where_it_stopped_also_after_rotation(world: World, tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", created(), *beat(datetime(2026, 1, 1)))
    read(world, log)
    with log.open("a") as file:
        file.write(f"{created(1)}\n")
    assert [part.lines for part in read(world, log).logs] == [1]
    log.rename(tmp_path / "app.log.1")
    write(log, BOOT, created(2))
    assert [part.lines for part in read(world, tmp_path / "app.log.1", log).logs] == [0, 2]
    found = {finding.job_id: finding for finding in world.scan()}
    assert found[a_job_id(0)].kind is found[a_job_id(1)].kind is Kind.INTERRUPTED
    assert found[a_job_id(0)].reason.startswith("interrupted at 45 % by restart 1 of app.log (")
    assert found[a_job_id(2)].kind is Kind.LOST
    assert "the log does not tell its end" in found[a_job_id(2)].reason


def test_pieces_with_any_names_are_joined_by_the_jobs_at_work(world: World, tmp_path: Path) -> None:
    first = write(tmp_path / "xaa", created(), created(1), *beat(datetime(2026, 1, 1)))
    second = write(tmp_path / "xab", *beat(datetime(2026, 1, 1, 0, 1), 60), BOOT)
    read(world, second)
    read(world, first)
    reasons = {finding.job_id: finding.reason for finding in world.scan()}
    assert reasons[a_job_id(0)].startswith("interrupted at 60 % by restart 1 of xab")
    assert reasons[a_job_id(1)].startswith("interrupted by restart 1 of xab")


def test_another_servers_restart_says_nothing_of_this_ones_jobs(world: World, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a" / "app.log", tmp_path / "b" / "app.log"
    for path in (ours, theirs):
        path.parent.mkdir()
    write(ours, created(0))
    write(theirs, created(1), BOOT)
    read(world, ours, theirs)
    kinds = {finding.job_id: finding.kind for finding in world.scan()}
    assert kinds == {a_job_id(0): Kind.LOST, a_job_id(1): Kind.INTERRUPTED}


def test_a_boot_in_the_log_proves_the_death_of_a_recorded_jobs_executor(world: World, tmp_path: Path) -> None:
    world.start_job(0, executor=ELSEWHERE)
    seen = world_clock(world)
    read(world, write(tmp_path / "app.log", created(), *beat(seen), BOOT))
    (finding,) = world.scan()
    assert (finding.kind, finding.acts) == (Kind.INTERRUPTED, True)
    world.recover()
    job = world.job()
    assert (job.status, job.error_code, job.owner) == (Status.FAILED, "interrupted", "ada")
    assert "restart 1 of app.log" in (job.error or "")


def test_an_older_boot_proves_nothing_of_a_later_attempt(world: World, tmp_path: Path) -> None:
    read(world, write(tmp_path / "app.log", created(), *beat(world_clock(world) - timedelta(hours=5)), BOOT))
    world.start_job(0, executor=ELSEWHERE)
    assert [finding.kind for finding in world.scan()] == [Kind.ZOMBIE]


def test_a_living_executor_is_not_declared_dead_by_a_log(world: World, tmp_path: Path) -> None:
    world.start_job(0, executor=current_executor(world.host))
    read(world, write(tmp_path / "app.log", created(), *beat(world_clock(world)), BOOT))
    assert not [finding for finding in world.scan() if finding.acts]


def world_clock(world: World) -> datetime:
    with world.site() as site, site.store.read() as connection:
        return site.store.now(connection)


def test_a_whole_video_decides_over_a_log_that_does_not_know_its_end(world: World, tmp_path: Path) -> None:
    world.video(0)
    read(world, write(tmp_path / "app.log", created(), *beat(datetime(2026, 1, 1)), BOOT))
    world.recover()
    job = world.job()
    assert (job.status, job.progress, job.error) == (Status.COMPLETED, 100.0, None)
    assert job.provenance is not None
    assert job.provenance["created_at"]["source"] == "log"


def test_a_whole_video_of_a_job_that_failed_is_a_conflict(world: World, tmp_path: Path) -> None:
    world.video(0)
    read(
        world, write(tmp_path / "app.log", created(), f"ERROR:svc:Presentation {a_job_id(0)} failed: no luck")
    )
    assert [finding.kind for finding in world.scan()] == [Kind.CONFLICT]
    assert world.recover().counts["planned"] == 0


def test_a_job_that_completed_but_whose_video_is_gone_is_told_not_made(world: World, tmp_path: Path) -> None:
    read(world, write(tmp_path / "app.log", f"INFO:svc:Presentation {a_job_id(0)} completed successfully"))
    (finding,) = world.scan()
    assert (finding.kind, finding.acts) == (Kind.LOST, False)
    assert finding.reason == "the log says that it completed; neither video nor record"


def test_undo_of_a_record_made_from_a_log_is_honoured(world: World, tmp_path: Path) -> None:
    read(world, write(tmp_path / "app.log", created(), BOOT))
    report = world.recover()
    assert world.job().status is Status.FAILED
    world.undo(report.run_id)
    assert world.job_ids() == set()
    (finding,) = world.scan()
    assert (finding.acts, finding.is_declined) == (False, True)
    assert world.recover().counts["planned"] == 0
    assert world.recover(include_declined=True).counts["done"] == 1


def test_no_record_is_made_while_its_video_may_exist_elsewhere(world: World, tmp_path: Path) -> None:
    read(world, write(tmp_path / "app.log", created(), BOOT))
    with world.site() as site, site.store.write() as connection:
        place = {"path": "/elsewhere", "layout": "presentations", "host": "host-b"}
        roots.add_root(connection, root_id="r00000099", at=site.store.now(connection), **place)
    (finding,) = world.scan()
    assert not finding.acts
    assert "cannot be seen from this host" in finding.reason


def test_what_cannot_be_read_is_told_and_the_rest_is_read(world: World, tmp_path: Path) -> None:
    binary = tmp_path / "core.log"
    binary.write_bytes(os.urandom(5_000))
    torn = tmp_path / "torn.log.gz"
    torn.write_bytes(gzip.compress(f"{created(1)}\n".encode() * 50)[:-9])
    good = write(tmp_path / "good.log", created())
    report = read(world, binary, tmp_path / "gone.log", torn, good)
    assert [type(error) for error in report.errors] == [LogUnreadable] * 3
    assert {finding.job_id for finding in world.scan()} == {a_job_id(0), a_job_id(1)}


def test_a_log_that_another_run_reads_is_left_to_it(world: World, tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", created())
    read(world, log)
    with log.open("a") as file:
        file.write(f"{created(1)}\n")
    with world.site() as site:
        (state,) = list_logs(site)
        with held_lock(site, f"log:{state.log_id}", command="evidence ingest"):
            report = read(world, log)
    assert [type(error) for error in report.errors] == [Locked]


def test_hostile_names_and_texts_are_kept_on_both_databases(world: World, tmp_path: Path) -> None:
    log = tmp_path / os.fsdecode(b"caf\xe9 \x1b[31m.log")
    reason = b"no \x00 \xff \xed\xa0\x80 \x1b[31m luck"
    log.write_bytes(f"ERROR:svc:Presentation {a_job_id(0)} failed: ".encode() + reason + b"\0\0\n")
    read(world, log)
    world.recover()
    job = world.job()
    assert job.error is not None
    assert job.error.startswith("no ")
    assert job.error.endswith("luck")
    assert "\0" not in job.error


def test_a_forgotten_log_can_be_read_again(world: World, tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", f"api-1  | {created()}", f"api-1  | {BOOT}")
    read(world, log)
    with world.site() as site:
        (state,) = list_logs(site)
        assert (state.jobs, state.restarts, state.instances, state.lines) == (1, 1, ["api-1"], 2)
        forget_log(site, state.log_id)
        assert list_logs(site) == []
    assert world.scan() == []
    assert [part.lines for part in read(world, log).logs] == [2]


def test_explain_tells_what_logs_know_of_a_job_without_a_record(world: World, tmp_path: Path) -> None:
    read(world, write(tmp_path / "app.log", created(), *beat(datetime(2026, 1, 1)), BOOT))
    with world.site() as site:
        told = explain(site, a_job_id(0))
    assert told.job is None
    assert told.fields["progress"]["value"] == 45.0
    assert told.fields["progress"]["locator"].endswith("app.log:2")
    assert any("interrupted at 45 %" in note for note in told.notes)


def test_a_log_followed_live_is_in_the_store_as_soon_as_it_falls_silent(world: World, tmp_path: Path) -> None:
    following = subprocess.Popen(
        [PROGRAM, "evidence", "ingest", "-", "--name", "docker", "--database", world.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "JOBCTL_HOST_ID": world.host},
    )
    assert following.stdin is not None
    noise = "DEBUG:svc:x\n" * 500
    following.stdin.write(f"{noise}{created()}\n".encode())
    following.stdin.flush()
    await_trace(world, a_job_id(0), following)
    following.stdin.write(f"{created(1)}\n".encode())
    following.stdin.flush()
    await_trace(world, a_job_id(1), following)
    following.send_signal(signal.SIGKILL)
    following.wait()
    following.stdin.close()
    again = subprocess.run(
        [PROGRAM, "evidence", "ingest", "-", "--name", "docker", "--json", "--database", world.url],
        input=f"{noise}{created()}\n{created(1)}\n{created(2)}\n".encode(),
        capture_output=True,
        env={**os.environ, "JOBCTL_HOST_ID": world.host},
        check=True,
    )
    assert b'"lines":1,' in again.stdout


def await_trace(world: World, job_id: str, following: subprocess.Popen[bytes]) -> None:
    with world.site() as site:
        while following.poll() is None:
            with site.store.read() as connection:
                if evidence.traces_of(connection, job_id):
                    return
            time.sleep(0.01)
    raise AssertionError("it ended before it wrote")
