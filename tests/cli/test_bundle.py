"""``jobctl bundle``: everything a ticket needs, whatever is broken, and no secret in it."""

from __future__ import annotations

import gc
import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cli.calling import answer, call, installed, on_terminal
from jobctl.errors import ExitCode
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops import bundle
from jobctl.ops.lastruns import end
from jobctl.ops.site import store_now
from jobctl.ops.standing import look
from jobctl.store import jobs
from jobctl.store.engine import Store
from jobctl.store.secrecy import GONE, LONGEST_TEXT, Redactor, is_secret_name, secrets_in
from ops.world import World, a_job_id

ALL = [part.name for part in bundle.contents(with_payloads=False)]

# No two share a piece, so that half of one would be found as well.
SECRETS = {
    "url": "Hq7vTz0url",
    "url query": "Xw3mPk9query",
    "environment": "Lb5cRn2environ",
    "configuration": "Gd8sYf4config",
    "source": "Jt6hVa1source",
    "payload": "Nz9kQe7payload",
    "error": "Ub2wMx5errortext",
    "bearer": "Cr4pZs8bearertext",
    "signed": "Fy1jLg6signed",
    "key file": "Ko3tDv0keyfile",
}


def parts_of(path: Path) -> dict[str, list[Any]]:
    """Every part, its lines read."""
    found = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            assert entry.isreg()
            assert entry.mode == 0o600
            directory, name = entry.name.split("/")
            assert directory == "jobctl-bundle"
            content = archive.extractfile(entry)
            assert content is not None
            found[name] = [json.loads(line) for line in content.read().splitlines()]
    return found


def content_of(path: Path) -> str:
    """All text of an archive."""
    with tarfile.open(path) as archive:
        return "".join(
            io.TextIOWrapper(archive.extractfile(entry) or io.BytesIO()).read() for entry in archive
        )


def test_quiet_it_says_nothing_when_all_is_in_it(store_url: str, store: Store, tmp_path: Path) -> None:
    made = call("bundle", "-q", "--to", str(tmp_path / "b.tar.gz"), database=store_url)
    assert (made.exit_code, made.stdout, made.stderr) == (0, "", "")


def fail_jobs(store: Store, count: int, error: str, payload: dict[str, Any] | None = None) -> None:
    signed = f"https://cdn.example.org/v.mp4?Signature={SECRETS['signed']}"
    steps = (
        (Status.QUEUED, Status.PROCESSING, Cause.CLAIM, None),
        (Status.PROCESSING, Status.FAILED, Cause.EXECUTOR, {"error": error, "video_url": signed}),
    )
    with store.write() as connection:
        now = store.now(connection)
        for job_id in map(a_job_id, range(count)):
            jobs.create_job(connection, Job(job_id=job_id), actor="service", at=now, payload=payload)
            for old, new, cause, changes in steps:
                jobs.change_status(
                    connection, job_id, new, expect=old, cause=cause, actor="s", at=now, changes=changes
                )


def test_a_bundle_holds_what_it_says(store_url: str, store: Store, tmp_path: Path) -> None:
    fail_jobs(store, 1, "no space left on device")
    target = tmp_path / "ticket.tar.gz"
    done = answer("bundle", "--to", str(target), database=store_url)
    assert done["data"]["path"] == str(target)
    assert done["counts"] == {"parts": len(ALL), "missing": 0, "bytes": target.stat().st_size}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    parts = parts_of(target)
    assert list(parts) == ["manifest.json", *ALL]
    (manifest,) = parts["manifest.json"]
    assert (
        [part["name"] for part in manifest["parts"]]
        == [part["name"] for part in done["data"]["items"]]
        == ALL
    )
    assert not any(part["fault"] for part in manifest["parts"])
    assert parts["status.json"][0]["jobs"]["failed"] == 1
    assert [event["to_status"] for event in parts["events.jsonl"]] == ["failed", "processing", "queued"]
    assert parts["jobs.jsonl"][0]["error"] == "no space left on device"
    assert {each["check"] for each in parts["doctor.jsonl"]} >= {"store", "schema", "clock-jumps"}
    assert parts["versions.jsonl"][1]["store"] == store.dialect.name
    assert parts["report.json"][0]["activity"]["failed"] == 1


