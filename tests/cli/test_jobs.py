"""List, show and explain."""

from __future__ import annotations

import json

import pytest

from cli.calling import answer, call, on_terminal
from ops.world import World, a_job_id

ELEVEN = {
    "job_id",
    "status",
    "progress",
    "error",
    "video_url",
    "thumbnail_url",
    "slide_image_path",
    "created_at",
    "completed_at",
    "last_heartbeat",
    "created_files",
}


@pytest.fixture
def jobs(world: World) -> World:
    """Five jobs begun an hour apart, the newest first completed."""
    for number in range(5):
        world.start_job(number, ago_s=3_600.0 * (number + 1))
    world.finish_job(0)
    return world


def listed(world: World, *options: str) -> list[str]:
    return [job["job_id"] for job in answer("list", *options, database=world.url)["data"]["items"]]


def ids(*numbers: int) -> list[str]:
    return [a_job_id(number) for number in numbers]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["--status", "completed"], [0]),
        (["--status", "processing", "--limit", "2"], [1, 2]),
        (["--status", "processing", "--status", "completed"], [0, 1, 2, 3, 4]),
        (["--older", "150m"], [2, 3, 4]),
        (["--newer", "150m"], [0, 1]),
        (["--newer", "270m", "--older", "90m"], [1, 2, 3]),
        (["--text", "ADA"], [0, 1, 2, 3, 4]),
        (["--text", a_job_id(3)[5:]], [3]),
        (["--text", "100%"], []),
        (["--older", "2001-01-01"], []),
        (["--since", "150m"], [0, 1]),
        (["--since", "270m", "--until", "90m"], [1, 2, 3]),
        (["--since", "30m", "--by", "completed"], [0]),
        (["--since", "1h", "--by", "updated", "--status", "completed"], [0]),
        (["--reverse", "--limit", "2"], [4, 3]),
        (["--sort", "id", "--limit", "2"], [0, 1]),
        (["--sort", "completed"], [0]),
        (["--origin", "recovered"], []),
        (["--error-code", "gpu-lost"], []),
    ],
)
def test_filters(jobs: World, options: list[str], numbers: list[int]) -> None:
    assert listed(jobs, *options) == ids(*numbers)


def test_pages_follow_each_other(jobs: World) -> None:
    seen: list[str] = []
    after: str | None = None
    while True:
        cursor = ["--after", after] if after else []
        page = answer("list", "--limit", "2", *cursor, database=jobs.url)["data"]
        seen += [job["job_id"] for job in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == ids(0, 1, 2, 3, 4)


def test_only_the_columns_that_were_asked_for(jobs: World) -> None:
    chosen = ["--columns", "status, job_id,queue"]
    heading, *rows = call("list", *chosen, "--limit", "1", database=jobs.url).stdout.splitlines()
    assert (heading, rows) == ("status\tjob_id\tqueue", [f"completed\t{a_job_id(0)}\tdefault"])
    item = answer("list", *chosen, "--limit", "1", database=jobs.url)["data"]["items"][0]
    assert item == {"status": "completed", "job_id": a_job_id(0), "queue": "default"}


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (["--columns", "status,colour"], "colour is no column", "there are: job_id, status"),
        (["--columns", ","], "--columns names none", "there are: job_id"),
        (["--by", "id", "--since", "1h"], "--by id names no time", "--by created"),
        (["--by", "completed"], "no time is given", "--sort completed"),
        (["--until", "2h", "--since", "1h"], "nothing lies between", "--since"),
        (["--until", "whenever"], "--until 'whenever' is neither", "'3d ago'"),
    ],
)
def test_what_cannot_be_listed_is_told(jobs: World, options: list[str], said: str, hint: str) -> None:
    result = call("list", *options, database=jobs.url)
    first, second = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in first
    assert hint in second


def test_a_terminal_is_told_how_many_are_not_shown(jobs: World) -> None:
    shown = on_terminal("list", "--limit", "2", "--database", jobs.url).text.splitlines()
    assert "There are 3 more jobs; to go on, add --after 20" in shown[3]
    after = " ".join(shown[3:]).rpartition(" ")[2]
    assert listed(jobs, "--after", after) == ids(2, 3, 4)


