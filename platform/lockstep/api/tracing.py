"""What needs OpenTelemetry's packages: the extra `telemetry`."""

import os
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes


class RequestsOnly(Sampler):
    """Samples what requests cause: the threads behind them ask the database all day."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        inside = get_current_span(parent_context).get_span_context().is_valid
        if not inside and kind is not SpanKind.SERVER:
            return SamplingResult(Decision.DROP)
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        return f"RequestsOnly({self._sampler.get_description()})"


def traced_provider() -> TracerProvider:
    """As the environment describes it; calls to the database and to a Qdrant server are traced."""
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "lockstep"}
    sampler = RequestsOnly(TracerProvider().sampler)
    provider = TracerProvider(sampler, Resource.create(named))
    console = os.environ.get("OTEL_TRACES_EXPORTER") == "console"
    exporter: SpanExporter = ConsoleSpanExporter() if console else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    for instrumentor in (SQLAlchemyInstrumentor, HTTPXClientInstrumentor, GrpcInstrumentorClient):
        instrumentor().instrument(tracer_provider=provider)
    return provider
