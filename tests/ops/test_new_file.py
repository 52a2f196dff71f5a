"""New files beside others: whole or not at all, whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path

from jobctl.ops.new_file import write_new_file


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    for name in ("ж" * 127, "x" * 255, "🎬" * 63):
        write_new_file(str(tmp_path / name), b"whole")
    assert {each.read_bytes() for each in tmp_path.iterdir()} == {b"whole"}
    assert len(os.listdir(tmp_path)) == 3
