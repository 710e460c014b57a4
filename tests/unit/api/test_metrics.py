"""What /metrics tells, how its labels stay bounded, and that nothing slow holds it up."""

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from lockstep.api.latest import STALE_S, Latest
from lockstep.api.metrics import Metrics, RequestMetrics
from lockstep.api.request_log import RequestLog
from lockstep.errors import DatabaseUnavailable

DEPLOY = Path(__file__).parents[3] / "deploy"
SEARCH = "/v1/corpora/docs/search"

Labels = frozenset[tuple[str, str]]


class Scrape:
    """The samples of one scrape."""

    def __init__(self, client: TestClient) -> None:
        response = client.get("/metrics")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain; version=")
        self._samples: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self._samples.get((name, frozenset(labels.items())), 0.0)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self._samples}

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self._samples if found == name]

    def values_of(self, label: str) -> set[str]:
        return {value for _, labels in self._samples for key, value in labels if key == label}


def test_a_request_counts_by_the_template_of_its_route(client: TestClient) -> None:
    request = {"method": "GET", "route": "/v1/corpora/{corpus}/documents/{document_id:any}"}
    before = Scrape(client)
    for number in range(3):
        client.get(f"/v1/corpora/docs/documents/none/{number}")
    after = Scrape(client)

    for name, labels in (
        ("lockstep_http_requests_total", {**request, "status": "404"}),
        ("lockstep_http_request_seconds_count", request),
    ):
        assert after.value(name, **labels) == before.value(name, **labels) + 3


@pytest.mark.parametrize(
    ("method", "path", "content", "labels"),
    [
        ("GET", "/wp-login.php", b"", {"method": "GET", "route": "other", "status": "404"}),
        ("BREW", "/coffee", b"", {"method": "other", "route": "other", "status": "404"}),
        ("BREW", "/healthz", b"", {"method": "other", "route": "/healthz", "status": "405"}),
        # Refused before any route is looked up.
        (
            "POST",
            SEARCH,
            bytes(1 << 25),
            {"method": "POST", "route": "/v1/corpora/{corpus}/search", "status": "413"},
        ),
    ],
)
def test_what_no_route_answers_counts_too(
    client: TestClient, method: str, path: str, content: bytes, labels: dict[str, str]
) -> None:
    before = Scrape(client)
    client.request(method, path, content=content)
    after = Scrape(client)

    name = "lockstep_http_requests_total"
    assert after.value(name, **labels) == before.value(name, **labels) + 1