def test_its_status_is_what_status_tells(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.site() as site:
        fail_jobs(site.store, 12, "no space left on device")
    # By the environment: commands name no store then, as in a bundle.
    monkeypatch.setenv("JOBCTL_DATABASE_URL", world.url)
    told = answer("status")
    target = tmp_path / "ticket.tar.gz"
    call("bundle", "--to", str(target), database=world.url)
    (status,) = parts_of(target)["status.json"]
    for name in ("said", "health", "troubles", "queues", "workers", "unfinished_runs"):
        assert status[name] == told["data"][name], name
    assert status["said"].startswith("Broken: 12 of 12 jobs that ended within")
    assert status["jobs"] == told["counts"]


def test_half_a_secret_is_in_no_trouble_that_quotes_a_part_of_an_error(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first characters of an error are quoted: a secret is taken out of it before that."""
    monkeypatch.setenv("ELAI_API_KEY", "correct horse battery staple")
    for length in range(270, 301):
        error = f"{'x' * (length - 1)} correct horse battery staple"
        with world.site() as site:
            end(site, "cleanup", started=store_now(site), code=ExitCode.INTERNAL, error=error)
            told = look(site, clean=Redactor(["correct horse battery staple"]).text)
        assert "correct" not in str(told.troubles), length
    target = tmp_path / "ticket.tar.gz"
    call("bundle", "--to", str(target), database=world.url)
    (status,) = parts_of(target)["status.json"]
    assert [each["subject"] for each in status["troubles"]] == ["cleanup"]
    assert "correct" not in content_of(target)


def test_no_secret_gets_into_the_archive(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets in the URL, the environment, the configuration, a payload and an error."""
    hidden = SECRETS
    error = (
        f"connect failed: postgresql://svc:{hidden['error']}@db/jobs refused"
        f"; Authorization: Bearer {hidden['bearer']}\n"
        f"was given {hidden['payload']}; the key was {hidden['environment']}\n"
        f"-----BEGIN RSA PRIVATE KEY-----\n{hidden['key file']}\n"
    )
    auth = {"password": hidden["payload"]}
    payload = {"prompt": "hello", "note": f"again {hidden['payload']}", "auth": auth}
    with world.site() as site:
        fail_jobs(site.store, 1, error, payload)
        end(site, "cleanup", started=store_now(site), code=ExitCode.INTERNAL, error=error)
    config = tmp_path / "jobctl.toml"
    config.write_text(
        f"""
        # the old password was {hidden["configuration"]}
        database = "{world.url}"
        [logs.mine]
        api_token = "{hidden["configuration"]}"
        [[source]]
        name = "projects"
        preset = "projects"
        database = "postgresql://svc:{hidden["source"]}@db/app?sslpassword={hidden["url query"]}"
        """
    )
    monkeypatch.setenv("ELAI_API_KEY", hidden["environment"])
    monkeypatch.setenv(
        "JOBCTL_DATABASE_URL", f"postgresql://svc:{hidden['url']}@db/jobs?password={hidden['url query']}"
    )
    # Known from its place, so that it is found where nothing tells that it is one.
    for words in (["--with-payloads"], []):
        target = tmp_path / f"ticket-{len(words)}.tar.gz"
        said = call("bundle", "--to", str(target), *words, "--config", str(config), database=world.url)
        assert said.exit_code == 0, said.stderr
        text = content_of(target) + said.stdout + said.stderr
        assert [place for place, secret in hidden.items() if secret in text] == []
        assert GONE in text
        assert ("payloads.jsonl" in text) is bool(words)
        assert ("hello" in text) is bool(words)


def test_a_broken_configuration_or_store_still_makes_a_bundle(world: World, tmp_path: Path) -> None:
    Path(world.url).write_bytes(b"SQLite format 3\0" + os.urandom(8_192))
    target = tmp_path / "store.tar.gz"
    done = call("bundle", "--to", str(target), database=world.url)
    assert done.exit_code == 3
    parts = parts_of(target)
    faults = {part["name"]: part["fault"] for part in parts["manifest.json"][0]["parts"] if part["fault"]}
    assert {"status.json", "runs.jsonl", "events.jsonl"} <= faults.keys()
    assert "cannot be used" in faults["status.json"] or "not" in faults["status.json"]
    assert parts["versions.jsonl"][0]["jobctl"]
    assert "fail" in {each["diagnosis"]["health"] for each in parts["doctor.jsonl"]}
    assert "could not be gathered" in done.stderr

    config = tmp_path / "jobctl.toml"
    config.write_text("database = [")
    other = tmp_path / "config.tar.gz"
    done = call("bundle", "--to", str(other), "--config", str(config))
    assert done.exit_code == 3
    parts = parts_of(other)
    assert "environment.json" in parts
    assert "settings.json" not in parts


def test_where_there_is_no_store_the_bundle_says_so(tmp_path: Path) -> None:
    done = answer("bundle", "--to", str(tmp_path / "t.tar.gz"), database=str(tmp_path / "none.db"))
    assert done["exit_code"] == 3
    assert done["counts"]["missing"] > 0
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_there_is_left_as_it_is(world: World, tmp_path: Path) -> None:
    target = tmp_path / "ticket.tar.gz"
    target.write_text("mine")
    done = call("bundle", "--to", str(target), database=world.url)
    assert (done.exit_code, target.read_text()) == (2, "mine")
    assert call("bundle", "--to", str(tmp_path / "no" / "t"), database=world.url).exit_code == 2
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_large_texts_are_cut_and_large_parts_end_early(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "LARGEST_PART", 1 << 17)
    with world.site() as site:
        fail_jobs(site.store, 90, "\x1b[31m\u202e" + "é" * 10_000)
    target = tmp_path / "ticket.tar.gz"
    call("bundle", "--to", str(target), database=world.url)
    # A cursor that was left open would be told of here.
    gc.collect()
    parts = parts_of(target)
    assert max(len(str(event["detail"])) for event in parts["events.jsonl"]) < LONGEST_TEXT + 200
    (manifest,) = parts["manifest.json"]
    assert all((part["bytes"] or 0) <= 1 << 17 for part in manifest["parts"])
    cut = {part["name"]: part["fault"] for part in manifest["parts"] if part["fault"]}
    assert set(cut) == {"events.jsonl", "jobs.jsonl"}
    assert set(cut.values()) == {"only its first 128 KiB"}


def test_it_says_first_what_it_will_hold(world: World, tmp_path: Path) -> None:
    done = installed("bundle", "--database", world.url, cwd=tmp_path)
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in told[: len(ALL)]] == ALL
    assert "payloads are left out" in told[len(ALL)]
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["part", *ALL]
    (made,) = tmp_path.glob("jobctl-bundle-*.tar.gz")
    assert made.stat().st_size > 0


def test_on_a_terminal_it_is_a_table(world: World, tmp_path: Path) -> None:
    shown = on_terminal("bundle", "--to", str(tmp_path / "t.tar.gz"), "--database", world.url)
    assert shown.returncode == 0
    assert "Look into it before you send it." in " ".join(shown.text.split())
    assert all(len(line) <= 80 for line in shown.text.splitlines() if "Wrote" not in line)


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter22",
        "password: hunter22",
        'PGPASSWORD="hunter22 hunter22"',
        '{"api_key": "hunter22"}',
        "db_secret = 'hunter22'",
        "https://x.example/v?X-Amz-Signature=hunter22&a=1",
        "https://hunter22@git.example/x",
        "redis://:hunter22@cache/0",
        "authorization: Basic aHVudGVyMjI6hunter22",
        "Cookie: sid=hunter22; other=1",
        "used bearer hunter22hunter22",
        "AKIAHUNTER22HUNTER22",
        "eyJhunter22.hunter22.hunter22",
        "ghp_hunter22hunter22hunter22",
        "sk-hunter22hunter22hunter22",
        "-----BEGIN PRIVATE KEY-----\nhunter22",
    ],
)
def test_what_looks_like_a_secret_is_one(text: str) -> None:
    shown = Redactor().text(f"before {text}\nafter")
    assert "hunter22" not in shown.lower()
    assert shown.startswith("before")


