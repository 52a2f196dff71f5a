"""On a disk that is really full a command says so in a sentence, and leaves nothing half done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.calling import call
from ops.world import World

MOUNTED = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" -c "$3" "$1" "$4"'

# Each command with so many bytes free; what it said, and what lies on the disk then but for the filling.
ON_A_FULL_DISK = """
import json, os, shutil, sys
disk, asked = sys.argv[1], json.loads(sys.argv[2])
sys.path[:] = asked["path"]
from cli.calling import call
os.mkdir(f"{disk}/store")
shutil.copy(asked["store"], f"{disk}/store/jobs.db")
told = []
for free, words in asked["commands"]:
    with open(f"{disk}/filling", "wb", buffering=0) as filling:
        try:
            while True:
                filling.write(bytes(65_536))
        except OSError:
            filling.truncate(filling.tell() - free)
    result = call(*words)
    os.unlink(f"{disk}/filling")
    walked = [(at, name) for at, _, names in os.walk(disk) for name in names]
    there = sorted(os.path.relpath(os.path.join(*place), disk) for place in walked)
    told.append([result.exit_code, result.stderr, there])
print(json.dumps(told))
"""


class Told(NamedTuple):
    code: int
    said: str
    there: list[str]


def on_a_full_disk(disk: Path, store: str, commands: list[tuple[int, list[str]]]) -> list[Told]:
    """Call the program for each, on a small disk with a copy of a store as ``store/jobs.db``."""
    asked = {"path": sys.path, "store": store, "commands": commands}
    disk.mkdir()
    words = [str(disk), sys.executable, ON_A_FULL_DISK, json.dumps(asked)]
    command = ["unshare", "-Urm", "sh", "-c", MOUNTED, "sh", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip("this machine allows no namespaces")
    assert ran.returncode == 0, ran.stderr
    return [Told._make(each) for each in json.loads(ran.stdout)]


def test_where_there_is_no_room_nothing_is_left_half_done(tmp_path: Path) -> None:
    world = World(str(tmp_path / "store" / "jobs.db"), tmp_path / "outputs")
    world.init()
    lines = "".join(f"{json.dumps('x' * 900)}\n" for _ in range(300))
    assert call("enqueue", "task", "--each-line", "-", input=lines, database=world.url).exit_code == 0
    backup = str(tmp_path / "backup.db")
    assert call("backup", "--to", backup, database=world.url).exit_code == 0
    disk, size = tmp_path / "disk", os.path.getsize(backup)
    at, there = ["--database", world.url], ["--database", str(disk / "store" / "jobs.db")]
    restore = ["restore", backup, "--yes", *there]
    told = on_a_full_disk(
        disk,
        backup,
        [
            (0, ["recover", "--plan", str(disk / "plan"), *at]),
            (80_000, ["export", str(disk / "jobs.sqlite"), *at]),
            (80_000, restore),
            (size + 80_000, restore),
            (2 * size + 80_000, restore),
        ],
    )
    for each in told:
        assert each.code == 3, each
        assert "a fault in jobctl" not in each.said
    for each in told[:-1]:
        assert each.there == ["store/jobs.db"], each
    assert "nothing was changed" in told[2].said
    assert "the store is as it was" in told[3].said
    # What was kept by then is named, and lies there whole.
    (kept,) = set(told[-1].there) - {"store/jobs.db"}
    assert f"a copy of it lies at {disk}/{kept}" in told[-1].said
