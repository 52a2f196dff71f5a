"""Settings: flags over environment over file over defaults, and exact about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobctl.errors import ConfigurationError
from jobctl.settings import load_settings


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "jobctl.toml"
    file.write_text('database = "from-file"\nquiet_s = 5\n')
    environ = {"JOBCTL_DATABASE_URL": "from-environment", "JOBCTL_CONFIG": str(file), "HOME": "/"}
    assert load_settings(database="from-flag", environ=environ).database == "from-flag"
    assert load_settings(environ=environ).database == "from-environment"
    del environ["JOBCTL_DATABASE_URL"]
    assert (load_settings(environ=environ).database, load_settings(environ=environ).quiet_s) == (
        "from-file",
        5.0,
    )


def test_without_anything_there_is_a_default_place() -> None:
    settings = load_settings(environ={"HOME": "/home/ada", "XDG_CONFIG_HOME": "/nowhere"})
    assert settings.database.endswith("/jobctl/jobctl.db")
    assert settings.host_id


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("databse = 'x'", "unknown key 'databse'"),
        ("database = 3", "database must be text"),
        ("quiet_s = 'soon'", "quiet_s must be a number above 0"),
        ("quiet_s = -1", "quiet_s must be a number above 0"),
        ("quiet_s = true", "quiet_s must be a number above 0"),
        ("video_url_form = '/v'", "must hold {job_id}"),
        ("video_url_form = '/{job_id}/{x}'", "must hold {job_id}"),
        ("layouts = 1", "layouts must be tables"),
        ("= broken", "is not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_file(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "jobctl.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=said.replace("{", r"\{")) as refused:
        load_settings(config=str(file), environ={})
    assert str(file) in refused.value.message
    assert refused.value.hint


def test_a_near_miss_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("databse = 'x'")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(config=str(tmp_path / "c.toml"), environ={})
    assert refused.value.hint == "did you mean database?"


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(config=str(tmp_path / "none.toml"), environ={})


def test_a_wrong_variable_is_told() -> None:
    with pytest.raises(ConfigurationError, match="JOBCTL_QUIET_S"):
        load_settings(environ={"JOBCTL_QUIET_S": "soon"})


def test_what_shapes_a_plan_changes_its_digest() -> None:
    one = load_settings(environ={})
    other = load_settings(environ={"JOBCTL_VIDEO_URL_FORM": "/v/{job_id}"})
    assert one.digest() != other.digest()
