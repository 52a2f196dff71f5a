"""A skip that no listed reason allows fails the run, in one process and in several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ALLOWED_SKIPS

LISTED = next(line for line in ALLOWED_SKIPS.read_text().splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
@pytest.mark.parametrize(("reason", "fails"), [(LISTED, False), ("I had no time", True)])
def test_a_run_with_a_skip(tmp_path: Path, workers: tuple[str, ...], reason: str, fails: bool) -> None:
    test = f"import pytest\n\n\ndef test_it() -> None:\n    pytest.skip({reason!r})\n"
    (tmp_path / "test_skipped.py").write_text(test)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", *workers, "."],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == int(fails), ran.stdout + ran.stderr
    assert (f"UNLISTED SKIP test_skipped.py::test_it: Skipped: {reason}" in ran.stdout) == fails
