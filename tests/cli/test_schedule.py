"""``jobctl schedule``: what it prints is what it writes, what it writes runs, and only its own is touched."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.calling import PROGRAM, Shown, answer, call, installed, on_terminal
from jobctl.core.schedule import END_MARK, MARK, File
from jobctl.errors import ScheduleRefused
from jobctl.ops import schedule
from jobctl.ops.schedule import Kind, Schedule, ScheduleOptions
from jobctl.ops.schedule_files import install, installed_for_s, remove
from ops.world import World
from postgres import system_binaries, wheel_binaries

NOBODY = 65_534
SECRET_URL = "postgresql://ops:hunter2@127.0.0.1:1/jobs"
OWN_CRONTAB = ScheduleOptions(kind=Kind.CRON, every={})
OURS = Schedule(OWN_CRONTAB, [File("jobctl", f"{MARK}\n5 * * * * jobctl expire\n{END_MARK}\n")])

# Python 3.12 warns of a fork beside the test runner's own thread; the program has one thread.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``crontab`` program that keeps its table in a file, as cron's own does."""
    table, program = tmp_path / "table", tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ntable={shlex.quote(str(table))}\nif [ "$1" = - ]; then exec cat > "$table"; fi\n'
        'if [ -e "$table.refuses" ]; then echo "you are not allowed" >&2; exit 1; fi\n'
        'if [ -e "$table" ]; then exec cat "$table"; fi\necho "no crontab for $USER" >&2; exit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return table


