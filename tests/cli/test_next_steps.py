"""The command that an answer names works as it is pasted: on the same store, its words quoted for a shell."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from cli.calling import answer, call, on_terminal
from jobctl.cli.context import Call
from jobctl.cli.each_job import change_each
from jobctl.cli.output import Output
from jobctl.errors import StoreUnreachable
from jobctl.model.job import Job
from jobctl.ops.site import Site
from ops.world import World, a_job_id

PLACE = "--database '/srv/my jobs.db'"


@pytest.mark.parametrize(
    ("said", "placed"),
    [
        ("run 'jobctl list' to see them", f"run 'jobctl list {PLACE}' to see them"),
        ("see: jobctl runs", f"see: jobctl runs {PLACE}"),
        ("Next: jobctl recover.", f"Next: jobctl recover {PLACE}."),
        (
            "see which: jobctl runs; wait until it ended",
            f"see which: jobctl runs {PLACE}; wait until it ended",
        ),
        ("all of it: jobctl run show x | less", f"all of it: jobctl run show x {PLACE} | less"),
        ("jobctl scan && jobctl recover", f"jobctl scan {PLACE} && jobctl recover {PLACE}"),
        ("do it: jobctl apply 'my plan; b' --yes", f"do it: jobctl apply 'my plan; b' --yes {PLACE}"),
        ("no job x (jobctl list)", f"no job x (jobctl list {PLACE})"),
        (f"jobctl list {PLACE}", f"jobctl list {PLACE}"),
        ("run 'jobctl scan --help'", "run 'jobctl scan --help'"),
        ("run jobctl as its owner", "run jobctl as its owner"),
        ("name a file that 'jobctl backup' made", f"name a file that 'jobctl backup {PLACE}' made"),
    ],
)
def test_a_command_that_is_named_is_given_the_store_of_this_call(said: str, placed: str) -> None:
    assert Output("list", place={"--database": "/srv/my jobs.db"}).placed(said) == placed


def test_without_a_store_that_was_named_nothing_is_added() -> None:
    assert Output("list").placed("see: jobctl runs") == "see: jobctl runs"


def _command_in(hint: str) -> list[str]:
    return shlex.split(hint[hint.index("jobctl ") :])


def test_what_needs_a_yes_names_the_whole_command_that_says_it(world: World) -> None:
    world.video(0)
    told = answer("recover", "--root", str(world.root), database=world.url)
    [error] = told["errors"]
    command = _command_in(error["hint"])
    assert call(*command[1:], "--json").exit_code == 0
    assert len(world.job_ids()) == 1


def test_a_saved_plan_with_a_blank_in_its_name_is_applied_by_what_is_said(world: World) -> None:
    world.video(0)
    plan = world.root.parent / "my plan; 'b'"
    call("recover", "--plan", str(plan), database=world.url)
    [error] = answer("apply", str(plan), database=world.url)["errors"]
    assert "--plan" not in error["hint"]
    assert call(*_command_in(error["hint"])[1:]).exit_code == 0
    assert len(world.job_ids()) == 1


def test_what_is_left_out_of_a_screen_names_the_store_it_is_in(world: World) -> None:
    for number in range(7):
        world.video(number)
    shown = " ".join(on_terminal("scan", "--database", world.url, width=200).text.split())
    assert f"… 2 more: jobctl scan --finding orphan-video --database {world.url}" in shown
    assert f"Next: jobctl recover --database {world.url}" in shown


def test_a_job_that_cannot_be_changed_is_told_with_a_command_for_its_store(world: World) -> None:
    result = call("cancel", "nope", database=world.url)
    assert result.exit_code == 3
    assert f"'jobctl list --database {world.url}'" in result.stderr


def test_what_was_done_is_said_at_once_also_where_the_store_goes_away_then(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = a_job_id(0), a_job_id(1)
    for number in (0, 1):
        world.start_job(number)

    def change(_: Site, job_id: str) -> Job:
        if job_id == second:
            raise StoreUnreachable("it is gone", hint="wait")
        return Job(job_id=job_id)

    asked = Call(Output("cancel"), database=world.url)
    with pytest.raises(StoreUnreachable):
        change_each(asked, [first, second], change, lambda _: "is cancelled")
    assert f"Job {first} is cancelled." in capsys.readouterr().err


@pytest.mark.parametrize("job_id", ["two words", "it's", "$(id)", "a\nb", "back\\slash"])
def test_a_job_of_any_id_is_named_so_that_a_shell_finds_it(world: World, job_id: str) -> None:
    [error] = answer("events", f"{job_id}x", "--database", world.url)["errors"]
    looked_for = f"printf '%s\\0' {error['hint'].partition(': ')[2]}"
    printed = subprocess.run(["bash", "-c", looked_for], capture_output=True, check=True).stdout
    assert printed.decode().split("\0")[2] == f"{job_id}x"


def test_what_does_not_fit_on_a_screen_is_told_with_what_was_asked_for(world: World, tmp_path: Path) -> None:
    dump = tmp_path / "jobs.jsonl"
    dump.write_text("".join(f'{{"job_id": "{a_job_id(n)}", "status": "failed"}}\n' for n in range(201)))
    run = answer("import", str(dump), "--yes", database=world.url)["run_id"]
    shown = on_terminal("run", "show", run, "--result", "done", "--database", world.url, width=200).text
    assert "The first 200 steps are shown; all of them: jobctl run show" in shown
    assert f"jobctl run show {run} --result done --database {world.url} | less" in " ".join(shown.split())
    none = on_terminal("run", "show", run, "--result", "failed", "--database", world.url).text
    assert "steps are shown" not in none
