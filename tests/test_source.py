"""[[source]] entries: what they mean, and how each mistake is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobctl.errors import ConfigurationError
from jobctl.settings import Settings, load_settings
from jobctl.source import ColumnPath


def load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "jobctl.toml"
    file.write_text(text)
    return load_settings(config=str(file), environ={"HOME": str(tmp_path)})


MINIMAL = '[[source]]\nname = "videos"\ntable = "videos"\n[source.columns]\njob_id = "id"\n'


def test_without_sources_there_are_none(tmp_path: Path) -> None:
    assert load(tmp_path, "quiet_s = 5\n").sources == ()


def test_a_source_maps_fields_to_columns_and_keys_in_their_json(tmp_path: Path) -> None:
    text = """
    [[source]]
    name = "videos"
    database = "other.db"
    table = "videos"
    timezone = "Europe/Berlin"
    references = false
    filter = { kind = "video", live = true, shard = 3 }
    [source.columns]
    job_id = "content.video.id"
    owner = ["user.name"]
    """
    (source,) = load(tmp_path, text).sources
    assert source.columns == {
        "job_id": ColumnPath("content", ("video", "id")),
        "owner": ColumnPath("user.name"),
    }
    assert (source.database, source.timezone, source.references) == ("other.db", "Europe/Berlin", False)
    assert source.filter == {"kind": "video", "live": True, "shard": 3}


def test_unless_said_otherwise_it_is_in_the_stores_database_in_utc_and_protects(tmp_path: Path) -> None:
    (source,) = load(tmp_path, MINIMAL).sources
    assert (source.database, source.schema, source.timezone) == (None, None, "UTC")
    assert source.references


def test_the_projects_preset_knows_the_services_table(tmp_path: Path) -> None:
    (source,) = load(tmp_path, '[[source]]\nname = "projects"\npreset = "projects"\n').sources
    assert source.table == "projects"
    assert source.columns["job_id"] == ColumnPath("microproduct_content", ("videoJobId",))
    assert source.columns["completed_at"] == ColumnPath("microproduct_content", ("generatedAt",))
    assert source.columns["owner"] == ColumnPath("onyx_user_id")
    assert "created_at" not in source.columns


def test_a_preset_gives_way_to_what_is_written(tmp_path: Path) -> None:
    text = '[[source]]\nname = "old"\npreset = "presentation_jobs"\ntable = "jobs_2025"\n'
    (source,) = load(tmp_path, f'{text}[source.columns]\nowner = "user_id"\n').sources
    assert source.table == "jobs_2025"
    assert source.columns["owner"] == ColumnPath("user_id")
    assert source.columns["last_heartbeat"] == ColumnPath("last_heartbeat")


def test_sources_are_part_of_what_shapes_a_plan(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    other = (replace(settings.sources[0], filter={"kind": "video"}),)
    assert len({settings.digest(), replace(settings, sources=()).digest()}) == 2
    assert replace(settings, sources=other).digest() != settings.digest()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("source = 3", "list of tables", "[[source]]"),
        ('[[source]]\ntable = "t"', "name must be", "name ="),
        ('[[source]]\nname = "a:b"\ntable = "t"', "without slashes or colons", "name ="),
        ('[[source]]\nname = "a"', "names no table", "preset"),
        ('[[source]]\nname = "a"\ntable = 3', "table must be text", "table ="),
        ('[[source]]\nname = "a"\ntabel = "t"', "unknown key 'tabel'", "did you mean table?"),
        ('[[source]]\nname = "a"\npreset = "p"', "no preset 'p'", "projects"),
        ('[[source]]\nname = "a"\ntable = "t"', "no column tells which job", "job_id"),
        ('[[source]]\nname = "a"\ntable = "t"\ncolumns = 3', "columns must be a table", "job_id"),
        ('[[source]]\nname = "a"\ntable = "t"\ncolumns = { owner = "o" }', "no column tells", "job_id"),
        (
            '[[source]]\nname = "a"\ntable = "t"\ncolumns = { jobid = "o" }',
            "unknown field 'jobid'",
            "did you mean job_id?",
        ),
        (
            '[[source]]\nname = "a"\ntable = "t"\ncolumns = { job_id = "a..b" }',
            "columns.job_id",
            "column.key",
        ),
        (f"{MINIMAL}[source.filter]\nx = [1]", "filter must be", "filter ="),
        (
            MINIMAL.replace('table = "videos"', 'table = "v"\ntimezone = "Mars/X"'),
            "'Mars/X'",
            "Europe/Berlin",
        ),
        (
            MINIMAL.replace('table = "videos"', 'table = "v"\nreferences = 1'),
            "references must",
            "references =",
        ),
        (MINIMAL + MINIMAL, "two sources are called 'videos'", "a name of its own"),
    ],
)
def test_each_mistake_is_told_with_its_place_and_a_way_out(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        load(tmp_path, text)
    assert message in told.value.message
    assert "jobctl.toml" in told.value.message
    assert hint in told.value.hint
