"""The command table says what the commands say of themselves."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

import jobctl
from cli.calling import call, installed
from jobctl import __version__
from jobctl.cli.app import make_app
from jobctl.cli.table import COMMANDS, GROUPS, command_in, names_below, options_of

OF_EVERY_COMMAND = {"--database", "--config", "--json", "--quiet", "--verbose", "--help"}


SOURCE = Path(jobctl.__file__).parent
# A command line within a text, up to where the sentence or another command goes on.
NAMED = re.compile(r"\bjobctl ([a-z][^;,'\"`)|&\n]*)")


def texts_of(source: str) -> Iterator[str]:
    """Every text that a module holds, with an X wherever something is put into it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else " X " for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def commands_named() -> Iterator[tuple[str, list[str]]]:
    """Each command that the program names anywhere, as its words, beside the module that does."""
    first = {name.split()[0] for name in COMMANDS}
    for path in sorted(SOURCE.rglob("*.py")):
        for text in texts_of(path.read_text(encoding="utf-8")):
            for found in NAMED.findall(text):
                words = found.split()
                if words[0] in first:
                    yield path.relative_to(SOURCE).as_posix(), words


def options_in_truth(name: str) -> set[str]:
    command: Any = typer.main.get_command(make_app())
    words = name.split()
    while words:
        _, command, words = command.resolve_command(
            command.make_context("", [], resilient_parsing=True), words
        )
    context = command.make_context(name, [], resilient_parsing=True)
    found = {option for parameter in command.get_params(context) for option in parameter.opts}
    return {option for option in found if option.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_in_the_table_is_the_commands_own(name: str) -> None:
    entry = COMMANDS[name]
    command = getattr(import_module(f"jobctl.cli.commands.{entry.module}"), entry.function)
    assert (inspect.getdoc(command) or "").splitlines()[0] == entry.help


@pytest.mark.parametrize("name", COMMANDS)
def test_options_in_the_table_are_the_commands_own(name: str) -> None:
    assert set(options_of(name)) == options_in_truth(name)
    assert set(options_of(name)) >= OF_EVERY_COMMAND


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS, ""])
def test_every_command_has_help_within_80_columns(name: str) -> None:
    result = call(*name.split(), "--help", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: jobctl {name}".rstrip())
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_group_called_bare_shows_its_commands(group: str) -> None:
    result = call(*group.split())
    assert result.exit_code == 0
    for name, help_ in names_below(group).items():
        assert name in result.stdout
        assert help_ in " ".join(result.stdout.split())


def test_a_mistyped_command_is_recognised() -> None:
    result = call("recovr")
    assert result.exit_code == 2
    assert "Did you mean 'recover'" in result.stderr


def test_the_version_is_the_packages() -> None:
    assert call("--version").stdout == f"jobctl {__version__}\n"
    assert installed("--version").stdout == f"jobctl {__version__}\n"


@pytest.mark.parametrize(
    ("line", "position", "expected"),
    [
        ("jobctl ", 1, list(names_below())),
        ("jobctl re", 1, [name for name in names_below() if name.startswith("re")]),
        ("jobctl root ", 2, ["list", "adopt"]),
        ("jobctl scan --fin", 2, ["--finding"]),
        ("jobctl root adopt --js", 3, ["--json"]),
        ("jobctl scan --finding brok", 3, ["broken-video"]),
        ("jobctl nonsense ", 2, []),
    ],
)
def test_completion(line: str, position: int, expected: list[str]) -> None:
    asked = {"_JOBCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(position)}
    assert installed(env=asked).stdout.split() == expected


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("zsh", f'_arguments \'*: :(("show":"{COMMANDS["show"].help}"))\'\n'),
        ("fish", f"show\t{COMMANDS['show'].help}\n"),
    ],
)
def test_completion_speaks_the_shells_language(shell: str, expected: str) -> None:
    asked = {"_JOBCTL_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "jobctl sho"}
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    assert installed(env={**asked, **fish}).stdout == expected


def is_there(words: list[str]) -> bool:
    """Whether a command line names a command, with options that it takes, or nothing but a group of them."""
    name, options = command_in(words), {word.partition("=")[0] for word in words if word.startswith("--")}
    return words == [name] if name in GROUPS else name in COMMANDS and options <= set(options_of(name))


def test_every_command_that_is_named_is_there_and_takes_what_it_is_named_with() -> None:
    named = list(commands_named())
    assert len(named) > 100
    assert [f"{where}: jobctl {' '.join(words)}" for where, words in named if not is_there(words)] == []
