"""What ``import jobctl`` offers: every name is there, explained, and the example of the package runs."""

from __future__ import annotations

import pydoc
import re
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

import jobctl
from cli.calling import call
from jobctl.errors import JobctlError

NAMES = [name for name in vars(jobctl)["__all__"] if name != "__version__"]


@dataclass
class PresentationJob:
    job_id: str
    status: str = "queued"
    progress: float = 0.0


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_explained_where_help_looks(name: str) -> None:
    found = getattr(jobctl, name)
    assert pydoc.getdoc(found)
    assert name in dir(jobctl)
    if isinstance(found, type):
        public = [each for each in vars(found).values() if callable(each) or isinstance(each, property)]
        named = [each for each in public if not getattr(each, "__name__", "_").startswith("_")]
        assert [each for each in named if not pydoc.getdoc(each)] == []


def test_a_name_that_is_none_is_told_as_python_tells_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'JobDic'"):
        getattr(jobctl, "JobDic")  # noqa: B009 - a type checker knows better


def test_a_type_checker_sees_the_same_names() -> None:
    stub = Path(jobctl.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^from jobctl\.\S+ import (\w+) as \1$", stub, re.MULTILINE)) == sorted(NAMES)


def test_the_first_example_of_the_package_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = str(tmp_path / "jobs.db")
    (tmp_path / "outputs").mkdir()
    assert call("init", "--root", str(tmp_path / "outputs"), database=database).exit_code == 0
    monkeypatch.setenv("JOBCTL_DATABASE_URL", database)
    example = re.search(r"::\n\n((?:    .*\n|\n)+)", jobctl.__doc__ or "")
    assert example is not None
    exec(textwrap.dedent(example[1]), {"PresentationJob": PresentationJob})
    with jobctl.JobDict(PresentationJob) as jobs:
        assert jobs["a"] == PresentationJob("a", "processing", 40)


def test_a_traceback_says_what_to_do_next(tmp_path: Path) -> None:
    with pytest.raises(JobctlError) as raised:
        jobctl.Queue(str(tmp_path / "none.db"))
    assert raised.value.hint in "".join(traceback.format_exception(raised.value))