@pytest.fixture
def either(bare_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on each database."""
    world = World(bare_url, tmp_path / "outputs", host="")
    world.init()
    yield world
    world.close()


def commands(text: str) -> list[str]:
    """The commands of a crontab without user column."""
    return [line.split(" ", 5)[5] for line in text.splitlines() if not line.startswith("#")]


def as_cron_runs(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line as cron does: by a shell, from elsewhere, with next to no environment."""
    command = command.replace("--jitter 60s", "--jitter 0.001s").replace("--jitter 1800s", "--jitter 0.001s")
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": "/", "PATH": f"{system_binaries() or wheel_binaries()}:/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_line_of_the_crontab_runs_and_says_nothing(either: World, tmp_path: Path) -> None:
    either.video()
    (tmp_path / "jobctl.toml").write_text(f'[backup]\ndirectory = "{tmp_path}/backups"\n')
    result = call("schedule", "--cron", "--config", str(tmp_path / "jobctl.toml"), database=either.url)
    assert (result.exit_code, len(commands(result.stdout))) == (0, 5)
    for command in commands(result.stdout):
        ended = as_cron_runs(command)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", ""), command
    assert len(either.job_ids()) == 1
    assert len(list((tmp_path / "backups").glob("jobctl-*"))) == 1


def test_units_may_write_where_backups_go_once_that_is_there(world: World, tmp_path: Path) -> None:
    (tmp_path / "jobctl.toml").write_text(f'[backup]\ndirectory = "{tmp_path}/backups"\n')
    command = ("schedule", "--systemd", "--user", "root", "--config", str(tmp_path / "jobctl.toml"))
    told = answer(*command, database=world.url)
    assert any(f"backups go to {tmp_path}/backups" in warning for warning in told["warnings"])
    (tmp_path / "backups").mkdir()
    told = answer(*command, database=world.url)
    assert told["warnings"] == []
    assert f"ReadWritePaths={tmp_path}/backups\n" in told["data"]["items"][0]["text"]


def test_every_service_runs_what_the_crontab_runs(either: World) -> None:
    lines = commands(call("schedule", "--cron", database=either.url).stdout)
    items = answer("schedule", "--systemd", database=either.url)["data"]["items"]
    texts = [item["text"] for item in items if item["path"].endswith(".service")]
    starts = [line.partition("=")[2] for text in texts for line in text.splitlines() if "ExecStart" in line]
    assert [shlex.split(each) for each in starts] == [shlex.split(each)[:-2] for each in lines]


def test_crontab_lines_are_printed_ready_to_be_sent_on(world: World, crontab: Path) -> None:
    result = call("schedule", "--cron", "--only", "expire", "--every", "expire=15m", database=world.url)
    assert result.exit_code == 0
    first, line, last = result.stdout.splitlines()
    assert (first, last) == (MARK, END_MARK)
    assert line == f"*/15 * * * * {PROGRAM} expire --yes --quiet --database {world.url} --jitter 60s"
    subprocess.run(["crontab", "-"], input=result.stdout, text=True, check=True)
    assert crontab.read_text() == result.stdout


def test_a_configuration_that_was_found_is_named_from_everywhere(world: World, tmp_path: Path) -> None:
    place = tmp_path / "my 100% site"
    place.mkdir()
    (place / "jobctl.toml").write_text('database = "../store/jobs.db"\n')
    printed = installed("schedule", "--cron", "--only", "recover", cwd=place)
    assert printed.returncode == 0, printed.stderr
    (command,) = commands(printed.stdout)
    words = shlex.split(command)
    assert words[4:8] == ["--config", str(place / "jobctl.toml"), "--database", world.url]
    assert as_cron_runs(command).returncode == 0


def test_a_store_named_by_the_environment_is_named_in_the_schedule(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCTL_DATABASE_URL", world.url)
    assert f"--database {world.url}" in call("schedule", "--cron").stdout


def test_units_are_written_where_they_are_wanted_and_removed_again(world: World, tmp_path: Path) -> None:
    there = ("schedule", "--systemd", "--directory", str(tmp_path / "units"))
    refused = call(*there, "--install", database=world.url)
    assert (refused.exit_code, (tmp_path / "units").exists()) == (5, False)
    for _ in range(2):
        assert call(*there, "--install", "--yes", database=world.url).exit_code == 0
    service = tmp_path / "units" / "jobctl-cleanup.service"
    printed = answer(*there, database=world.url)["data"]["items"]
    assert {item["path"]: item["text"] for item in printed}[str(service)] == service.read_text()
    assert stat.S_IMODE(service.stat().st_mode) == 0o644
    assert len(list((tmp_path / "units").iterdir())) == 10
    assert call(*there, "--remove", "--only", "purge").exit_code == 0
    assert len(list((tmp_path / "units").iterdir())) == 8


def test_they_are_removed_when_the_store_is_gone_and_so_is_what_enabled_them(
    world: World, tmp_path: Path
) -> None:
    there = ("schedule", "--systemd", "--directory", str(tmp_path / "units"))
    call(*there, "--install", "--yes", database=world.url)
    wants = tmp_path / "units" / "timers.target.wants"
    wants.mkdir()
    (wants / "jobctl-expire.timer").symlink_to(tmp_path / "units" / "jobctl-expire.timer")
    (wants / "other.timer").symlink_to("/usr/lib/other.timer")
    removed = answer(*there, "--remove", database=str(tmp_path / "gone.db"))["data"]["removed"]
    assert len(removed) == 11
    assert [each.name for each in (tmp_path / "units").iterdir()] == ["timers.target.wants"]
    assert [each.name for each in wants.iterdir()] == ["other.timer"]
    assert answer(*there, "--remove")["data"] == {"removed": [], "next": None}


def test_cron_d_gets_a_user_column(world: World, tmp_path: Path) -> None:
    there = ("schedule", "--cron", "--directory", str(tmp_path / "cron.d"))
    assert call(*there, "--install", "--yes", "--user", "video", database=world.url).exit_code == 0
    lines = (tmp_path / "cron.d" / "jobctl").read_text().splitlines()
    assert lines[1].startswith(f"7 * * * * video {PROGRAM} recover ")
    assert call(*there, "--remove").exit_code == 0
    assert list((tmp_path / "cron.d").iterdir()) == []
    by_owner = call(*there, database=world.url).stdout.splitlines()[1]
    assert by_owner.split(" ")[5] == world.root.owner()


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "masked"])
def test_a_file_of_somebody_else_stops_it_before_anything_is_written(
    world: World, tmp_path: Path, *, is_link: bool
) -> None:
    theirs = tmp_path / "jobctl-expire.timer"
    theirs.symlink_to("/dev/null") if is_link else theirs.write_text("[Timer]\n")
    there = ("schedule", "--systemd", "--directory", str(tmp_path))
    result = call(*there, "--install", "--yes", database=world.url)
    assert result.exit_code == 2
    assert f"{theirs} was not written by jobctl; nothing was changed" in result.stderr
    assert f"mv -- {theirs} {theirs}.old" in result.stderr
    assert not (tmp_path / "jobctl-recover.timer").exists()
    call(*there, "--remove")
    assert theirs.is_symlink() if is_link else theirs.read_text() == "[Timer]\n"


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"n\n", 5)])
def test_on_a_terminal_it_shows_what_it_would_write_and_asks(
    world: World, tmp_path: Path, typed: bytes, code: int
) -> None:
    place = tmp_path / "units"
    shown: Shown = on_terminal(
        "schedule",
        "--systemd",
        "--only",
        "purge",
        "--directory",
        str(place),
        "--install",
        "--database",
        world.url,
        typed=typed,
    )
    assert shown.returncode == code, shown.text
    assert "OnCalendar=*-*-* 04:17:00" in shown.text
    assert (place / "jobctl-purge.timer").exists() == (code == 0)