def test_show_finds_a_job_by_its_url_and_says_so(jobs: World) -> None:
    url = f"https://videos.example.org/presentations/{a_job_id(1)}/video"
    found = call("show", url, database=jobs.url)
    assert f"Found by its URL: job {a_job_id(1)}" in found.stderr
    assert found.stdout.splitlines()[1].startswith(a_job_id(1))
    assert answer("show", url, database=jobs.url)["data"]["found_by"] == "url"
    assert answer("show", a_job_id(1), database=jobs.url)["data"]["found_by"] is None


def test_show_tells_what_is_known_of_a_job_without_a_record(jobs: World) -> None:
    path = jobs.video(9)
    jobs.scan()
    document = answer("show", a_job_id(9), database=jobs.url)
    assert (document["exit_code"], document["errors"][0]["code"]) == (2, "unknown-job")
    [clue] = document["data"]["clues"]
    assert (clue["kind"], clue["next"]) == ("file", f"jobctl recover --database {jobs.url}")
    told = call("show", a_job_id(9), database=jobs.url).stderr.splitlines()
    assert told[0] == f"error: no job {a_job_id(9)} is recorded, but the last scan saw its video at {path}"
    assert "jobctl recover --database" in told[1]


def test_show_lists_what_may_be_meant(jobs: World) -> None:
    document = answer("show", a_job_id(0)[:8], database=jobs.url)
    assert document["exit_code"] == 2
    assert [each["by"] for each in document["data"]["candidates"]] == ["prefix"] * 5


def test_a_stream_is_jobs_and_nothing_else(jobs: World) -> None:
    for limit in ([], ["--limit", "3"]):
        lines = call("list", "--jsonl", *limit, database=jobs.url).stdout.splitlines()
        assert len(lines) == (3 if limit else 5)
        assert all(json.loads(line).keys() >= ELEVEN for line in lines)


def test_a_job_has_the_services_eleven_fields_and_its_provenance(jobs: World) -> None:
    job = answer("list", "--limit", "1", database=jobs.url)["data"]["items"][0]
    assert job.keys() >= ELEVEN | {"origin", "confidence", "owner", "attempt"}
    assert job["created_at"].endswith("Z")
    assert job["owner"] == "ada"


def test_progress_is_kept_as_reported_and_shown_clamped(world: World) -> None:
    world.start_job(0, progress=125.0)
    job = answer("show", a_job_id(0), database=world.url)["data"]
    assert (job["progress"], job["shown_progress"]) == (125.0, 100.0)


def test_off_a_terminal_it_is_a_table_of_tabs(jobs: World) -> None:
    heading, *rows = call("list", database=jobs.url).stdout.splitlines()
    assert heading.startswith("job_id\tstatus\tprogress\tcreated_at")
    assert [row.split("\t")[0] for row in rows] == ids(0, 1, 2, 3, 4)
    assert rows[0].split("\t")[3].endswith("Z")


def test_no_jobs_is_no_error(world: World) -> None:
    result = call("list", database=world.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1


def test_show_has_files_and_history(world: World) -> None:
    world.video(0)
    run_id = world.recover().run_id
    job = answer("show", a_job_id(0), database=world.url)["data"]
    assert [file["role"] for file in job["artifacts"]] == ["video"]
    assert [event["run_id"] for event in job["events"]] == [run_id]
    text = call("show", a_job_id(0), database=world.url).stdout
    assert [block.split("\t")[0] for block in text.split("\n\n")] == ["job_id", "role", "attempt", "at"]


def test_explain_names_source_and_trust_of_each_field(world: World) -> None:
    world.video(0)
    world.recover()
    fields = answer("explain", a_job_id(0), database=world.url)["data"]["fields"]
    assert fields["status"]["value"] == "completed"
    assert all(entry.keys() >= {"value", "source", "locator", "trust", "others"} for entry in fields.values())
    heading, *rows = call("explain", a_job_id(0), database=world.url).stdout.splitlines()
    assert heading.split("\t")[:5] == ["field", "value", "source", "locator", "trust"]
    assert len(rows) == len(fields)


def test_explain_takes_the_beginning_of_an_id_that_only_one_job_has(world: World) -> None:
    world.video(0)
    world.recover()
    assert answer("explain", a_job_id(0)[:8], database=world.url)["data"]["job_id"] == a_job_id(0)


def test_explain_of_a_job_known_only_by_its_files(world: World) -> None:
    world.video(0)
    world.scan()
    told = answer("explain", a_job_id(0), database=world.url)["data"]
    assert told["fields"] == {}
    assert told["notes"]
    assert "last scan" in call("explain", a_job_id(0), database=world.url).stderr
