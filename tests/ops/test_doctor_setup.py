"""The doctor on what jobctl is set up with: configuration, passwords in sight, tools."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jobctl.model.health import Health
from jobctl.ops.doctor import setup
from jobctl.outputs import decode_worker
from jobctl.settings import Settings, load_settings
from ops.doctoring import diagnosis, diagnosis_of, mend
from ops.world import World

SECRET = 'database = "postgresql://ops:hunter2@db/jobs"\n'


def configured(tmp_path: Path, text: str, mode: int) -> Settings:
    path = tmp_path / "jobctl.toml"
    path.write_text(text)
    path.chmod(mode)
    return load_settings(config=str(path), environ={})


def test_the_file_and_the_variables_that_were_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCTL_HOST_ID", "host-a")
    found = diagnosis_of(configured(tmp_path, "quiet_s = 60", 0o644), "configuration")
    assert (found.health, found.said) == (Health.OK, f"{tmp_path}/jobctl.toml, JOBCTL_HOST_ID")
    none = diagnosis_of(load_settings(database="x", environ={}), "configuration")
    assert none.said.startswith("no file")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (SECRET, 0o640, "others may read "),
        (SECRET, 0o604, "others may read "),
        ("quiet_s = 60", 0o664, "others may write "),
        ("quiet_s = 60", 0o606, "others may write "),
    ],
)
def test_a_file_that_others_reach_is_closed_to_them(
    tmp_path: Path, embedded: World, text: str, mode: int, said: str
) -> None:
    settings = configured(tmp_path, text, mode)
    found = diagnosis_of(settings, "configuration")
    assert found.health is Health.FAIL
    assert found.said.startswith(f"{said}{tmp_path}/jobctl.toml")
    assert "hunter2" not in repr(found)
    mend(embedded, found)
    assert diagnosis_of(settings, "configuration").health is Health.OK


def test_the_mode_of_what_is_no_regular_file_is_nobodys_fault(tmp_path: Path) -> None:
    """``--config /dev/null`` reads nothing; to close the device to others would break the machine."""
    pipe = tmp_path / "settings"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    for path in ("/dev/null", str(pipe)):
        found = diagnosis_of(replace(load_settings(database="x", environ={}), source=path), "configuration")
        assert (found.health, found.command) == (Health.OK, "")


def test_a_password_on_the_command_line_of_a_worker_is_told(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis(embedded, "command-lines").health is Health.OK
    words = [
        sys.executable,
        "-c",
        "print(flush=True); input()",
        "--database",
        "postgresql://ops:hunter2@db/jobs",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # The kernel shows no command line until the program has begun.
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setattr(setup, "pids_of_workers", lambda patient: [process.pid])
        found = diagnosis(embedded, "command-lines")
        process.kill()
    assert (found.health, f"pid {process.pid} (" in found.said) == (Health.FAIL, True)
    assert ".pgpass" in found.fix
    assert "hunter2" not in repr(found)


def test_decoders_that_are_missing_are_named(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnosis(embedded, "codecs").health is Health.OK
    monkeypatch.setattr(setup, "CODECS", ("h264", "theora-of-mars"))
    found = diagnosis(embedded, "codecs")
    assert (found.health, "no decoder for theora-of-mars" in found.said) == (Health.FAIL, True)


def test_media_libraries_that_do_not_load_are_told(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, decode_worker.__name__, None)  # type: ignore[arg-type]
    found = diagnosis(embedded, "codecs")
    assert (found.health, "PyAV does not load" in found.said) == (Health.FAIL, True)


def test_configuration_and_tools_are_told_without_a_store(embedded: World, tmp_path: Path) -> None:
    nowhere = replace(embedded.settings, database=str(tmp_path / "nowhere" / "jobs.db"))
    for name in ("configuration", "command-lines", "codecs", "file-system", "room"):
        assert diagnosis_of(nowhere, name).health is Health.OK
