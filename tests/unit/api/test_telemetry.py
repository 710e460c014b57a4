"""Traces: what a search leaves in them, and that nothing does unless they are asked for."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lockstep.api.app import create_app
from lockstep.api.telemetry import provider_from_environment
from lockstep.api.tracing import RequestsOnly

from .conftest import BASE_URL

SEARCH = "/v1/corpora/docs/search"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(client: TestClient, exporter: InMemorySpanExporter) -> Iterator[TestClient]:
    provider = TracerProvider(RequestsOnly(TracerProvider().sampler))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    running = client.app.state.running  # type: ignore[attr-defined]
    app = create_app(running.workspace.settings, tracer_provider=provider)
    app.state.running = running
    yield TestClient(app, BASE_URL)
    provider.get_tracer("thread").start_span("by itself").end()
    assert "by itself" not in _named(exporter)
    provider.shutdown()


def _named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_search_and_its_stages_are_spans_without_its_words(
    traced: TestClient, exporter: InMemorySpanExporter
) -> None:
    body = {"query": "red sesquipedalian", "highlight": True}
    answer = traced.post(SEARCH, json=body, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    spans = _named(exporter)
    request, search = spans[f"POST {SEARCH.replace('docs', '{corpus}')}"], spans["search corpus"]
    assert request.attributes is not None
    assert request.attributes["lockstep.request_id"] == "mine"
    assert search.attributes == {
        "lockstep.corpus": "docs",
        "lockstep.mode": "hybrid",
        "lockstep.index_version": answer.json()["index_version"],
        "lockstep.model_version": answer.json()["model_version"],
    }
    assert request.context is not None
    assert search.context is not None
    assert search.parent is not None
    assert search.parent.span_id == request.context.span_id
    assert search.start_time is not None
    for stage in ("encode", "search", "highlight"):
        span = spans[stage]
        assert span.parent is not None
        assert span.parent.span_id == search.context.span_id
        assert span.start_time is not None
        assert span.end_time is not None
        took_ms = (span.end_time - span.start_time) / 1e6
        assert took_ms == pytest.approx(answer.json()["took_ms"][stage], abs=0.001)
        assert span.start_time >= search.start_time
    assert not any("sesquipedalian" in span.to_json() for span in spans.values())


def test_probes_are_not_traced(traced: TestClient, exporter: InMemorySpanExporter) -> None:
    assert traced.get("/healthz").status_code == 200
    assert _named(exporter) == {}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_nothing_is_traced_unless_the_environment_asks(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert provider_from_environment() is None
