"""What is asked for quickly is answered without importing what is slow."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {"typer", "rich", "sqlalchemy", "pydantic", "alembic", "psycopg", "av", "sqlite_utils"}
_SAY_MODULES = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules, file=sys.stderr))
sys.argv = ["jobctl", *sys.argv[1:]]
from jobctl.cli import main
main()
"""


def loaded(*arguments: str, **env: str) -> set[str]:
    """The slow packages that a call loads."""
    ended = subprocess.run(
        [sys.executable, "-c", _SAY_MODULES, *arguments],
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    names = ended.stderr.partition("loaded:")[2].split()
    return {name.partition(".")[0] for name in names} & SLOW


def test_the_version_needs_nothing() -> None:
    assert loaded("--version") == set()


def test_completion_of_commands_and_options_needs_nothing() -> None:
    for words, position in (("jobctl sc", "1"), ("jobctl scan --f", "2")):
        asked = {"_JOBCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
        assert loaded(**asked) == set()


@pytest.mark.parametrize("name", ["", "scan", "recover", "list", "root"])
def test_help_needs_only_typer(name: str) -> None:
    assert loaded(*name.split(), "--help") == {"typer"}


@pytest.mark.parametrize("name", ["list", "status"])
def test_a_listing_off_a_terminal_needs_only_the_store(name: str, world: object) -> None:
    url = world.url  # type: ignore[attr-defined]
    assert loaded(name, "--database", url) <= {"typer", "sqlalchemy"}


def test_the_tables_of_one_database_need_nothing_of_the_other() -> None:
    program = "import sys, jobctl.store.schema; sys.exit('sqlalchemy.dialects.postgresql' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
