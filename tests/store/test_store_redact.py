"""No password is shown, however it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.errors import UsageError
from jobctl.store.dialect import PostgreSQL, dialect_of
from jobctl.store.redact import redact_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ada:geheim@db/jobs", "postgresql://ada:***@db/jobs"),
        ("postgres://ada:geheim@db:5432/jobs?x=1", "postgres://ada:***@db:5432/jobs?x=1"),
        ("postgresql://ada:ge/he:im@db/jobs", "postgresql://ada:***@db/jobs"),
        ("postgresql://ada:ge@heim@db/jobs", "postgresql://ada:***@db/jobs"),
        ("postgresql://ada:ge?he#im@db/jobs", "postgresql://ada:***@db/jobs"),
        ("postgresql://ada@corp:geheim@db/jobs", "postgresql://ada@corp:***@db/jobs"),
        ("postgresql://:geheim@/jobs", "postgresql://:***@/jobs"),
        ("postgresql:///jobs?password=geheim&user=ada", "postgresql:///jobs?password=***&user=ada"),
        ("postgresql:///jobs?user=ada&sslpassword=geheim", "postgresql:///jobs?user=ada&sslpassword=***"),
        ("host=db password=geheim user=ada", "host=db password=*** user=ada"),
        ("host=db password = 'ge he\\'im' user=ada", "host=db password = *** user=ada"),
        ("host=db PGPASSWORD=geheim", "host=db PGPASSWORD=***"),
        ('invalid dsn: "postgresql://ada:geheim@db/x y"', 'invalid dsn: "postgresql://ada:***@db/x y"'),
        ("https://api/renders?token=geheim", "https://api/renders?token=***"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str) -> None:
    assert redact_url(text) == shown


@pytest.mark.parametrize(
    "text",
    ["", "/var/lib/jobs.db", "postgresql://ada@db:5432/jobs", "https://host:8080/a/b", "at 12:30 ada@x"],
)
def test_what_holds_no_password_is_left_as_it_is(text: str) -> None:
    assert redact_url(text) == text


@pytest.mark.parametrize(
    "part", ["E", "a://b:", "a://", "x@", "?password", "password=' ", "password  ", ";key="]
)
def test_a_megabyte_of_anything_is_read_once(part: str) -> None:
    """It would take hours to read it anew from each place in it."""
    text = part * ((1 << 20) // len(part))
    assert redact_url(f"{text} postgresql://ada:geheim@db/jobs").count("geheim") == 0


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=6, max_size=30))
def test_no_password_without_spaces_comes_through(password: str) -> None:
    secret = f"X{password}X"
    assert secret not in redact_url(f"cannot reach postgresql://ada:{secret}@db.example/jobs today")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ada:geheim@db:5433/jobs", "postgresql://ada@db:5433/jobs"),
        ("postgres://db/jobs", "postgresql://db/jobs"),
        ("postgresql+psycopg://ada:geheim@db?password=geheim", "postgresql://ada@db/"),
        ("postgresql://ada@/jobs?host=/run/pg&password=geheim", "postgresql://ada@/run/pg/jobs"),
        ("postgresql:///jobs?host=a&host=b", "postgresql://a,b/jobs"),
        ("postgresql://ada:ge/heim@db/jobs", "postgresql://ada@db/jobs"),
    ],
)
def test_a_store_is_named_without_its_password(url: str, place: str) -> None:
    dialect = dialect_of(url)
    assert isinstance(dialect, PostgreSQL)
    assert dialect.place == place
    assert "geheim" not in repr(dialect)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:geheim@db:port/jobs",
        "postgresql://ada:geheim@x@db:1/jobs",
        "postgresql://ada:ge@geheim@db/jobs",
        "mysql://ada:geheim@db/jobs",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        dialect_of(url)
    assert "nothing was opened" in refused.value.message
    assert "geheim" not in refused.value.message + refused.value.hint
