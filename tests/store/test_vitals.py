"""The commands that mend a PostgreSQL store: they name the place, and no secret."""

from __future__ import annotations

import pytest

from jobctl.core.health.databases import Setting
from jobctl.store.dialect import dialect_of
from jobctl.store.engine import Store
from jobctl.store.vitals_postgresql import command_of, turn_on


def store_at(url: str) -> Store:
    dialect = dialect_of(url)
    return Store(dialect, dialect.engine(), "id")


def test_a_command_names_the_place_and_no_secret() -> None:
    store = store_at("postgresql://ops:hunter2@db:5433/jobs?sslpassword=x1&password=x2&sslmode=require")
    command = command_of(store, "SELECT 1")
    assert command == (
        "psql -Xq -v ON_ERROR_STOP=1 -c 'SELECT 1' 'postgresql://ops@db:5433/jobs?sslmode=require'"
    )


@pytest.mark.parametrize(
    ("source", "statement"),
    [
        ("configuration file", "-c 'ALTER SYSTEM SET fsync = on' -c 'SELECT pg_reload_conf()'"),
        ("database", """-c 'ALTER DATABASE "jobs" RESET fsync'"""),
        ("user", """-c 'ALTER ROLE "ops" RESET fsync'"""),
        ("database user", """-c 'ALTER ROLE "ops" IN DATABASE "jobs" RESET fsync'"""),
    ],
)
def test_a_setting_is_turned_on_where_it_was_turned_off(source: str, statement: str) -> None:
    store = store_at("postgresql://ops@db/jobs")
    assert statement in turn_on(store, Setting("fsync", "off", source))


def test_what_stands_on_the_servers_command_line_no_command_changes() -> None:
    assert turn_on(store_at("postgresql://ops@db/jobs"), Setting("fsync", "off", "command line")) == ""
