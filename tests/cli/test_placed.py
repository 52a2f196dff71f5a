"""The commands that a message names work on the store and the configuration of the call that tells it."""

from __future__ import annotations

import pytest

from jobctl.cli.output import Format, Output
from jobctl.errors import ExitCode, UsageError
from jobctl.report.envelope import Ending

AT = "--database '/srv/a b.db'"


def output() -> Output:
    return Output("scan", place={"--database": "/srv/a b.db"})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("see: jobctl runs", f"see: jobctl runs {AT}"),
        (
            "first 'jobctl scan', then 'jobctl recover'",
            f"first 'jobctl scan {AT}', then 'jobctl recover {AT}'",
        ),
        ("do it with 'jobctl restore 'a b' --yes'", f"do it with 'jobctl restore 'a b' --yes {AT}'"),
        ("with 'jobctl restore $'a\\nb' --yes'", f"with 'jobctl restore $'a\\nb' --yes {AT}'"),
        ("it is gone (see: jobctl show j1)", f"it is gone (see: jobctl show j1 {AT})"),
        ("install the version of jobctl that made it", "install the version of jobctl that made it"),
        ("run 'jobctl scan --help'", "run 'jobctl scan --help'"),
    ],
)
def test_a_command_gets_the_options_that_named_the_store_once(said: str, told: str) -> None:
    assert output().placed(said) == told
    assert output().placed(told) == told


def test_a_text_that_only_looks_like_many_commands_is_read_once() -> None:
    said = "jobctl list " * 80_000 + "'"
    assert output().placed(said) == said


def test_wherever_a_command_is_named_it_gets_them(capsys: pytest.CaptureFixture[str]) -> None:
    out, named = output(), f"see: jobctl runs {AT}"
    for tell in (out.say, out.note, out.warn, out.alert):
        tell("see: jobctl runs")
    errors = [UsageError("no", hint="see: jobctl runs"), UsageError("nor this", hint="see: jobctl runs")]
    out.end(Ending(ExitCode.USAGE, errors=errors))
    assert capsys.readouterr().err.count(named) == 6
    out.format = Format.JSON
    out.warn("see: jobctl runs")
    assert out.warnings == [named]