def test_a_failure_of_the_server_counts_as_500(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError

    labels = {"method": "GET", "route": "/v1/corpora", "status": "500"}
    before = Scrape(client).value("lockstep_http_requests_total", **labels)
    with monkeypatch.context() as patch:
        patch.setattr("lockstep.corpus.change_log.Corpora.names", fail)
        client.get("/v1/corpora")

    assert Scrape(client).value("lockstep_http_requests_total", **labels) == before + 1


def test_a_search_tells_its_generation_and_its_stages(client: TestClient) -> None:
    generation = {"corpus": "docs", "index_version": "docs--v0002", "model_version": "tiny@2"}
    stage = "lockstep_search_stage_seconds_count"
    before = Scrape(client)
    took = client.post(SEARCH, json={"query": "red", "mode": "dense"}).json()["took_ms"]
    client.post(SEARCH, json={"query": "red", "mode": "lexical"})
    after = Scrape(client)

    name = "lockstep_searches_total"
    assert after.value(name, **generation) == before.value(name, **generation) + 2
    for mode, stages in (("dense", ["encode", "search", "total"]), ("lexical", ["search"])):
        for one in stages:
            labels = {"corpus": "docs", "mode": mode, "stage": one}
            assert after.value(stage, **labels) == before.value(stage, **labels) + 1
    assert not after.value(stage, corpus="docs", mode="lexical", stage="encode")
    total = {"corpus": "docs", "mode": "dense", "stage": "total"}
    seconds = "lockstep_search_stage_seconds_sum"
    added = after.value(seconds, **total) - before.value(seconds, **total)
    assert added == pytest.approx(took["total"] / 1000, rel=1e-3)


def test_a_corpus_that_is_not_there_never_becomes_a_label(client: TestClient) -> None:
    for number in range(3):
        client.post(f"/v1/corpora/made-up-{number}/search", json={"query": "red"})

    labels = Scrape(client).values_of("corpus")
    assert "docs" in labels
    assert not any(label.startswith("made-up") for label in labels)


def test_the_indexes_of_a_corpus_and_what_answers_are_told(client: TestClient) -> None:
    written = client.post(
        "/v1/corpora/docs/documents?wait=indexed",
        json={"documents": [{"id": "metrics", "text": "red"}]},
    ).json()
    scrape = Scrape(client)

    assert scrape.value("lockstep_corpus_head_seq", corpus="docs") == written["head_seq"]
    lag = {
        one["index_version"]: scrape.value("lockstep_index_lag", **one)
        for one in scrape.labels("lockstep_index_lag")
    }
    assert lag["docs--v0002"] == 0  # live
    assert lag["docs--v0003"] > 0  # a candidate, which follows nothing
    assert "docs--v0001" not in lag  # dropped
    assert scrape.labels("lockstep_generation_info") == [
        {"corpus": "docs", "index_version": "docs--v0002", "model_version": "tiny@2"}
    ]
    for name in ("lockstep_corpus_has_live", "lockstep_corpus_served"):
        assert scrape.value(name, corpus="docs") == 1
    for part in ("database", "store"):
        assert scrape.value("lockstep_part_up", part=part) == 1
    assert scrape.value("process_resident_memory_bytes") > 0


def test_a_database_that_hangs_or_fails_does_not_hold_up_a_scrape(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, released: threading.Event
) -> None:
    def hang(_: object) -> NoReturn:
        released.wait()
        raise DatabaseUnavailable("It went away.")

    with monkeypatch.context() as patch:
        patch.setattr("lockstep.corpus.change_log.Corpora.names", hang)
        hanging = Scrape(client)
        released.set()
        failing = Scrape(client)

    for scrape in (hanging, failing):
        assert scrape.value("lockstep_part_up", part="database") == 0
        assert scrape.value("lockstep_part_up", part="store") == 1
        assert scrape.labels("lockstep_generation_info")
    assert Scrape(client).value("lockstep_part_up", part="database") == 1


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end of the test at the latest, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def test_old_figures_are_left_out_once_they_mislead() -> None:
    now = 1000.0
    works = True

    def read() -> str:
        if not works:
            raise DatabaseUnavailable("It went away.")
        return "figures"

    latest = Latest(read, clock=lambda: now)
    assert (latest.value(10), latest.up) == ("figures", True)
    works = False
    now += STALE_S - 1
    assert (latest.value(10), latest.up) == ("figures", False)
    now += 1
    assert (latest.value(10), latest.up) == (None, False)


def test_one_thread_reads_however_often_it_is_asked(released: threading.Event) -> None:
    reads = []

    def read() -> str:
        reads.append(threading.current_thread())
        released.wait()
        return "figures"

    latest = Latest(read)
    assert [latest.value(0) for _ in range(5)] == [None] * 5
    assert len(reads) == 1
    released.set()
    reads[0].join()
    assert latest.value(10) == "figures"


@pytest.mark.parametrize("path", ["grafana/dashboards/lockstep.json", "prometheus/alerts.yml"])
def test_dashboard_and_alerts_name_only_what_is_exported(client: TestClient, path: str) -> None:
    client.post(SEARCH, json={"query": "red"})
    exported = Scrape(client).names

    named = set(re.findall(r"\b(?:lockstep|process)_\w+", (DEPLOY / path).read_text()))
    assert len(named) > 5
    assert named - exported == set()


def test_who_hangs_up_before_an_answer_is_no_error_of_the_server() -> None:
    async def unanswered(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def hang_up() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError

    metrics = Metrics()
    app = SimpleNamespace(state=SimpleNamespace(routes=[]))
    scope = {"type": "http", "method": "POST", "path": SEARCH, "headers": [], "app": app}
    asyncio.run(RequestLog(RequestMetrics(unanswered, metrics))(scope, hang_up, send))

    labels = {"method": "POST", "route": "other", "status": "499"}
    assert metrics.registry.get_sample_value("lockstep_http_requests_total", labels) == 1
