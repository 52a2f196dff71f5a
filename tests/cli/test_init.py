"""Init, root list and root adopt: idempotent, and completed by the same command when cut short."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from cli.calling import answer, call
from jobctl.outputs import effects
from ops.world import World

MARKER = Path(".jobctl", "root.json")


class CutShort(BaseException):
    """Stands for SIGKILL within this process."""


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    made = tmp_path / "outputs"
    made.mkdir()
    return made


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "store" / "jobs.db")


def marker_of(root: Path) -> dict[str, object]:
    return dict(json.loads((root / MARKER).read_text()))


def test_init_makes_the_store_and_the_root_and_says_so(outputs: Path, database: str) -> None:
    made = call("init", "--root", str(outputs), database=database)
    assert made.exit_code == 0
    assert f"Made the store {database}" in made.stderr
    assert f"{outputs} (layout presentations)" in made.stderr
    assert (outputs / MARKER).exists()


def test_init_again_finds_what_is_there(outputs: Path, database: str) -> None:
    first = answer("init", "--root", str(outputs), database=database)["data"]
    marker = marker_of(outputs)
    again = answer("init", "--root", f"{outputs}/", database=database)["data"]
    assert (first["store_made"], first["roots"][0]["made"]) == (True, True)
    assert (again["store_made"], again["roots"][0]["made"]) == (False, False)
    assert again["roots"][0]["root_id"] == first["roots"][0]["root_id"] == marker["root_id"]
    assert marker_of(outputs) == marker


@pytest.mark.parametrize("number", range(1, 9))
def test_init_cut_short_before_any_effect_is_completed_by_the_same_command(
    number: int, outputs: Path, database: str
) -> None:
    def stop(name: str, at: int) -> None:
        if at == number:
            raise CutShort

    effects.observe(before=stop)
    try:
        call("init", "--root", str(outputs), database=database)
    except CutShort:
        pass
    finally:
        effects.observe()
    answer("init", "--root", str(outputs), database=database)
    [root] = answer("root", "list", database=database)["data"]["items"]
    assert (root["state"], root["is_suspended"]) == ("ready", False)
    assert root["root_id"] == marker_of(outputs)["root_id"]


def test_the_effects_of_init_are_all_cut(outputs: Path, database: str) -> None:
    """The numbers above reach every effect; a new one makes this fail until they do."""
    counted: list[str] = []
    effects.observe(before=lambda name, _: counted.append(name))
    try:
        call("init", "--root", str(outputs), database=database)
    finally:
        effects.observe()
    assert 1 <= len(counted) < 9


def test_a_root_may_belong_to_one_host(outputs: Path, database: str) -> None:
    [root] = answer("init", "--root", str(outputs), "--host-local", database=database)["data"]["roots"]
    assert root["host"]


def test_overlapping_roots_are_refused(outputs: Path, database: str) -> None:
    call("init", "--root", str(outputs), database=database)
    inner = outputs / "inner"
    inner.mkdir()
    for path in (inner, outputs.parent):
        result = call("init", "--root", str(path), database=database)
        assert result.exit_code == 14
    assert not (inner / ".jobctl").exists()


def test_a_directory_of_another_store_is_refused(outputs: Path, database: str, tmp_path: Path) -> None:
    call("init", "--root", str(outputs), database=database)
    marker = marker_of(outputs)
    other = str(tmp_path / "other.db")
    refused = answer("init", "--root", str(outputs), database=other)
    assert refused["exit_code"] == 14
    assert refused["errors"][0]["message"].endswith(f"nothing was changed, except that {other} was made")
    assert marker_of(outputs) == marker
    again = answer("init", "--root", str(outputs), database=other)
    assert again["errors"][0]["message"].endswith("nothing was changed")


def test_a_root_without_its_marker_is_marked_anew_and_not_trusted(outputs: Path, database: str) -> None:
    """It may be another directory in the same place: nothing is called missing before a recover."""
    call("init", "--root", str(outputs), database=database)
    shutil.rmtree(outputs / ".jobctl")
    [away] = answer("root", "list", database=database)["data"]["items"]
    assert not away["is_ready"]
    call("init", "--root", str(outputs), database=database)
    [root] = answer("root", "list", database=database)["data"]["items"]
    assert root["is_ready"]
    assert root["is_suspended"]


def test_a_store_put_back_is_refused_until_its_root_is_adopted(world: World) -> None:
    world.video()
    older = Path(f"{world.url}.older")
    with sqlite3.connect(world.url) as source, sqlite3.connect(older) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    assert call("recover", "--yes", database=world.url).exit_code == 0
    for suffix in ("-wal", "-shm"):
        Path(f"{world.url}{suffix}").unlink(missing_ok=True)
    older.replace(world.url)

    refused = call("recover", "--yes", database=world.url)
    assert refused.exit_code == 15
    assert "jobctl root adopt" in refused.stderr

    adopted = answer("root", "adopt", str(world.root), database=world.url)
    assert adopted["data"]["generation"] > 1
    [root] = answer("root", "list", database=world.url)["data"]["items"]
    assert (root["is_ready"], root["is_suspended"]) == (True, True)

    assert call("recover", "--yes", database=world.url).exit_code == 0
    [root] = answer("root", "list", database=world.url)["data"]["items"]
    assert not root["is_suspended"]


def test_adopting_writes_a_lost_marker_anew(world: World) -> None:
    shutil.rmtree(world.root / ".jobctl")
    assert call("root", "adopt", str(world.root), database=world.url).exit_code == 0
    [root] = answer("root", "list", database=world.url)["data"]["items"]
    assert root["is_ready"]


def test_a_root_of_another_store_is_not_adopted(world: World, tmp_path: Path) -> None:
    marker = marker_of(world.root)
    (world.root / MARKER).write_text(json.dumps({**marker, "store_id": "another"}))
    refused = answer("root", "adopt", str(world.root), database=world.url)
    assert refused["exit_code"] == 14
    assert "belongs to another job store" in refused["errors"][0]["message"]
    assert marker_of(world.root)["store_id"] == "another"


def test_root_list_off_a_terminal(world: World) -> None:
    heading, row = call("root", "list", database=world.url).stdout.splitlines()
    assert heading.split("\t")[:3] == ["root_id", "path", "layout"]
    assert row.split("\t")[1] == str(world.root)
