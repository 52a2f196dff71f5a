"""Servers of two versions of a service at work on the same jobs, as while it is deployed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import jobctl


@dataclass
class Voice:
    name: str = "ada"


@dataclass
class VoiceOfTheNext:
    name: str = "ada"
    speed: float = 1.0


@dataclass
class LessonJob:
    job_id: str
    status: str = "queued"
    error: str | None = None
    voice: Voice = field(default_factory=Voice)
    voices: list[Voice] = field(default_factory=list)


@dataclass
class LessonJobOfTheNext:
    job_id: str
    status: str = "queued"
    error: str | None = None
    voice: VoiceOfTheNext = field(default_factory=VoiceOfTheNext)
    voices: list[VoiceOfTheNext] = field(default_factory=list)
    language: str = "en"


class LessonModel(BaseModel):
    """A model that ignores what it does not know, as models do."""

    job_id: str
    status: str = "queued"
    error: str | None = None
    voice: Voice = Voice()
    voices: list[Voice] = []


def written_by_the_next(store_url: str) -> None:
    with jobctl.JobDict(LessonJobOfTheNext, store_url) as jobs:
        jobs["a"] = LessonJobOfTheNext(
            "a",
            voice=VoiceOfTheNext("bob", speed=2.0),
            voices=[VoiceOfTheNext("eve", speed=3.0)],
            language="de",
        )


def as_the_next_has_it(store_url: str) -> LessonJobOfTheNext:
    with jobctl.JobDict(LessonJobOfTheNext, store_url) as jobs:
        return jobs["a"]


@pytest.mark.parametrize("cls", [LessonJob, LessonModel])
def test_who_does_not_know_a_field_yet_keeps_it_at_any_depth(store_url: str, cls: type[Any]) -> None:
    written_by_the_next(store_url)
    with jobctl.JobDict[Any](cls, store_url) as jobs:
        with jobs.edit("a") as job:
            job.error = "told"
        job.voice.name = "carl"
        job.voices.append(Voice("dan"))
    found = as_the_next_has_it(store_url)
    assert found.error == "told"
    assert found.voice == VoiceOfTheNext("carl", speed=2.0)
    assert found.voices == [VoiceOfTheNext("eve", speed=3.0), VoiceOfTheNext("dan")]
    assert found.language == "de"


def test_a_comparison_by_who_does_not_know_a_field_yet_finds_no_difference(
    store_url: str, tmp_path: Path
) -> None:
    held: dict[str, LessonJob] = {}
    options: dict[str, Any] = {"compare_every": 0, "shadow_journal": str(tmp_path), "reads": "store"}
    written_by_the_next(store_url)
    with jobctl.JobDict(LessonJob, store_url, shadow=held, **options) as jobs:
        held["a"] = jobs["a"]
        compared = jobs.compare()
        assert (compared.same, compared.replayed, compared.differing) == (1, 0, [])
    assert as_the_next_has_it(store_url).voice.speed == 2.0


def test_a_field_that_is_of_another_type_now_comes_back_as_it_was_written(store_url: str) -> None:
    @dataclass
    class Before:
        job_id: str
        pages: str = "1-3"
        seconds: list[str] = field(default_factory=lambda: ["12"])

    @dataclass
    class After:
        job_id: str
        pages: int = 0
        seconds: list[int] = field(default_factory=list)
        error: str | None = None

    with jobctl.JobDict(Before, store_url) as before, jobctl.JobDict(After, store_url) as after:
        before["a"] = Before("a")
        with after.edit("a") as job:
            job.error = "told"
        assert (job.pages, job.seconds) == ("1-3", [12])
        assert before["a"].pages == "1-3"