def test_what_cannot_be_written_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    there = ("schedule", "--systemd", "--directory", str(tmp_path / "file"))
    result = call(*there, "--install", "--yes", database=world.url)
    assert (result.exit_code, "cannot be written to" in result.stderr) == (2, True)


def test_other_lines_of_a_crontab_stay_byte_by_byte(crontab: Path) -> None:
    others = b"MAILTO=ops\n# caf\xe9\n"
    crontab.write_bytes(others)
    for _ in range(2):
        install(OURS)
    assert crontab.read_bytes() == others + OURS.files[0].text.encode()
    assert remove(OWN_CRONTAB) == ["crontab"]
    assert (crontab.read_bytes(), remove(OWN_CRONTAB)) == (others, [])


def test_a_first_crontab_is_made(crontab: Path) -> None:
    install(OURS)
    assert crontab.read_text() == OURS.files[0].text


def test_a_crontab_that_cannot_be_read_is_not_taken_for_an_empty_one(crontab: Path) -> None:
    crontab.write_text("MAILTO=ops\n")
    crontab.with_name("table.refuses").touch()
    for change in (lambda: install(OURS), lambda: remove(OWN_CRONTAB)):
        with pytest.raises(ScheduleRefused, match="cannot be read: you are not allowed"):
            change()
    assert crontab.read_text() == "MAILTO=ops\n"


def test_a_block_without_an_end_takes_no_line_with_it(crontab: Path) -> None:
    before = f"{MARK}\n5 * * * * jobctl expire\n1 2 * * * backup\n"
    crontab.write_text(before)
    with pytest.raises(ScheduleRefused, match="has no end") as refused:
        install(OURS)
    assert END_MARK in refused.value.hint
    assert crontab.read_text() == before


def test_without_cron_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScheduleRefused, match="no crontab program"):
        install(OURS)


@pytest.mark.parametrize("kind", ["--cron", "--systemd"])
@pytest.mark.parametrize("is_flag", [True, False], ids=["flag", "environment"])
def test_a_password_is_never_written_into_a_schedule(
    kind: str, monkeypatch: pytest.MonkeyPatch, *, is_flag: bool
) -> None:
    if not is_flag:
        monkeypatch.setenv("JOBCTL_DATABASE_URL", SECRET_URL)
    result = call("schedule", kind, database=SECRET_URL if is_flag else None)
    assert "hunter2" not in result.stdout + result.stderr
    assert result.exit_code == 2
    assert "mode 0600" in result.stderr


def test_a_password_in_files_is_left_there(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{postgresql_url}{'&' if '?' in postgresql_url else '?'}sslpassword=hunter2"
    (tmp_path / "jobctl.toml").write_text(f'database = "{url}"\n')
    (tmp_path / "jobctl.toml").chmod(0o600)
    result = call("schedule", "--cron", "--config", str(tmp_path / "jobctl.toml"))
    assert (result.exit_code, "hunter2" in result.stdout, "warning" in result.stderr) == (0, False, False)
    assert f"--config {tmp_path}/jobctl.toml" in result.stdout
    environment = tmp_path / "environment"
    environment.write_text(f"JOBCTL_DATABASE_URL={url}\n")
    environment.chmod(0o644)
    monkeypatch.setenv("JOBCTL_DATABASE_URL", url)
    result = call("schedule", "--systemd", "--environment-file", str(environment))
    assert (result.exit_code, "hunter2" in result.stdout) == (0, False)
    assert f"EnvironmentFile={environment}\n" in result.stdout
    assert f"chmod 600 {environment}" in result.stderr


def test_json_holds_each_file(world: World) -> None:
    items = answer("schedule", "--systemd", "--only", "purge", database=world.url)["data"]["items"]
    assert [Path(item["path"]).name for item in items] == ["jobctl-purge.service", "jobctl-purge.timer"]
    assert all(item["kind"] == "systemd" and item["text"].startswith(MARK) for item in items)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--cron", "--systemd"],
        ["--cron", "--worker"],
        ["--worker", "--only", "purge"],
        ["--install", "--remove"],
        ["--only", "sleep"],
        ["--every", "expire=7m"],
        ["--every", "expire"],
        ["--every", "x=1h"],
        ["--cron", "--environment-file", "/etc/jobctl.env"],
        ["--cron", "--remove", "--only", "purge"],
        ["--cron", "--user", "nobody-of-this-name"],
        ["--cron", "--user", "a b", "--directory", "/nowhere"],
    ],
)
def test_what_makes_no_sense_is_refused(world: World, wrong: list[str]) -> None:
    result = call("schedule", *wrong, database=world.url)
    assert (result.exit_code, "hint:" in result.stderr) == (2, True)


