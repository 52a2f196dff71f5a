"""``metrics``: what happened in a window of time; on both databases."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import func, select

from cli.calling import answer, call, on_terminal
from jobctl import clock
from jobctl.core.tally import Grain
from jobctl.core.window import By, window_of
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.exposition import look
from jobctl.ops.metrics import tell
from jobctl.ops.site import open_site
from jobctl.ops.tallies import catch_up
from jobctl.report.metrics_screen import metrics_screen
from jobctl.report.metrics_table import Row
from jobctl.settings import load_settings
from jobctl.store import editions, jobs, tallies
from jobctl.store.engine import Connection, Store, create_store
from jobctl.store.schema import tally_flow
from store.records import claim, complete, create, fail

EVIL = '[red]evil[/red]\x1b[31m\n"q"\u202e\\,'
FORMULA = "=cmd|' /C calc'!A0"
HOUR = timedelta(hours=1)


def hour_ago(hours: int = 0) -> datetime:
    """The beginning of an hour that is over."""
    return clock.now().replace(minute=0, second=0, microsecond=0) - HOUR * (hours + 1)


def live(connection: Connection, job_id: str, at: datetime, *, run_s: float = 8, **fields: Any) -> None:
    """A job that waits 2 s, runs and completes."""
    create(connection, job_id, at=at, **fields)
    claim(connection, job_id, at=at + timedelta(seconds=2))
    complete(connection, job_id, at=at + timedelta(seconds=2 + run_s))


def fill(store: Store) -> datetime:
    """Two hours of work: four jobs complete, one fails, one is lost and tried again."""
    first = hour_ago(1)
    with store.write() as connection:
        for number, run_s in enumerate((8, 8, 8, 100)):
            at = first + HOUR * (number == 3)
            live(connection, f"done-{number}", at, run_s=run_s, kind="render", owner="ada")
        create(connection, "bad", kind=FORMULA, owner=EVIL, queue="fast", at=first)
        claim(connection, "bad", at=first + timedelta(seconds=4))
        fail(connection, "bad", error_code=EVIL, at=first + timedelta(seconds=9))
        create(connection, "lost", kind=EVIL, at=first)
        claim(connection, "lost", at=first + timedelta(seconds=1))
        hand_on(connection, "lost", Cause.RESCUE, first + timedelta(seconds=61))
    return first


def hand_on(connection: Connection, job_id: str, cause: Cause, at: datetime) -> None:
    jobs.change_status(
        connection, job_id, Status.QUEUED, expect=Status.PROCESSING, cause=cause, actor="w", at=at
    )


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def items(*options: str, database: str) -> dict[str, Any]:
    data = answer("metrics", *options, database=database)["data"]
    return {str(item[data["by"]]): item for item in data["items"]}


def test_hours_tell_what_happened_in_each_also_in_those_where_nothing_did(
    store: Store, store_url: str
) -> None:
    first = fill(store)
    with store.write() as connection:
        jobs.record_event(connection, "old", first, "recovered", "x", to_status="completed")
    found = items("--since", stamp(first), database=store_url)
    assert list(found)[:2] == [stamp(first), stamp(first + HOUR)]
    one, two = found[stamp(first)], found[stamp(first + HOUR)]
    assert {name: one[name] for name in ("created", "completed", "failed", "lost", "recovered")} == {
        "created": 5,
        "completed": 3,
        "failed": 1,
        "lost": 1,
        "recovered": 1,
    }
    assert (one["success_rate"], two["success_rate"]) == (0.75, 1.0)
    assert two["run_s"]["p99"] == pytest.approx(100, rel=0.2)
    assert one["wait_s"] == {
        **{name: pytest.approx(value, rel=0.2) for name, value in {"p50": 2, "p90": 4, "p99": 4}.items()},
        "p95": pytest.approx(4, rel=0.2),
        "count": 5,
        "sum": pytest.approx(3 * 2 + 4 + 1),
    }
    running = next(reversed(found.values()))
    assert running["created"] == 0
    assert running["success_rate"] is None


def test_a_window_that_holds_the_whole_history_tells_all_of_it_and_nothing_else(
    store: Store, store_url: str
) -> None:
    first = fill(store)
    for _ in range(3):
        tallies.fold(store)
    for by in ("kind", "queue", "owner"):
        whole = answer("metrics", "--by", by, "--since", "1000d", database=store_url)["data"]
        assert whole["total"] == {name: whole["history"][name] for name in whole["total"]}
        assert sum(item["created"] for item in whole["items"]) == 6
    later = stamp(first + HOUR)
    assert (
        sum(item["created"] for item in items("--by", "kind", "--since", later, database=store_url).values())
        == 1
    )


@pytest.mark.parametrize("is_folded", [False, True])
def test_every_way_to_tell_apart_tells_the_same_in_all(store: Store, store_url: str, is_folded: bool) -> None:
    fill(store)
    if is_folded:
        for _ in range(3):
            tallies.fold(store)
    totals = []
    for by in ("hour", "day", "kind", "queue", "owner"):
        data = answer("metrics", "--by", by, "--since", "26h", database=store_url)["data"]
        total = {name: data["total"][name] for name in ("created", "started", "completed", "failed", "lost")}
        for name, count in total.items():
            assert sum(item[name] for item in data["items"]) == count, (by, name)
        totals.append(total)
    assert all(total == totals[0] for total in totals)
    assert totals[0] == {"created": 6, "started": 6, "completed": 4, "failed": 1, "lost": 1}


def test_what_is_not_added_up_yet_is_told_all_the_same(store: Store, store_url: str) -> None:
    fill(store)
    before = [items("--by", by, database=store_url) for by in ("hour", "kind", "queue", "owner")]
    for _ in range(3):
        tallies.fold(store)
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(tally_flow)).scalar_one()
    after = [items("--by", by, database=store_url) for by in ("hour", "kind", "queue", "owner")]
    assert json.dumps(before) == json.dumps(after)


def test_owners_and_those_without_one_are_told_apart(store: Store, store_url: str) -> None:
    fill(store)
    found = items("--by", "owner", "--since", "26h", database=store_url)
    assert set(found) == {"ada", EVIL, ""}
    assert found["ada"]["run_mean_s"] == pytest.approx((3 * 8 + 100) / 4)
    assert found[""]["created"] == 1


def test_names_beyond_the_top_are_told_as_one(store: Store, store_url: str) -> None:
    with store.write() as connection:
        for number in range(30):
            live(connection, f"j{number}", hour_ago(), kind=f"kind-{number:02}", owner=f"owner-{number:02}")
        live(connection, "again", hour_ago(), kind="kind-29", owner="owner-29")
    for by in ("kind", "owner"):
        data = answer("metrics", "--by", by, "--top", "3", "--since", "26h", database=store_url)["data"]
        assert [item[by] for item in data["items"]] == [f"{by}-29", f"{by}-00", f"{by}-01", None]
        assert data["items"][-1]["others"] == 27
        assert data["items"][-1]["completed"] == 27


def test_failures_are_told_by_reason(store: Store, store_url: str) -> None:
    fill(store)
    data = answer("metrics", database=store_url)["data"]
    assert data["failures"] == [{"error_code": EVIL, "count": 1}]


def test_the_window_tells_which_whole_hours_are_covered(store: Store, store_url: str) -> None:
    first = fill(store)
    asked = first + timedelta(minutes=20)
    result = call("metrics", "--since", stamp(asked), "--until", stamp(first + HOUR), database=store_url)
    assert "hours are told whole" in result.stderr
    data = answer("metrics", "--since", stamp(asked), "--until", stamp(first + HOUR), database=store_url)[
        "data"
    ]
    assert data["window"] == {
        "grain": "hour",
        "since": stamp(first),
        "until": stamp(first + HOUR),
        "asked_since": stamp(asked),
        "asked_until": stamp(first + HOUR),
        "is_running": False,
    }
    assert data["total"]["completed"] == 3


def test_a_store_without_history_has_hours_without_anything(store: Store, store_url: str) -> None:
    data = answer("metrics", database=store_url)["data"]
    assert len(data["items"]) == 24
    assert data["total"]["success_rate"] is None
    assert call("metrics", "--by", "kind", database=store_url).stdout.count("\n") == 1


def test_csv_holds_nothing_that_a_spreadsheet_would_run(store: Store, store_url: str) -> None:
    fill(store)
    told = call("metrics", "--by", "kind", "--csv", database=store_url)
    text = told.stdout
    assert told.stderr.startswith("Whole hours, ")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    names = [row[0] for row in rows[1:]]
    assert f"'{FORMULA}" in names
    assert all(len(row) == len(rows[0]) for row in rows)
    assert "\x1b" not in text
    assert "\u202e" not in text
    tsv = call("metrics", "--by", "kind", database=store_url).stdout
    assert [line.split("\t")[0] for line in tsv.splitlines()] == [
        "kind",
        *(n.removeprefix("'") for n in names),
    ]


def test_what_cannot_be_told_is_refused(store: Store, store_url: str) -> None:
    for options, said in (
        (("--since", "1h", "--until", "2h"), "nothing lies between"),
        (("--since", "soon"), "neither an age nor a time"),
        (("--since", "2001-01-01"), "more than 10,000"),
        (("--csv", "--plot"), "different forms of answer"),
        (("--prometheus", "--since", "2h"), "tells the whole history"),
        (("--output", "x.prom"), "--output is for"),
        (("--by", "colour"), "colour"),
        (("--top", "0"), "--top"),
    ):
        result = call("metrics", *options, database=store_url)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "hint:" in result.stderr


@pytest.mark.parametrize("width", [80, 200])
def test_the_screen_has_a_table_its_course_and_why_it_failed(
    store: Store, store_url: str, width: int
) -> None:
    first = fill(store)
    for by in (By.HOUR, By.KIND, By.OWNER):
        with open_site(load_settings(database=store_url, environ={})) as site:
            found = tell(site, by, window_of(by, clock.now(), first, None), most=20, for_people=True)
        rows = [Row(group.name, group.figures, group.at, group.others) for group in found.groups]
        trend = [each.figures for each in found.trend]
        console = Console(width=width, file=io.StringIO(), markup=False, emoji=False, force_terminal=False)
        for block in metrics_screen(by.value, rows, found.total, trend, local=str, width=width):
            console.print(block)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, text.splitlines())) <= width
        assert re.search("completed .*█.* 4 in all, most", text)
        assert re.search("^failed because of +attempts +share$", text, re.MULTILINE)
        assert not {"\x1b", "\u202e"} & set(text)
        assert "[red]evil[/red]" in text


def test_a_terminal_shows_it_and_its_hours(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    store, _ = create_store(path, now=clock.now(), version="test")
    with closing(store):
        first = fill(store)
    asked = stamp(first + timedelta(minutes=1))
    shown = on_terminal("metrics", "--by", "kind", "--since", asked, "--database", path, width=80)
    assert shown.returncode == 0
    assert max(map(len, shown.text.splitlines())) <= 80
    head = f"Whole hours, {first:%Y-%m-%d %H}:00 to now, UTC (+0000).\n"
    assert shown.text.startswith(f"{head}Part of an hour was asked for; hours are told whole.\ntask ")
    assert not {"\x1b", "\u202e"} & set(shown.text)


def test_plots_fit_and_show_the_course(store: Store, store_url: str) -> None:
    fill(store)
    text = call("metrics", "--plot", database=store_url).stdout
    assert max(map(len, text.splitlines())) <= 80
    for title in ("created an hour", "completed an hour", "failed an hour", "run p95, seconds"):
        assert title in text
    assert "\x1b" not in text
    assert "█" in text


def test_what_was_not_added_up_is_caught_up_with_before_it_is_read(store: Store, store_url: str) -> None:
    with store.write() as connection:
        for number in range(2_100):
            jobs.record_event(connection, f"j{number}", hour_ago(), "created", "x", to_status="queued")
    with open_site(load_settings(database=store_url, environ={})) as site:
        before = look(site, most=20).tally
        with store.read() as connection:
            assert tallies.position_of(connection).missing <= 2_000
            assert tallies.read(connection, store.dialect, Grain.ALL) == before
        catch_up(site)
    assert sum(before.flows.values()) == 2_100


def test_metrics_are_made_anew_by_command_and_stay_the_same(store: Store, store_url: str) -> None:
    fill(store)
    for _ in range(3):
        tallies.fold(store)
    before = items("--by", "kind", database=store_url)
    assert answer("metrics", "rebuild", database=store_url)["counts"]["events"] > 0
    assert items("--by", "kind", database=store_url) == before
    with store.write() as connection:
        connection.execute(tally_flow.update().values(count=tally_flow.c.count + 1))
    assert items("--by", "kind", database=store_url) != before
    assert "anew" in call("metrics", "rebuild", database=store_url).stderr
    assert items("--by", "kind", database=store_url) == before


def test_what_a_kill_left_of_it_is_gone_on_with_and_nobody_reads_it_before(
    store: Store, store_url: str
) -> None:
    fill(store)
    for _ in range(3):
        tallies.fold(store)
    before = items("--by", "kind", database=store_url)
    edition = editions.begin(store)
    assert tallies.fold(store, edition=edition, at_most=3) == 3
    assert items("--by", "kind", database=store_url) == before
    told = answer("metrics", "rebuild", database=store_url)
    assert told["data"] == {"is_resumed": True}
    assert items("--by", "kind", database=store_url) == before
    with store.read() as connection:
        assert tallies.edition_of(connection) == edition
        assert connection.execute(select(tally_flow.c.edition).distinct()).scalars().all() == [edition]


def differences(*options: str, database: str) -> list[Mapping[str, str]]:
    data = answer("verify", *options, database=database)["data"]
    return [item for item in data["items"] if item["difference"] == "tally"]


def test_verify_tells_where_the_sums_do_not_agree_and_what_mends_it(store: Store, store_url: str) -> None:
    fill(store)
    for _ in range(3):
        tallies.fold(store)
    assert not differences("--history", database=store_url)
    hours = tally_flow.c.grain == "hour"
    with store.write() as connection:
        connection.execute(tally_flow.update().where(hours).values(count=tally_flow.c.count + 1))
    (found,) = differences(database=store_url)
    assert "by the hour:" in found["reason"]
    assert found["mend"].startswith("jobctl metrics rebuild")
    with store.write() as connection:
        connection.execute(tally_flow.update().where(~hours).values(count=tally_flow.c.count + 5))
    assert len(differences("--history", database=store_url)) > 1
    call("metrics", "rebuild", database=store_url)
    assert not differences("--history", database=store_url)


def test_verify_tells_of_a_record_that_was_changed_past_the_history(store: Store, store_url: str) -> None:
    with store.write() as connection:
        jobs.create_job(connection, Job(job_id="a"), actor="x", at=hour_ago())
        connection.exec_driver_sql(
            f"UPDATE {store.dialect.table('job')} SET status = 'failed' WHERE job_id = 'a'"
        )
    mends = {item["mend"].partition(" --database")[0] for item in differences(database=store_url)}
    assert mends == {"jobctl verify --history"}
    assert {item["mend"] for item in differences("--history", database=store_url)} == {None}
