"""Write the parts of the documentation that are generated from the code, or check that they are current.

Generated text stands between two marker lines; everything else is left as it is.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from jobctl.core.figures import Figure
from jobctl.errors import ExitCode
from jobctl.model.difference import DifferenceKind
from jobctl.model.evidence import Trust
from jobctl.model.finding import FindingKind
from jobctl.model.health import Health
from jobctl.model.logs import Says
from jobctl.model.status import TRANSITIONS, Status

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def exit_codes() -> str:
    """Every exit code and what it means."""
    rows = [f"| {code.value} | {code.meaning} |" for code in ExitCode]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def findings() -> str:
    """Every kind of finding and what it means."""
    rows = [f"| `{kind.value}` | {kind.meaning} |" for kind in FindingKind]
    return "\n".join(["| finding | meaning |", "|---|---|", *rows])


def differences() -> str:
    """Every kind of difference that verify tells, and what it means."""
    rows = [f"| `{kind.value}` | {kind.meaning} |" for kind in DifferenceKind]
    return "\n".join(["| difference | meaning |", "|---|---|", *rows])


def figures() -> str:
    """Every figure that metrics tell, and what it counts."""
    rows = [f"| `{figure.value}` | {figure.meaning} |" for figure in Figure]
    return "\n".join(["| figure | what it counts |", "|---|---|", *rows])


def health() -> str:
    """Every word for how well something is, and what it means."""
    rows = [f"| `{each.value}` | {each.meaning} |" for each in Health]
    return "\n".join(["| | |", "|---|---|", *rows])


def checks() -> str:
    """Every check of the doctor, in the order they are carried out."""
    from jobctl.ops.doctor.checks import OWN  # noqa: PLC0415 - only this block needs it

    names = {None: "", "sqlite": " (SQLite)", "postgresql": " (PostgreSQL)"}
    rows = [f"| `{each.name}`{names[each.database]} | {each.theme} | {each.why} |" for each in OWN]
    return "\n".join(["| check | theme | why it matters |", "|---|---|---|", *rows])


def trust() -> str:
    """Every grade of evidence, the most trusted first."""
    rows = [f"| {grade.label} | {grade.meaning} |" for grade in sorted(Trust, reverse=True)]
    return "\n".join(["| trust | evidence |", "|---|---|", *rows])


def says() -> str:
    """Everything that a line of a log may say of a job."""
    rows = [f"| `{each.value}` | {each.meaning} |" for each in Says]
    return "\n".join(["| says | meaning |", "|---|---|", *rows])


def transitions() -> str:
    """The life of a job, drawn from the one transition table."""
    arrows = [
        f"    {old.value} --> {new.value}: {', '.join(sorted(causes))}"
        for (old, new), causes in TRANSITIONS.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {Status.QUEUED.value}", *arrows, "```"])


def commands() -> str:
    """The help of every command, as the program prints it at 80 columns."""
    from typer.testing import CliRunner  # noqa: PLC0415 - only this block needs it

    from jobctl.cli.app import COMMANDS, make_app  # noqa: PLC0415

    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"})
    parts = []
    for name in COMMANDS:
        text = runner.invoke(make_app(), [*name.split(), "--help"]).output
        body = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"### jobctl {name}\n\n```text\n{body}\n```")
    return "\n\n".join(parts)


GENERATORS: dict[str, Callable[[], str]] = {
    "exit-codes": exit_codes,
    "findings": findings,
    "differences": differences,
    "figures": figures,
    "health": health,
    "checks": checks,
    "trust": trust,
    "says": says,
    "transitions": transitions,
    "commands": commands,
}


def render(text: str) -> str:
    """``text`` with every generated block made anew."""

    def replace(match: re.Match[str]) -> str:
        return f"{match.group(1)}{GENERATORS[match['name']]()}\n{match.group(3)}"

    return _BLOCK.sub(replace, text)


def main() -> int:
    """Generate, or with ``--check`` only compare; 1 where something is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if something is out of date"
    )
    check = parser.parse_args().check
    stale = False
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        before = path.read_text()
        after = render(before)
        if before == after:
            continue
        stale = True
        if check:
            diff = difflib.unified_diff(
                before.splitlines(), after.splitlines(), str(path), "generated", lineterm=""
            )
            print("\n".join(diff))
        else:
            path.write_text(after)
            print(f"wrote {path.relative_to(ROOT)}")
    if check and stale:
        print("generated documentation is out of date: run 'make docs'", file=sys.stderr)
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
