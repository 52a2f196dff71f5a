"""What nobody means and somebody types: moments at the ends of the calendar, names that are no names."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cli.calling import answer, call, installed, on_terminal
from jobctl import clock
from jobctl.model.status import Cause, Status
from jobctl.store import jobs
from jobctl.store.engine import create_store
from store.records import claim, create

# West of Greenwich, the year 1 begins before there is one in UTC's calendar; east of it, 9999 goes on after.
ZONES = ("UTC", "Pacific/Kiritimati", "America/Los_Angeles")
EARLIEST, LATEST = "0001-01-01T00:00Z", "9999-12-31T23:59:59Z"
LONGEST_WAIT = "9999-12-29T23:59:59Z"
HOSTILE = "evil\x1b[31m\n[bold]id"


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("command", ["list", "events"])
@pytest.mark.parametrize("moment", [EARLIEST, LATEST, "0001-01-01T14:00Z"])
def test_a_list_takes_any_moment_there_is(store_url: str, command: str, moment: str) -> None:
    call("enqueue", "render", "--job-id", "j1", database=store_url)
    since, until = (
        answer(command, option, moment, database=store_url)["data"]["items"]
        for option in ("--since", "--until")
    )
    assert (bool(since), bool(until)) == ((False, True) if moment == LATEST else (True, False))


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("words", [["report"], ["report", "users"], ["report", "billing"], ["metrics"]])
@pytest.mark.parametrize("bounds", [["--since", EARLIEST], ["--since", EARLIEST, "--until", LATEST]])
def test_a_report_on_all_time_is_told_or_refused_in_words(
    store_url: str, words: list[str], bounds: list[str]
) -> None:
    result = call(*words, *bounds, database=store_url)
    assert result.exit_code in {0, 2}, result.stderr
    assert bool(result.exit_code) == ("beyond the calendar" in result.stderr or "10,000" in result.stderr)


@pytest.mark.usefixtures("zone")
def test_a_job_may_wait_until_the_calendar_ends(store_url: str) -> None:
    enqueued = call("enqueue", "render", "--job-id", "j1", "--at", LONGEST_WAIT, database=store_url)
    assert enqueued.stdout == "j1\n", enqueued.stderr
    assert answer("show", "j1", database=store_url)["data"]["status"] == "queued"
    assert all(call(command, database=store_url).exit_code == 0 for command in ("status", "list"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--at", "9999-12-31T23:59:59-10:00"], "is no time"),
        (["--at", LATEST], "is beyond the calendar"),
        (["--delay", "2950000d"], "longer than a hundred years"),
    ],
)
def test_no_job_waits_beyond_the_calendar(store_url: str, options: list[str], said: str) -> None:
    result = call("enqueue", "render", "--job-id", "j1", *options, database=store_url)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert answer("list", database=store_url)["data"]["items"] == []


def test_no_name_is_no_job(store_url: str) -> None:
    told = answer("show", "", database=store_url)
    assert (told["exit_code"], told["errors"][0]["message"]) == (2, "'' names no job")


def test_an_id_is_raw_in_a_pipe_and_harmless_on_a_terminal(store_url: str) -> None:
    words = ("enqueue", "render", "--job-id", HOSTILE, "--database", store_url)
    assert installed(*words).stdout == f"{HOSTILE}\n"
    call("cancel", HOSTILE, database=store_url)
    shown = on_terminal(*words[:3], f"{HOSTILE}2", *words[4:])
    assert "\x1b[31m" not in shown.raw
    assert shown.text.splitlines()[-1] == "evil\\x1b[31m\\n[bold]id2"


# --- a job that means harm -----------------------------------------------------------------------

WORDS = (
    "\x1b[31mred\x1b]0;title\x07 [bold]loud[/bold] [/]\r\n\u202egnp\u2066 \x9b2J "
    "=cmd|'/C calc'!A0 <script>x</script>"
)
ANSWERS = (
    *(("list",), ("list", "--columns", "job_id,owner,kind,queue,error"), ("show", WORDS), ("events",)),
    *(("status",), ("doctor", "--skip", "store", "--only", "workers"), ("workers",)),
    *(("metrics", "--by", by) for by in ("kind", "queue", "owner")),
    *(("metrics", "--csv", "--by", "owner"), ("metrics", "--prometheus"), ("report",), ("report", "billing")),
    *(("report", "--format", form) for form in ("text", "markdown", "html")),
    ("report", "billing", "--format", "csv"),
)


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store in which every text that somebody else chooses means harm, and an error is a megabyte long."""
    url = str(tmp_path_factory.mktemp("harmed") / "jobs.db")
    store, _ = create_store(url, now=clock.now(), version="test")
    at = clock.now()
    with store.write() as connection:
        create(connection, WORDS, kind=WORDS, queue=WORDS, owner=WORDS, run_at=at, at=at)
        claim(connection, WORDS, at=at)
        error = {"error": WORDS + "E" * (1 << 20), "error_code": WORDS}
        jobs.change_status(
            connection,
            WORDS,
            Status.FAILED,
            expect=Status.PROCESSING,
            cause=Cause.EXECUTOR,
            actor=WORDS,
            at=at,
            changes=error,
        )
    store.close()
    return url


@pytest.mark.parametrize("words", ANSWERS, ids=repr)
def test_a_job_that_means_harm_does_none_in_any_answer(harmed: str, words: tuple[str, ...]) -> None:
    result = call(*words, database=harmed)
    assert result.exit_code == 0, result.stderr
    said = result.stdout + result.stderr
    assert not {char for char in said if not char.isprintable()} - set("\n\t\r")
    assert "\r" not in said.replace("\r\n", "\n")
    assert "<script>" not in said or "html" not in words
    # Only what tells an error whole is as long as that error.
    assert len(said) < (1 << 16) or words[0] in {"list", "show", "events"}


@pytest.mark.parametrize("command", ["list", "events", "status", "metrics", "report", "doctor"])
def test_a_job_that_means_harm_does_none_to_a_terminal(harmed: str, command: str) -> None:
    shown = on_terminal(command, "--database", harmed, env={"NO_COLOR": "1"})
    assert shown.returncode == 0
    assert not {char for char in shown.text if not char.isprintable()} - {"\n"}
    assert len(shown.text) < 1 << 14
