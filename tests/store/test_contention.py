"""Many processes write one store at once: nobody hears of it, and nobody waits for long.

``JOBCTL_TEST_WRITERS=32 JOBCTL_TEST_WRITES=500`` is the full size. A PostgreSQL of the tests' has room
for the connections of twenty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from sqlalchemy import select

from jobctl.store.engine import open_store
from jobctl.store.schema import job, lease

WRITERS = int(os.environ.get("JOBCTL_TEST_WRITERS", "8"))
WRITES = int(os.environ.get("JOBCTL_TEST_WRITES", "60"))
LONGEST_S = 30.0


def test_whoever_writes_beside_many_others_is_not_refused_and_waits_for_seconds_at_most(
    store_url: str,
) -> None:
    writers = min(WRITERS, 20) if store_url.startswith("postgresql") else WRITERS
    contenders = [_start(store_url, f"w{number}") for number in range(writers)]
    # All at once: each is ready before the first one goes on.
    assert [_line(each) for each in contenders] == ["ready"] * writers
    told = [_ended(each) for each in _all_at_once(contenders)]
    assert [each["writes"] for each in told] == [WRITES] * writers
    print(f"\nlongest waits in seconds: {sorted(round(each['longest_s'], 2) for each in told)}")
    assert max(each["longest_s"] for each in told) < LONGEST_S
    assert _statuses(store_url) == {"completed": writers * WRITES // 4}


def _start(url: str, name: str) -> subprocess.Popen[str]:
    tests = Path(__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, str(tests / "store" / "contender.py"), url, name, str(WRITES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _all_at_once(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def _ended(process: subprocess.Popen[str]) -> dict[str, float]:
    said, complained = process.communicate()
    assert process.returncode == 0, complained
    return dict(json.loads(said))


def _statuses(url: str) -> Counter[str]:
    store = open_store(url)
    with store.read() as connection:
        assert connection.execute(select(lease)).all() == []
        found = Counter(connection.execute(select(job.c.status)).scalars())
    store.close()
    return found
