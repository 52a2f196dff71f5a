"""The documentation is tested: generated parts are current, commands it names exist, the demo runs."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import generate_docs
import jobctl
from cli.calling import call
from jobctl import errors
from jobctl.cli.table import COMMANDS
from jobctl.core.layout import layout_from_mapping
from jobctl.errors import JobctlError
from jobctl.evidence.rules import rule_sets
from jobctl.settings import load_settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = [name for layer in CONTRACTS[0]["layers"] for name in layer.split(" | ")]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def help_of(*command: str) -> str:
    """The help of a command, asked for once however many pages name it."""
    asked = call(*command, "--help")
    assert asked.exit_code == 0, asked.output
    return asked.stdout


@pages
def test_generated_parts_are_current(page: Path) -> None:
    assert generate_docs.render(page.read_text()) == page.read_text()


@pages
def test_every_command_named_exists_with_its_options(page: Path) -> None:
    for code in re.findall(r"`(jobctl [^`\n]+)`|^\$ (jobctl .+)$", page.read_text(), re.MULTILINE):
        words = "".join(code).split("#")[0].split()[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0].rstrip(",")
        if name.startswith("--"):
            assert name in help_of(), code
            continue
        assert name in COMMANDS, code
        for option in (word for word in words if word.startswith("--")):
            assert option.partition("=")[0] in help_of(*name.split()), code


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pages
def test_every_function_and_module_named_exists(page: Path) -> None:
    layers = "|".join(name for name in LAYERS if (Path(jobctl.__file__).parent / name).is_dir())
    for name in re.findall(rf"`((?:{layers})(?:\.\w+)+)`", page.read_text()):
        pkgutil.resolve_name(f"jobctl.{name}")


def test_the_layers_are_those_that_are_checked() -> None:
    said = re.search(r"`(cli > .*)`", (ROOT / "docs" / "architecture.md").read_text())
    assert said is not None
    assert re.split(r" > |, ", said[1]) == LAYERS


def test_every_command_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    assert all(f"### jobctl {name}\n" in reference for name in COMMANDS)


def test_the_configuration_in_the_readme_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "jobctl.toml").write_text(example)
    settings = load_settings(config=str(tmp_path / "jobctl.toml"), environ={})
    assert settings.database == tomllib.loads(example)["database"]
    layout_from_mapping("invoices", settings.layouts["invoices"])


@pytest.mark.parametrize("page", ["backup.md", "cleanup.md", "evidence.md", "runner.md", "transfer.md"])
def test_the_configuration_in_the_docs_is_one(page: str, tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert examples
    for example in examples:
        (tmp_path / "jobctl.toml").write_text(example)
        settings = load_settings(config=str(tmp_path / "jobctl.toml"), environ={})
        rule_sets(settings.logs)


def test_error_codes_are_told_apart() -> None:
    found = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, JobctlError)
    ]
    codes = [each.code for each in found]
    assert len(codes) == len(set(codes))


def test_the_demo_shows_what_the_readme_promises(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    for line in (
        "$ jobctl scan",
        "$ jobctl recover --yes",
        "orphan-video\t",
        "finished-but-open\t",
        "interrupted\t",
    ):
        assert line in said
    assert said.count("\tcompleted\t") >= 14
    assert "(exit" not in said
