"""Whoever watches is told in words what goes on."""

from __future__ import annotations

import re
from pathlib import Path

import jobctl
from jobctl.cli.progress import PHASES

BEGUN = re.compile(r'Progress\("([a-z]+)"')


def test_every_phase_has_words_of_its_own() -> None:
    source = Path(jobctl.__file__).parent
    begun = {phase for path in source.rglob("*.py") for phase in BEGUN.findall(path.read_text("utf-8"))}
    assert len(begun) > 10
    assert begun <= PHASES.keys()
