"""Which classes a ``JobDict`` takes, and how what they hold is recorded and comes back."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, RootModel

from jobctl.errors import ClassRefused, UsageError
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.service.jobdict import _zone
from jobctl.service.jobdict_shape import Said, Shape
from jobctl.service.jobdict_values import Zone

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Frozen:
    job_id: str


@dataclass(slots=True)
class Slotted:
    job_id: str


class FrozenModel(BaseModel, frozen=True):
    job_id: str


class Root(RootModel[list[str]]):
    pass


class Tuple(NamedTuple):
    job_id: str


class Plain:
    job_id = "a"


class Thing:
    """A class pydantic knows nothing of."""


@dataclass
class WithThing:
    job_id: str
    thing: Thing | None = None


class Color(enum.Enum):
    RED = "red"


class Stage(enum.Enum):
    SLEEPING = "sleeping"


@dataclass
class Staged:
    stage: Stage = Stage.SLEEPING


@dataclass
class Chosen:
    status: Literal["queued", "paused"] = "queued"


@pytest.mark.parametrize(
    ("cls", "way_on"),
    [
        (Frozen, "frozen=True"),
        (FrozenModel, "frozen=True"),
        (Slotted, "slots=True"),
        (Root, "BaseModel"),
        (Tuple, "@dataclass"),
        (Plain, "@dataclass"),
        (WithThing, "skip="),
        (dict, "@dataclass"),
    ],
)
def test_a_class_that_cannot_be_followed_is_refused_with_the_way_on(cls: type, way_on: str) -> None:
    with pytest.raises(ClassRefused) as refused:
        Shape(cls)
    assert way_on in refused.value.hint
    assert isinstance(refused.value, TypeError)


def test_a_class_whose_types_cannot_be_told_is_refused() -> None:
    @dataclass
    class Local:
        other: Elsewhere  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(ClassRefused, match="Elsewhere"):
        Shape(Local)


def test_what_is_skipped_stays_in_memory() -> None:
    shape = Shape(WithThing, skip=("thing",))
    assert shape.said(WithThing("a", Thing())).payload == {}
    assert shape.made(shape.said(WithThing("a", Thing()))).thing is None


@pytest.mark.parametrize("cls", [Staged, Chosen])
def test_a_word_for_a_status_that_says_nothing_is_asked_about_at_once(cls: type) -> None:
    with pytest.raises(UsageError) as refused:
        Shape(cls, fields={"status": "stage"} if cls is Staged else {})
    assert "statuses=" in refused.value.hint


@pytest.mark.parametrize("fields", [{"job": "job_id"}, {"job_id": "ident"}])
def test_a_mapping_that_names_nothing_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="fields names"):
        Shape(WithThing, skip=("thing",), fields=fields)


@dataclass
class Everything:
    jobId: uuid.UUID  # noqa: N815 - as some services have it
    status: Any = "queued"
    progress: int | None = 0
    error: Any = None
    createdAt: datetime | None = None  # noqa: N815
    completed_at: str | None = None
    last_heartbeat: float | None = None
    created_files: set[str] = field(default_factory=set)
    color: Color = Color.RED
    price: Decimal = Decimal("1.50")
    took: timedelta = timedelta(seconds=1)
    pair: tuple[int, str] = (1, "a")
    by_number: dict[int, str] = field(default_factory=dict)


def recorded(shape: Shape[Any], owner: Any) -> Any:
    """An object that was written and read again, by what a record and a payload hold."""
    said = shape.said(owner)
    job = Job(job_id="x", **{name: value for name, value in said.fields.items() if name != "job_id"})
    again = shape.recorded(job, said.payload)
    return shape.made(Said({**again.fields, "job_id": said.fields.get("job_id", "x")}, again.payload))


def test_types_come_back_as_they_were() -> None:
    owner = Everything(
        uuid.uuid4(),
        status="processing",
        progress=None,
        error={"code": 5},
        createdAt=NOON,
        completed_at="2026-07-01T14:00:00+02:00",
        last_heartbeat=NOON.timestamp() + 0.1234567,
        created_files={"b", "a"},
        by_number={1: "one"},
    )
    shape = Shape(Everything)
    assert recorded(shape, owner) == owner
    said = shape.said(owner)
    assert said.fields["created_files"] == ["a", "b"]
    assert said.fields["error"] == '{"code": 5}'
    assert said.fields["completed_at"] == NOON


@pytest.mark.parametrize("progress", [125, -3, 33.25, True, "half", float("inf"), 10**400])
def test_any_progress_is_kept(progress: Any) -> None:
    owner = Everything(uuid.uuid4(), progress=progress)
    again = recorded(Shape(Everything), owner).progress
    assert again == progress or progress == float("inf")


def test_what_a_record_says_by_now_is_believed_before_what_was_kept_beside_it() -> None:
    shape = Shape(Everything)
    said = shape.said(Everything(uuid.uuid4(), error={"code": 5}))
    now = Said({**said.fields, "error": "interrupted at 75 %"}, said.payload)
    assert shape.made(now).error == "interrupted at 75 %"


@dataclass
class Dated:
    created_at: datetime | None = None
    completed_at: datetime | None = None


@pytest.mark.parametrize(
    ("zone", "given", "means"),
    [
        (None, datetime(2026, 7, 1, 12), NOON),
        ("UTC", datetime(2026, 7, 1, 12), NOON),
        ("Europe/Berlin", datetime(2026, 7, 1, 14), NOON),
        ("Europe/Berlin", NOON, NOON),
        (None, NOON.astimezone(_zone("Asia/Tokyo").zone), NOON),
    ],
)
def test_moments_without_a_zone_are_read_in_the_one_that_is_set(
    zone: str | None, given: datetime, means: datetime
) -> None:
    shape = Shape(Dated, zone=_zone(zone))
    assert shape.said(Dated(given)).fields["created_at"] == means
    assert recorded(shape, Dated(given)) == Dated(given)


@pytest.mark.parametrize(
    ("zone", "kept"), [(None, datetime(2026, 7, 1, 12)), ("Europe/Berlin", datetime(2026, 7, 1, 14))]
)
def test_moments_of_one_job_can_be_compared_whoever_wrote_them(zone: str | None, kept: datetime) -> None:
    shape = Shape(Dated, zone=_zone(zone))
    said = shape.said(Dated(kept))
    made = shape.made(Said({**said.fields, "completed_at": NOON + timedelta(hours=1)}, said.payload))
    assert made.completed_at - made.created_at == timedelta(hours=1)


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_first_and_the_last_day_there_is_are_read_in_any_zone(moment: datetime) -> None:
    for zone in ("America/New_York", "Asia/Tokyo"):
        said = Said({"created_at": moment, "completed_at": None}, {})
        made = Shape(Dated, zone=_zone(zone)).made(said)
        assert made.created_at is not None
        assert made.created_at.date() == moment.date()


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="Berlin"):
        _zone("Berlin")


@dataclass
class Busy:
    job_id: str
    title: str
    tries: int = 3

    def __post_init__(self) -> None:
        self.lock = object()
        self.size = len(self.title)


def test_a_class_that_does_more_than_hold_values_is_made_by_its_own_code() -> None:
    shape = Shape(Busy, skip=("lock",))
    again = recorded(shape, Busy("a", "Title"))
    assert (again.title, again.size) == ("Title", 5)
    assert again.lock is not None


def test_where_its_code_cannot_take_what_is_not_known_the_object_is_made_without_it() -> None:
    shape = Shape(Busy, skip=("lock",))
    made = shape.made(Said({"job_id": "a"}, {}))
    assert (made.job_id, made.title, made.tries) == ("a", None, 3)


def test_a_payload_never_hides_what_the_class_does() -> None:
    class_of: Callable[[Any], Any] = Shape(Busy, skip=("lock",)).made
    made = class_of(Said({"job_id": "a"}, {"__class__": 1, "__post_init__": 2, "_private": 3, "a b": 4}))
    assert vars(made).keys() & {"__class__", "__post_init__", "_private", "a b"} == set()


def test_statuses_of_the_service_share_one_of_the_stores() -> None:
    words = {"composing": "processing", "uploading": "processing"}
    shape = Shape(Everything, statuses=words)
    owner = Everything(uuid.uuid4(), status="uploading")
    said = shape.said(owner)
    assert said.fields["status"] is Status.PROCESSING
    assert recorded(shape, owner).status == "uploading"
    elsewhere = Said({**said.fields, "status": Status.COMPLETED}, said.payload)
    assert shape.made(elsewhere).status == "completed"
    other = Said(said.fields, {})
    assert shape.made(other).status == "composing"


def test_zone_is_utc_by_default() -> None:
    assert Zone().aware(datetime(2026, 7, 1, 12)) == NOON
