"""However a call ends, it ends in order: signals, a reader that goes away, a full disk."""

from __future__ import annotations

import errno
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.calling import PROGRAM, answer, call, installed, read_until
from jobctl.outputs import effects
from ops.world import World


@pytest.fixture
def lost(world: World) -> World:
    world.video(0)
    return world


def until(fd: int, wanted: bytes) -> bytes:
    """What a terminal shows until ``wanted`` is there."""
    seen = b""
    while wanted not in seen:
        chunk = os.read(fd, 65_536)
        assert chunk, seen
        seen += chunk
    return seen


@pytest.fixture
def asking(lost: World) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The program, holding its locks, waiting for an answer on a terminal."""
    ours, theirs = pty.openpty()
    arguments = [PROGRAM, "recover", "--database", lost.url]
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    until(ours, b"[y/N]")
    with process:
        yield process, ours
        process.kill()
    os.close(ours)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order_and_gives_the_locks_back(
    asking: tuple[subprocess.Popen[bytes], int], lost: World, number: signal.Signals, code: int
) -> None:
    process, _ = asking
    locked = answer("recover", database=lost.url)
    assert locked["exit_code"] == 11
    assert f"pid {process.pid}" in locked["errors"][0]["message"]
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == code
    assert b"run the same command again" in said
    assert b"Traceback" not in said
    assert call("recover", "--yes", database=lost.url).exit_code == 0


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["status", "--watch", "1"], b"Ctrl-C ends"),
        (["top", "1"], b"well"),
        (["events", "--follow"], b"created"),
    ],
    ids=["status", "top", "events"],
)
def test_what_watches_ends_with_its_terminal_also_where_no_signal_says_that_it_goes(
    world: World, words: list[str], shown: bytes
) -> None:
    world.queue_job(0)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *words, "--database", world.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    with process:
        try:
            read_until(ours, shown)
        finally:
            os.close(ours)
        try:
            process.wait(20)
        finally:
            process.kill()


def test_a_reader_that_goes_away_ends_it_like_any_filter(world: World) -> None:
    world.start_job(0)
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [PROGRAM, "list", "--database", world.url],
        stdout=writing,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    os.close(writing)
    assert ended.returncode == -signal.SIGPIPE
    assert ended.stderr == b""


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_answer_that_cannot_be_written_is_told(world: World, form: list[str]) -> None:
    world.start_job(0)
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [PROGRAM, "list", "--database", world.url, *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    assert ended.returncode == 1
    assert "the answer could not be written: No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_full_disk_is_told_as_what_it_is(lost: World) -> None:
    def fail(name: str, number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    effects.observe(before=fail)
    try:
        told = answer("recover", "--yes", database=lost.url)
    finally:
        effects.observe()
    assert told["exit_code"] == 3
    [error] = told["errors"]
    assert error["code"] == "disk-failed"
    assert "No space left on device" in error["message"]
    assert answer("recover", "--yes", database=lost.url)["counts"]["done"] == 1


def test_a_directory_that_is_gone_is_told_as_what_it_is(world: World, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && "{PROGRAM}" bundle --to b.tar.gz --database "{world.url}"'
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, "in which this was called is gone" in ended.stderr) == (2, True), ended.stderr


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_are_no_reason_to_fail(lost: World, closed: str) -> None:
    """Nor may the store be opened in their place and be written into."""
    script = f"exec {PROGRAM} recover --yes --database {lost.url} {closed}"
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0
    assert len(lost.job_ids()) == 1


def test_a_locale_without_utf_8_breaks_nothing(lost: World) -> None:
    (lost.root / os.fsdecode(b"caf\xe9")).mkdir()
    ended = installed("scan", "--database", lost.url, env={"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0
    assert "orphan-video" in ended.stdout


def test_the_installed_program_answers_like_the_one_in_this_process(lost: World) -> None:
    told = installed("scan", "--json", "--database", lost.url)
    assert json.loads(told.stdout)["counts"] == answer("scan", database=lost.url)["counts"]
    assert told.stderr == ""
