"""What is killed and waited for, and that nobody waits without end."""

from __future__ import annotations

import subprocess
import sys

ONE_CANNOT_BE_KILLED = """
import subprocess
from jobctl.runner import limits

stuck, mortal = (subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(2))
known = subprocess.Popen(["sleep", "1000"], start_new_session=True)
kill, limits._ENDS_WITHIN_S = limits.kill, 0.1
limits.kill = lambda pids: kill([pid for pid in pids if pid != stuck.pid])
assert limits.end_strays({known.pid}) == [stuck.pid]
assert limits.strays({known.pid}) == [stuck.pid]
limits.kill = kill
assert limits.end_strays() == []
"""


def test_one_that_does_not_end_keeps_no_other_from_being_ended_and_nobody_waiting() -> None:
    subprocess.run([sys.executable, "-c", ONE_CANNOT_BE_KILLED], check=True, timeout=60)
