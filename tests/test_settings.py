"""Flags over environment over file over defaults; every mistake is told with its key and its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobctl import settings as module
from jobctl.errors import ConfigurationError, ExitCode
from jobctl.settings import Settings, load_settings

Loading = Callable[..., Settings]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(home: Path, *, config: str | None = None, database: str | None = None, **environ: str) -> Settings:
    return load_settings(config=config, database=database, environ={"HOME": str(home), **environ})


def test_without_anything_set_the_defaults_hold(home: Path) -> None:
    settings = load(home)
    assert (settings.quiet_s, settings.stale_after_s, settings.lock_stale_after_s) == (120, 900, 120)
    assert settings.plan_max_age_h == 24
    assert settings.video_url_form == "/presentations/{job_id}/video"
    assert settings.layouts == {}
    assert settings.source is None
    assert settings.host_id


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(home: Path) -> None:
    file = home / "jobctl.toml"
    file.write_text('database = "from-file.db"\nquiet_s = 5\nstale_after_s = 7\n')
    assert load(home).database == "from-file.db"
    environ = {"JOBCTL_DATABASE_URL": "from-environment.db", "JOBCTL_QUIET_S": "6"}
    settings = load(home, **environ)
    assert (settings.database, settings.quiet_s, settings.stale_after_s) == ("from-environment.db", 6, 7)
    assert load(home, database="from-flag.db", **environ).database == "from-flag.db"


def test_an_empty_variable_is_not_set(home: Path) -> None:
    assert load(home, JOBCTL_QUIET_S="", JOBCTL_CONFIG="").quiet_s == 120


def test_the_nearest_file_is_read_and_only_that(home: Path) -> None:
    places = [home / "flag.toml", home / "variable.toml", home / "jobctl.toml"]
    places += [home / "xdg" / "jobctl" / "jobctl.toml", home / ".config" / "jobctl" / "jobctl.toml"]
    for number, place in enumerate(places, start=1):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"quiet_s = {number}\n")
    xdg = {"XDG_CONFIG_HOME": str(home / "xdg")}
    variable = {"JOBCTL_CONFIG": str(places[1])}
    assert load(home, config=str(places[0]), **variable, **xdg).quiet_s == 1
    assert load(home, **variable, **xdg).quiet_s == 2
    assert load(home, **xdg).quiet_s == 3
    places[2].unlink()
    assert load(home, **xdg).quiet_s == 4
    assert load(home, **xdg).source == str(places[3])
    assert load(home).quiet_s == 5


def test_the_database_is_the_systems_for_root_and_the_users_for_others(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load(home).database == "/var/lib/jobctl/jobctl.db"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load(home).database == str(home / ".local/share/jobctl/jobctl.db")
    assert load(home, XDG_DATA_HOME="/data").database == "/data/jobctl/jobctl.db"


@pytest.mark.parametrize(
    ("machine_id", "suffix"),
    [("0123456789abcdef0123456789abcdef\n", "-01234567"), ("uninitialized\n", ""), ("", ""), (None, "")],
)
def test_a_host_is_called_by_its_name_and_its_machine_id(
    home: Path, monkeypatch: pytest.MonkeyPatch, machine_id: str | None, suffix: str
) -> None:
    file = home / "machine-id"
    if machine_id is not None:
        file.write_text(machine_id)
    monkeypatch.setattr(module, "_MACHINE_ID", str(file))
    assert load(home).host_id == f"{os.uname().nodename}{suffix}"
    assert load(home, JOBCTL_HOST_ID="web-1").host_id == "web-1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("quiet = 5", "unknown key 'quiet'"),
        ("quiet_s = ", "is not TOML"),
        ("quiet_s = \xff", "is not TOML"),
        ('quiet_s = "soon"', "quiet_s must be a number above 0, not 'soon'"),
        ("quiet_s = 0", "must be a number above 0"),
        ("quiet_s = -1", "must be a number above 0"),
        ("quiet_s = nan", "must be a number above 0"),
        ("quiet_s = inf", "must be a number above 0"),
        ("quiet_s = true", "must be a number above 0"),
        ("quiet_s = [1]", "must be a number above 0"),
        (f"quiet_s = {'9' * 400}", "must be a number above 0"),
        ("database = 5", "database must be text"),
        ('database = ""', "database must be text"),
        ('video_url_form = "/videos"', "must hold {job_id}"),
        ('video_url_form = "/{job_id}/{owner}"', "no other {…}"),
        ('video_url_form = "/{job_id}}"', "no other {…}"),
        ('video_url_form = "/{job_id!r}"', "must hold {job_id}"),
        ("layouts = 5", "layouts must be tables"),
        ("as_root = 1", "as_root must be true or false"),
        (f"layouts = {'[' * 5_000}", "is not TOML"),
        (f"quiet_s = {'9' * 5_000}", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(home: Path, text: str, told: str) -> None:
    file = home / "jobctl.toml"
    file.write_bytes(text.encode("latin-1" if "\xff" in text else "utf-8"))
    with pytest.raises(ConfigurationError) as refused:
        load(home)
    assert told in refused.value.message
    assert "jobctl.toml" in refused.value.message
    assert refused.value.hint
    assert refused.value.exit_code == ExitCode.USAGE


def test_the_nearest_known_key_is_named(home: Path) -> None:
    (home / "jobctl.toml").write_text("stale_after = 5")
    with pytest.raises(ConfigurationError) as refused:
        load(home)
    assert refused.value.hint == "did you mean stale_after_s?"


def test_a_mistake_in_the_environment_names_the_variable(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="JOBCTL_QUIET_S: quiet_s must be a number"):
        load(home, JOBCTL_QUIET_S="soon")


@pytest.mark.parametrize("named", ["absent.toml", "."])
def test_a_file_that_is_named_must_be_readable(home: Path, named: str) -> None:
    for given in ({"config": named}, {"JOBCTL_CONFIG": named}):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            load(home, **given)


def test_a_file_that_cannot_be_told_to_be_absent_is_not_passed_over(home: Path) -> None:
    (home / "xdg").symlink_to("xdg")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(home, XDG_CONFIG_HOME=str(home / "xdg"))


def test_the_digest_names_what_shapes_a_plan(home: Path) -> None:
    plain = load(home).digest()
    assert load(home, JOBCTL_LOCK_STALE_AFTER_S="5", JOBCTL_PLAN_MAX_AGE_H="1").digest() == plain
    assert load(home, JOBCTL_QUIET_S="5").digest() != plain
    (home / "jobctl.toml").write_text("[layouts.mine]\nsince = 2025-11-05\n")
    assert load(home).digest() != plain


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("remote = 1", "remote must be a table"),
        ("[remote]\nkey = 'secret'", "unknown key 'key'"),
        ("[remote]\nurl = 'http://example.com'", "url must be an https address without secrets"),
        ("[remote]\nurl = 'https://user:secret@example.com'", "url must be an https address"),
        ("[remote]\npage_size = 0", "page_size must be a number above 0"),
        ("[remote]\npage_size = 1.5", "page_size must be a whole number"),
        ("[remote]\npage_size = 5000", "page_size must be at most 1000"),
        ("[sidecar]\nowner = 1", "sidecar must be a table of field = keys"),
        ("logs = 1", "logs must be tables"),
    ],
)
def test_a_wrong_table_is_told_without_its_secrets(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "jobctl.toml"
    path.write_text(table)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(config=str(path), environ={})
    assert said in refused.value.message
    assert "secret@" not in refused.value.message
