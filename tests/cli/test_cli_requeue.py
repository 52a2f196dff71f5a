"""``requeue``, the filters of ``list``, and what ``show`` tells of attempts: on both databases."""

from __future__ import annotations

import pytest

from cli.calling import answer, call
from jobctl.errors import StaleJob
from jobctl.model.attempts import ProgressReport
from jobctl.model.job import Executor
from jobctl.model.status import Cause, Status
from jobctl.ops.jobs import JobFilter
from jobctl.ops.queue import find_retried, retry_all
from jobctl.ops.site import Site
from jobctl.settings import load_settings
from jobctl.store import jobs, workers
from jobctl.store.engine import Store, open_store
from jobctl.store.leases import Holder, open_leases
from store.records import AT, claim, create, fail


@pytest.fixture
def failed(store_url: str) -> str:
    """Three jobs that failed, of two tasks and for two reasons; one that is queued."""
    store = open_store(store_url)
    with store.write() as connection:
        for job_id, kind, code in (
            ("a", "render", "timeout"),
            ("b", "render", "boom"),
            ("c", "email", "timeout"),
        ):
            create(connection, job_id, kind=kind, owner=f"owner-{kind}", queue=f"q-{kind}", max_attempts=1)
            claim(connection, job_id)
            fail(connection, job_id, error_code=code)
        create(connection, "d", kind="render")
    store.close()
    return store_url


def fail_with(url: str, *errors: str) -> None:
    """A job that failed with each of these."""
    store = open_store(url)
    with store.write() as connection:
        for number, error in enumerate(errors):
            create(connection, f"f{number}")
            claim(connection, f"f{number}")
            fail(connection, f"f{number}", error=error)
    store.close()


def status(url: str, job_id: str) -> str:
    return str(answer("show", job_id, database=url)["data"]["status"])


def listed(url: str, *words: str) -> set[str]:
    items = answer("list", *words, database=url)["data"]["items"]
    return {item["job_id"] for item in items}


def test_a_list_can_be_of_one_task_queue_or_owner(failed: str) -> None:
    assert listed(failed, "--kind", "render") == {"a", "b", "d"}
    assert listed(failed, "--queue", "q-email") == {"c"}
    assert listed(failed, "--owner", "owner-render", "--status", "failed") == {"a", "b"}
    assert listed(failed, "--kind", "no such task") == set()


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (["error_code=timeout"], {"a", "c"}),
        (["error_code=timeout", "kind=render"], {"a"}),
        (["status=failed"], {"a", "b", "c"}),
        (["text=it broke", "owner=owner-email"], {"c"}),
        (["status=cancelled"], set()),
    ],
)
def test_what_has_all_of_it_in_common_is_enqueued_again(
    failed: str, where: list[str], found: set[str]
) -> None:
    words = [word for condition in where for word in ("--where", condition)]
    told = answer("requeue", *words, "--yes", database=failed)
    assert told["counts"] == {"found": len(found), "done": len(found), "failed": 0}
    assert {each for each in "abc" if status(failed, each) == "queued"} == found
    assert status(failed, "d") == "queued"


def test_first_it_tells_how_many_and_why_they_failed(failed: str) -> None:
    told = answer("requeue", "--where", "kind=render", "--dry-run", database=failed)
    causes = {(each["error_code"], each["jobs"], each["error"]) for each in told["data"]["items"]}
    assert causes == {("timeout", 1, "it broke"), ("boom", 1, "it broke")}
    assert status(failed, "a") == "failed"


def test_without_a_yes_and_a_terminal_nothing_is_enqueued(failed: str) -> None:
    result = call("requeue", "--where", "kind=render", database=failed)
    assert (result.exit_code, status(failed, "a")) == (5, "failed")
    assert "do it: jobctl requeue " in result.stderr


@pytest.mark.parametrize("option", ["--older", "--newer"])
def test_a_variable_that_is_not_set_asks_for_nothing_more(failed: str, option: str) -> None:
    result = call("requeue", "--where", "kind=render", option, "", "--yes", database=failed)
    assert (result.exit_code, status(failed, "a")) == (2, "failed")
    assert option in result.stderr


def test_errors_that_differ_in_a_number_alone_are_one_cause(store_url: str) -> None:
    fail_with(store_url, *(f"page {number} of /srv/{number}.pdf is bad" for number in range(30)))
    told = answer("requeue", "--where", "status=failed", "--dry-run", database=store_url)
    causes = [(each["jobs"], each["error"]) for each in told["data"]["items"]]
    assert causes == [(30, "page … of /… is bad")]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--where", "kind"],
        ["--where", "kind="],
        ["--where", "color=red"],
        ["--where", "kind=render", "--where", "kind=thumbnails"],
        ["--where", "status=queued"],
        ["--where", "status=lost"],
        ["--where", "kind=render", "--yes", "--dry-run"],
    ],
)
def test_what_cannot_be_meant_is_refused(failed: str, words: list[str]) -> None:
    result = call("requeue", *words, database=failed)
    assert (result.exit_code, status(failed, "a")) == (2, "failed")
    assert "nothing was changed" in result.stderr


def test_the_newest_are_taken_where_not_all_are_wanted(failed: str) -> None:
    assert (
        answer("requeue", "--where", "status=failed", "--limit", "1", "--yes", database=failed)["counts"][
            "done"
        ]
        == 1
    )


def test_a_job_that_was_changed_since_it_was_listed_is_left(store: Store) -> None:
    site = Site(load_settings(database="x", environ={}), store, "ada", Executor("h", "b", 1, 1))
    with store.write() as connection:
        create(connection, "a")
        claim(connection, "a")
        fail(connection, "a")
    found = find_retried(site, JobFilter(), limit=None)
    with store.write() as connection:
        jobs.change_status(
            connection, "a", Status.EXPIRED, expect=Status.FAILED, cause=Cause.RETENTION, actor="x", at=AT
        )
    assert [type(each) for each in retry_all(site, found)] == [StaleJob]


def test_show_tells_of_attempts_of_who_runs_it_and_what_it_is_at(store: Store, store_url: str) -> None:
    holder = Holder("w1", Executor("h", "b", 1, 1, "w1"), ("default",))
    with store.write() as connection:
        create(connection, "a", kind="render", max_attempts=3)
        workers.register(
            connection, holder, tasks=["render"], slots=1, isolation="process", lease_s=10.0, at=AT
        )
    leases = open_leases(store, holder)
    (one,) = leases.take_turn([], 1, ["render"]).claims
    leases.report([ProgressReport(*one.id, 40.0, "composing")])
    leases.close()
    told = answer("show", "a", database=store_url)["data"]
    assert (told["lease"]["worker"], told["lease"]["note"]) == ("w1", "composing")
    assert [(each["number"], each["worker"], each["outcome"]) for each in told["attempts"]] == [
        (1, "w1", "running")
    ]
    assert (told["payload"], told["result"]) == (None, None)
    piped = call("show", "a", database=store_url).stdout
    assert "attempt\tbegan_at\ttook_s\toutcome\terror_code\tworker\terror\n1\t" in piped
