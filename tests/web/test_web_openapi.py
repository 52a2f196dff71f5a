"""Whatever OpenAPI allows to be asked: no fault, nothing from outside the root, no unverified video."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from jobctl.ops.site import Site
from jobctl.web.application import app_of
from jobctl.web.documented import Presentation, Problem
from ops.world import World, a_job_id
from web.serving import api_of, begin, completed, end

SECRET = b"a secret that lies beside the root"
UNVERIFIED = b"an unverified video"
UNVERIFIED_JOB, COMPLETED_JOB = a_job_id(9_001), a_job_id(9_002)
NASTY = [
    "..",
    "../secret.mp4",
    "..%2fsecret.mp4",
    "%2e%2e%2fsecret.mp4",
    "/etc/passwd",
    ".jobctl/root.json",
    "\x00",
]


@pytest.fixture(scope="module")
def fuzzed(world: World, site: Site) -> Iterator[tuple[TestClient, Any]]:
    """The API on a root with a secret beside it, and its schema. Faults are answers here."""
    (world.root.parent / "secret.mp4").write_bytes(SECRET)
    world.file(f"presentation_{UNVERIFIED_JOB}.mp4", UNVERIFIED)
    begin(site, UNVERIFIED_JOB)
    end(site, UNVERIFIED_JOB)
    completed(world, 9_002)
    application = app_of(api_of(world))
    with TestClient(application, raise_server_exceptions=False) as client:
        yield client, schemathesis.openapi.from_dict(application.openapi())


def job_ids() -> st.SearchStrategy[str]:
    """Ids that are, ids that might be, and what wants to get out."""
    known = st.sampled_from([UNVERIFIED_JOB, COMPLETED_JOB, *NASTY])
    return known | st.text(max_size=40) | st.uuids().map(str)


def ask(client: TestClient, case: Any, job_id: str) -> Any:
    """Ask what schemathesis made up, of an id of ours."""
    if "job_id" in case.path_parameters:
        case.path_parameters["job_id"] = quote(job_id.encode(errors="replace"), safe="/%")
    request = case.as_transport_kwargs(base_url="http://testserver")
    request = {
        name: value for name, value in request.items() if name in {"method", "url", "params", "headers"}
    }
    # Nobody waits for long here, and what no header can bear cannot be sent.
    params = {name: value for name, value in (request.pop("params", None) or {}).items() if name != "wait"}
    headers = {
        name: value
        for name, value in (request.pop("headers", None) or {}).items()
        if str(value).isascii() and str(value).isprintable()
    }
    content = None if isinstance(case.body, schemathesis.core.NotSet) else _content(case.body)
    if content is not None:
        headers["Content-Type"] = "application/json"
    return client.request(**request, params=params, headers=headers, content=content)


def _content(body: Any) -> bytes:
    return json.dumps(body).encode()


def test_the_schema_tells_of_every_path_with_examples(fuzzed: tuple[TestClient, Any]) -> None:
    client, _ = fuzzed
    document = client.get("/openapi.json").json()
    assert {"/presentations", "/presentations/{job_id}", "/healthz", "/readyz", "/metrics"} <= document[
        "paths"
    ].keys()
    presentation = document["components"]["schemas"]["Presentation"]
    for example in presentation["examples"]:
        Presentation.model_validate(example)
    answers = document["paths"]["/presentations/{job_id}"]["get"]["responses"]
    assert {"200", "202", "304", "401", "404", "410", "422", "503"} <= answers.keys()
    post = document["paths"]["/presentations"]["post"]
    assert "examples" in post["requestBody"]["content"]["application/json"]


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_that_can_be_asked_makes_a_fault_or_gives_what_must_not_be_given(
    fuzzed: tuple[TestClient, Any], data: st.DataObject
) -> None:
    client, schema = fuzzed
    operations = [each.ok() for each in schema.get_all_operations()]
    operation = data.draw(st.sampled_from(operations), label="operation")
    case = data.draw(operation.as_strategy(), label="case")
    answer = ask(client, case, data.draw(job_ids(), label="job id"))
    assert answer.status_code != 500, answer.text
    documented = operation.definition.raw["responses"]
    # A path may become another one by what stands in it; then there is none, or another method.
    assert str(answer.status_code) in documented or answer.status_code in {404, 405}
    assert SECRET not in answer.content
    assert UNVERIFIED not in answer.content
    if answer.status_code >= 400 and operation.path != "/readyz":
        Problem.model_validate(answer.json())


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize(
    "form",
    [
        "/presentations/{}/video",
        "/presentations/{}/thumbnail",
        "/api/custom/presentations/{}/video",
        "/api/custom/download/presentation_{}.mp4",
        "/api/custom/download/{}",
    ],
)
def test_no_path_leads_out_of_the_root(fuzzed: tuple[TestClient, Any], form: str, name: str) -> None:
    client, _ = fuzzed
    answer = client.get(form.format(name.replace("\x00", "%00")))
    assert answer.status_code in {404, 422}
    assert SECRET not in answer.content


def test_the_root_holds_what_it_held(fuzzed: tuple[TestClient, Any], world: World) -> None:
    assert sorted(os.listdir(world.root)) == sorted(
        [".jobctl", f"presentation_{UNVERIFIED_JOB}.mp4", f"presentation_{COMPLETED_JOB}.mp4"]
    )