@pytest.fixture
def owned_by_nobody(world: World, tmp_path: Path) -> World:
    """A site that does not belong to root, who calls the program."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for parent in [tmp_path, *tmp_path.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    world.close()
    for top in (Path(world.url).parent, world.root):
        for path in [top, *top.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
    return world


def test_run_by_root_the_files_are_roots_and_the_store_stays_its_owners(
    owned_by_nobody: World, tmp_path: Path
) -> None:
    place = tmp_path / "for-root-alone"
    place.mkdir(mode=0o700)
    there = ("schedule", "--systemd", "--directory", str(place), "--install", "--yes")
    result = call(*there, database=owned_by_nobody.url)
    assert result.exit_code == 0, result.stderr
    service = place / "jobctl-recover.service"
    assert f"User={Path(owned_by_nobody.url).owner()}\n" in service.read_text()
    assert service.stat().st_uid == 0
    assert {each.stat().st_uid for each in Path(owned_by_nobody.url).parent.iterdir()} == {NOBODY}


def test_run_by_root_what_the_owner_was_told_is_told(owned_by_nobody: World) -> None:
    Path(owned_by_nobody.url).write_bytes(b"")
    result = call("schedule", "--systemd", database=owned_by_nobody.url)
    assert (result.exit_code, "hint:" in result.stderr) == (10, True)


@pytest.mark.parametrize("command", [["scan"], ["recover", "--yes"]])
def test_a_wait_comes_before_the_store_is_opened(world: World, tmp_path: Path, command: list[str]) -> None:
    assert call(*command, "--jitter", "0.001s", database=world.url).exit_code == 0
    wrong = call(*command, "--jitter", "-1m", database=str(tmp_path / "no-store.db"))
    assert (wrong.exit_code, "--jitter" in wrong.stderr) == (2, True)


def test_a_worker_gets_a_service_that_starts_it_where_it_was_asked_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "app"
    place.mkdir()
    (place / "jobctl.toml").write_text('[worker]\nmodules = ["films"]\ngrace = "2m"\n')
    (place / "films.py").write_text(
        'import jobctl\n\n@jobctl.task("render")\ndef render(attempt):\n    pass\n'
    )
    monkeypatch.chdir(place)
    there = ("schedule", "--worker", "--directory", str(tmp_path / "units"))
    assert call(*there, "--install", "--yes", database=world.url).exit_code == 0
    (unit,) = (tmp_path / "units").iterdir()
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
    assert (unit.name, lines["TimeoutStopSec"]) == ("jobctl-worker.service", "150s")
    words = [*shlex.split(lines["ExecStart"]), "--burst"]
    ended = subprocess.run(words, cwd=lines["WorkingDirectory"], capture_output=True, text=True, check=False)
    assert (ended.returncode, "serves default with render" in ended.stderr) == (0, True), ended.stderr
    wants = tmp_path / "units" / "multi-user.target.wants"
    wants.mkdir()
    (wants / unit.name).symlink_to(unit)
    assert len(answer(*there, "--remove")["data"]["removed"]) == 2


def test_a_worker_without_tasks_gets_no_service(world: World, tmp_path: Path) -> None:
    result = call(
        "schedule", "--worker", "--directory", str(tmp_path), "--install", "--yes", database=world.url
    )
    assert (result.exit_code, "which tasks a worker can run" in result.stderr) == (2, True)
    assert list(tmp_path.glob("*.service")) == []


def test_a_schedule_in_the_callers_own_crontab_counts_as_installed(
    crontab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_CRON_PLACE", "_SYSTEM_PLACE"):
        monkeypatch.setattr(schedule, name, str(tmp_path / "none"))
    crontab.write_text("5 * * * * jobctl expire\n")
    assert installed_for_s() is None
    install(OURS)
    assert installed_for_s() == 0.0
