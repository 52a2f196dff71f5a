"""The JSON envelope and the items within it."""

from __future__ import annotations

import base64
import json
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from jobctl.errors import ExitCode, UnknownJob
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.plan import Action, Outcome, Verb
from jobctl.report.columns import tsv_line
from jobctl.report.envelope import Ending, envelope, to_json
from jobctl.report.items import action_item, finding_item, path_fields
from jobctl.report.listings import STEP_COLUMNS, Step

NAMES = st.binary(min_size=1, max_size=60).map(lambda name: name.decode("utf-8", "surrogateescape"))


def test_every_envelope_has_the_same_fields() -> None:
    fields = {"schema", "command", "run_id", "status", "exit_code", "counts", "warnings", "errors", "data"}
    failed = Ending(ExitCode.USAGE, errors=[UnknownJob("no job x is recorded", hint="run 'jobctl list'")])
    assert envelope("list", Ending(data={"items": []}), []).keys() == fields
    told = envelope("show", failed, ["slow"])
    assert told.keys() == fields
    assert told["schema"] == "jobctl/v1"
    assert told["errors"] == [
        {"code": "unknown-job", "message": "no job x is recorded", "hint": "run 'jobctl list'"}
    ]
    assert (told["status"], told["exit_code"], told["data"]) == ("usage", 2, None)


def test_moments_are_rfc_3339_in_utc() -> None:
    moment = datetime.fromisoformat("2026-01-31T23:59:59.5+01:00")
    assert json.loads(to_json({"at": moment})) == {"at": "2026-01-31T22:59:59.500000Z"}


@given(NAMES)
def test_a_name_of_any_bytes_comes_through_json_and_back(name: str) -> None:
    """Whatever the bytes: the line is ASCII, one line, strict JSON, and the name can be had back."""
    line = to_json(path_fields(name))
    assert line.isascii()
    assert "\n" not in line
    read = json.loads(line)
    read["path"].encode()
    if "path_b64" in read:
        assert base64.b64decode(read["path_b64"]) == name.encode("utf-8", "surrogateescape")
    else:
        assert read["path"] == name


@given(NAMES)
def test_a_name_of_any_bytes_stays_within_its_cell(name: str) -> None:
    step = Step(Action(seq=1, verb=Verb.LINK, job_id="a", reason="r", path=name))
    line = tsv_line(STEP_COLUMNS, step)
    assert len(line.split("\t")) == len(STEP_COLUMNS)
    assert line.splitlines() == [line]
    line.encode()


def test_text_with_a_stray_byte_is_written_escaped() -> None:
    assert json.loads(to_json({"reason": "caf\udce9"})) == {"reason": "caf\\xe9"}


def test_a_finding_as_scan_tells_it() -> None:
    finding = Finding(FindingKind.ZOMBIE, "job-1", "no heartbeat for 20 min")
    assert finding_item(finding) == {
        "finding": "zombie",
        "job_id": "job-1",
        "root_id": None,
        "path": None,
        "verdict": None,
        "tier": None,
        "bytes": None,
        "reason": "no heartbeat for 20 min",
    }


def test_an_action_has_no_result_until_it_was_applied() -> None:
    action = Action(seq=1, verb=Verb.FAIL, job_id="job-1", reason="gone", from_status="processing")
    assert action_item(action)["result"] is None
    taken = action_item(action, Outcome.CONFLICT, "the record was changed since")
    assert (taken["result"], taken["note"]) == ("conflict", "the record was changed since")


def test_a_number_that_is_none_is_null() -> None:
    assert to_json([float("nan"), float("inf"), -0.5]) == "[null,null,-0.5]"
