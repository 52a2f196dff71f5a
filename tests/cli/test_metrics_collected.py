"""Metrics as others collect them: Prometheus by file and HTTP, OpenTelemetry by OTLP; on both databases."""

from __future__ import annotations

import http.client
import math
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from cli.calling import PROGRAM, answer, call
from jobctl import clock
from jobctl.model.job import Job
from jobctl.model.names import to_shown
from jobctl.ops.metrics_server import CONTENT_TYPE, Cached, MetricsServer
from jobctl.store import jobs, tallies
from jobctl.store.engine import Store, create_store
from store.records import AT, claim, complete, create, fail, later

EVIL = '[red]x[/red]\x1b[2J\r\n"quoted"\\\u202e\u2028,{}'
FORMULA = "=cmd|' /C calc'!A0"
_NAME = re.compile(r"jobctl_[a-z][a-z0-9_]*")


def live(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a", kind="render")
        claim(connection, "a", at=later(2))
        complete(connection, "a", at=later(10))
        for number, name in enumerate((EVIL, FORMULA)):
            create(connection, f"evil-{number}", kind=name, owner=name, queue=name, at=clock.now())
            claim(connection, f"evil-{number}", at=clock.now())
            fail(connection, f"evil-{number}", error_code=name, at=clock.now())
        jobs.create_job(
            connection, Job(job_id="c", queue=EVIL), actor="x", at=clock.now() - timedelta(hours=1)
        )


def families(text: str) -> dict[str, Family]:
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def summed(family: Family, name: str, **labels: str) -> float:
    return math.fsum(
        sample.value
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_the_official_client_reads_it_and_it_equals_what_json_tells(store: Store, store_url: str) -> None:
    live(store)
    found = families(call("metrics", "--prometheus", database=store_url).stdout)
    told = answer("metrics", database=store_url)
    history = told["data"]["history"]
    for figure in ("created", "completed", "failed", "retried", "recovered", "cancelled", "expired"):
        name = f"jobctl_jobs_{figure}"
        assert summed(found[name], f"{name}_total") == history[figure], figure
    for figure in ("started", "lost"):
        name = f"jobctl_attempts_{figure}"
        assert summed(found[name], f"{name}_total") == history[figure], figure
    for name, item in (("wait", history["wait_s"]), ("run", history["run_s"])):
        family = found[f"jobctl_job_{name}_seconds"]
        assert summed(family, f"{family.name}_count") == item["count"]
        assert summed(family, f"{family.name}_sum") == pytest.approx(item["sum"])
        assert summed(family, f"{family.name}_bucket", le="+Inf") == item["count"]
    failures = summed(found["jobctl_attempt_failures"], "jobctl_attempt_failures_total")
    assert failures == sum(item["count"] for item in history["failures"])
    for status, count in told["counts"].items():
        assert summed(found["jobctl_jobs"], "jobctl_jobs", status=status) == count


def test_it_keeps_the_rules_that_promtool_checks(store: Store, store_url: str) -> None:
    live(store)
    text = call("metrics", "--prometheus", database=store_url).stdout
    assert text.endswith("\n")
    lines = text.splitlines()
    for what in ("HELP", "TYPE"):
        named = [line.split()[2] for line in lines if line.startswith(f"# {what} ")]
        assert len(named) == len(set(named))
        assert all(_NAME.fullmatch(name) for name in named)
    kinds = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        name for name in kinds if name.endswith("_total")
    }
    assert all(name.endswith("_seconds") for name, kind in kinds.items() if kind == "histogram")
    for family in families(text).values():
        assert family.documentation.endswith(".")
        keys = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
        assert len(keys) == len(set(keys))


def test_buckets_only_grow_and_are_the_same_in_every_histogram(store: Store, store_url: str) -> None:
    live(store)
    found = families(call("metrics", "--prometheus", database=store_url).stdout)
    family = found["jobctl_job_run_seconds"]
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            labels = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
            series.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
    assert len({tuple(bound for bound, _ in buckets) for buckets in series.values()}) == 1
    for buckets in series.values():
        assert buckets == sorted(buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    ran = dict(series[("task", "render"), ("to", "completed")])
    assert (ran[4.096], ran[8.192], ran[math.inf]) == (0, 1, 1)


def test_hostile_names_do_no_harm_and_stay_readable(store: Store, store_url: str) -> None:
    live(store)
    text = call("metrics", "--prometheus", database=store_url).stdout
    assert not {"\x1b", "\r", "\u202e", "\u2028"} & set(text)
    found = families(text)
    tasks = {sample.labels["task"] for sample in found["jobctl_jobs_failed"].samples}
    assert tasks == {to_shown(EVIL), FORMULA}
    owners = {sample.labels["owner"] for sample in found["jobctl_owner_jobs_today"].samples}
    assert FORMULA in owners


def test_however_many_names_there_are_labels_are_bounded(store: Store, store_url: str) -> None:
    with store.write() as connection:
        for number in range(40):
            name = f"name-{number:02}"
            create(connection, name, kind=name, owner=name, queue=name, at=clock.now())
            claim(connection, name, at=clock.now())
            fail(connection, name, error_code=name, at=clock.now())
            create(connection, f"{name}-2", kind=name, queue=name, at=clock.now())
    found = families(call("metrics", "--prometheus", "--top", "5", database=store_url).stdout)
    for family, label in (
        ("jobctl_jobs_created", "task"),
        ("jobctl_job_wait_seconds", "task"),
        ("jobctl_attempt_failures", "error_code"),
        ("jobctl_queued_jobs", "queue"),
        ("jobctl_owner_jobs_today", "owner"),
    ):
        values = {sample.labels[label] for sample in found[family].samples}
        assert len(values) == 6, family
        assert "other" in values
    assert summed(found["jobctl_jobs_created"], "jobctl_jobs_created_total") == 80
    assert summed(found["jobctl_owner_jobs_today"], "jobctl_owner_jobs_today", what="created") == 40


def test_a_kind_keeps_its_name_when_more_come(store: Store, store_url: str) -> None:
    """Else its counter would vanish, and that of the others jump back."""
    with store.write() as connection:
        create(connection, "old", kind="first", at=AT)
    for _ in range(3):
        tallies.fold(store)
    before = families(call("metrics", "--prometheus", "--top", "1", database=store_url).stdout)
    with store.write() as connection:
        for number in range(5):
            create(connection, f"new-{number}", kind="another", at=later(86_400))
    for _ in range(3):
        tallies.fold(store)
    after = families(call("metrics", "--prometheus", "--top", "1", database=store_url).stdout)
    counts = [
        {sample.labels["task"]: sample.value for sample in found["jobctl_jobs_created"].samples}
        for found in (before, after)
    ]
    assert counts == [{"first": 1}, {"first": 1, "other": 5}]


def test_a_file_is_replaced_whole_or_left_as_it_was(store: Store, store_url: str, tmp_path: Path) -> None:
    live(store)
    target = tmp_path / "jobctl.prom"
    target.write_text("old")
    result = call("metrics", "--prometheus", "--output", str(target), database=store_url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert families(target.read_text())
    assert not [name for name in os.listdir(tmp_path) if name.startswith((".", "jobctl.prom."))]
    refused = call("metrics", "--prometheus", "--output", str(tmp_path / "no" / "x.prom"), database=store_url)
    assert refused.exit_code == 2
    assert "cannot be made" in refused.stderr
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = call("metrics", "--prometheus", "--output", str(pipe), database=store_url)
    assert (refused.exit_code, pipe.is_fifo()) == (2, True)


# --- over HTTP ------------------------------------------------------------------------------------


@contextmanager
def serving(server: MetricsServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read().decode()


def test_a_server_answers_what_the_command_prints_and_nothing_else(store: Store, store_url: str) -> None:
    live(store)
    printed = families(call("metrics", "--prometheus", database=store_url).stdout)
    command = [PROGRAM, "metrics", "serve", "--port", "0", "--database", store_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = int(process.stderr.readline().partition("127.0.0.1:")[2].partition("/")[0])
            status, kind, text = get(port)
            assert (status, kind) == (200, CONTENT_TYPE)
            assert families(text).keys() == printed.keys()
            assert get(port, "/")[0] == 404
            assert get(port, "/metrics/../etc/passwd")[0] == 404
            assert get(port, method="POST")[0] == 501
            assert get(port, method="HEAD")[::2] == (200, "")
            assert get(port, Host="evil.example")[0] == 421
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_the_store_is_read_once_a_second_however_many_ask() -> None:
    made: list[int] = []
    cached = Cached(lambda: str(made.append(1) or len(made)))
    began = clock.monotonic()
    texts = {cached.get() for _ in range(1_000)}
    assert len(made) == len(texts) <= 1 + (clock.monotonic() - began)


def test_who_asks_and_says_nothing_keeps_nobody_else_from_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobctl.ops.metrics_server._HEAD_PATIENCE_S", 60.0)
    with serving(MetricsServer("127.0.0.1", 0, lambda: "up 1\n", print)) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        assert get(port)[2] == "up 1\n"
        more = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        # Those for whom there is no room are told so at once, and the server lives on.
        assert more[-1].makefile("rb").readline() == b"HTTP/1.0 503 Service Unavailable\r\n"
        status, _, said = get(port)
        assert (status, said) == (503, "too many ask at once; ask again\n")
        for each in (*silent, *more):
            each.close()
        _until(lambda: _answers(port))


def test_who_says_what_is_asked_byte_by_byte_has_no_longer_for_it_than_who_says_it_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else eight of them keep everybody else out, without end."""
    monkeypatch.setattr("jobctl.ops.metrics_server._HEAD_PATIENCE_S", 0.2)
    with (
        serving(MetricsServer("127.0.0.1", 0, lambda: "up 1\n", print)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=0.02) as slow,
    ):
        slow.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        _until(lambda: _is_hung_up(slow, said=b"x"))
        assert get(port)[2] == "up 1\n"


def _is_hung_up(connection: socket.socket, *, said: bytes) -> bool:
    try:
        connection.sendall(said)
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_fault_that_costs_somebody_the_answer_is_told_and_one_who_went_away_is_not() -> None:
    told: list[str] = []

    def broken() -> str:
        raise ValueError("no such figure\nand more")

    def gone() -> str:
        raise BrokenPipeError

    for make in (gone, broken):
        with (
            serving(MetricsServer("127.0.0.1", 0, make, told.append)) as port,
            pytest.raises((OSError, http.client.HTTPException)),
        ):
            get(port)
    # What is told is told before the connection is closed.
    assert told == ["a request got no answer: ValueError: no such figure"]


def _answers(port: int) -> bool:
    try:
        return get(port)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _until(condition: Any) -> None:
    deadline = clock.monotonic() + 60
    while not condition():
        assert clock.monotonic() < deadline
        clock.sleep(0.02)


def test_a_store_that_is_gone_is_told_and_not_called_empty(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    create_store(path, now=clock.now(), version="test")[0].close()
    command = [PROGRAM, "metrics", "serve", "--port", "0", "--database", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = int(process.stderr.readline().partition("127.0.0.1:")[2].partition("/")[0])
            os.rename(path, f"{path}.away")
            status, _, text = get(port)
            assert (status, path in text, "Traceback" in text) == (503, True, False)
            os.rename(f"{path}.away", path)
            _until(lambda: get(port)[0] == 200)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    create_store(path, now=clock.now(), version="test")[0].close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = call("metrics", "serve", "--port", str(taken.getsockname()[1]), database=path)
    assert result.exit_code == 2
    assert "cannot be listened on: Address already in use" in result.stderr


def test_an_address_that_is_none_of_this_machine_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    create_store(path, now=clock.now(), version="test")[0].close()
    for address in ("192.0.2.1", "not an address"):
        result = call("metrics", "serve", "--port", "0", "--listen", address, database=path)
        assert result.exit_code == 2
        assert "name an address of this machine with --listen" in result.stderr


# --- by OTLP --------------------------------------------------------------------------------------


class _Receiver(HTTPServer):
    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Receiving)
        self.status = status
        self.received: list[tuple[str, ExportMetricsServiceRequest]] = []


class _Receiving(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, ExportMetricsServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def receiver(monkeypatch: pytest.MonkeyPatch, status: int = 200) -> Iterator[_Receiver]:
    monkeypatch.setenv("NO_PROXY", "*")
    with _Receiver(status) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_collector_receives_the_same_numbers(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(store)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with receiver(monkeypatch) as server:
        told = answer("metrics", "push", database=store_url)
    ((path, request),) = server.received
    assert path == "/v1/metrics"
    (resource,) = request.resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (attributes["service.name"], attributes["deployment.environment"]) == ("jobctl", "test")
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert len(found) == told["counts"]["metrics"]
    history = answer("metrics", database=store_url)["data"]["history"]
    completed = found["jobctl.jobs_completed"].sum
    assert completed.is_monotonic
    assert sum(point.as_int or point.as_double for point in completed.data_points) == history["completed"]
    runs = found["jobctl.job_run"]
    assert runs.unit == "s"
    assert sum(point.count for point in runs.histogram.data_points) == history["run_s"]["count"]
    assert sum(point.sum for point in runs.histogram.data_points) == pytest.approx(history["run_s"]["sum"])
    for point in runs.histogram.data_points:
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
        assert sum(point.bucket_counts) == point.count
        assert 0 < point.start_time_unix_nano < point.time_unix_nano


def test_a_collector_that_refuses_is_told_of_in_one_sentence(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(monkeypatch, status=400) as server:
        result = call("metrics", "push", database=store_url)
    assert len(server.received) == 1
    assert result.exit_code == 3
    assert "the collector did not take the metrics" in result.stderr
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_the_environment_asks_for_is_kept_to(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(monkeypatch) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        refused = call("metrics", "push", database=store_url)
        assert (refused.exit_code, "asks for grpc" in refused.stderr) == (2, True)
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        assert call("metrics", "push", database=store_url).exit_code == 0
    assert not server.received