@pytest.mark.parametrize(
    "text",
    [
        "the video is whole, and no record names it",
        "pid 4711 on host-a is gone",
        "/srv/outputs/presentation_4ec967c0-30a9-5b7d-90a3-eb2a5eeb13eb.mp4",
        "restart 1 of app.log (app.log:12044)",
        "postgresql://svc@db:5432/jobs",
    ],
)
def test_what_is_none_is_left(text: str) -> None:
    assert Redactor(["secret-of-ours"]).text(text) == text


def test_a_known_secret_is_found_in_every_form_and_at_every_place() -> None:
    redactor = Redactor(["p@ss/word", "p@ss"])
    document = {"p@ss/word": ["x p@ss/word", {"y": "p%40ss%2Fword"}], "n": 7, "password": 7, "token": None}
    assert redactor.document(document) == {
        GONE: [f"x {GONE}", {"y": GONE}],
        "n": 7,
        "password": GONE,
        "token": None,
    }


@pytest.mark.parametrize(
    "name", ["password", "DB_PASSWORD", "api-key", "ELAI_API_KEY", "secret", "auth", "X-Api-Key"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


def test_what_is_learnt_later_is_taken_out_as_well_and_the_longest_first() -> None:
    redactor = Redactor(["hunter2!"])
    redactor.learn(["hunter2!hunter3?", "unt!"])
    assert redactor.text("a hunter2!hunter3? b hunter2! c unt! d") == f"a {GONE} b {GONE} c {GONE} d"


def test_a_secret_is_found_however_deep_it_lies() -> None:
    document: Any = {"password": "hunter2!"}
    for _ in range(5_000):
        document = [document]
    assert secrets_in(document) == {"hunter2!"}


@pytest.mark.parametrize("name", ["job_id", "author", "monkey", "keyboard", "status", "path", "significant"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_name(name)
