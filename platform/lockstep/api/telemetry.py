"""OpenTelemetry traces, where variables ask for them: OTEL_EXPORTER_OTLP_ENDPOINT and others.

Requests, database calls and calls to a Qdrant server are traced by OpenTelemetry's own
instrumentations; the stages of a search by the times that its answer tells. No span holds a query.
"""

import os
import time
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from lockstep.actor import request_id
from lockstep.errors import InvalidSetting
from lockstep.search.request import SearchResponse

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_ASKING = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
_UNTRACED = "healthz,readyz,metrics"


class Traces:
    """Makes the spans of searches; without a tracer none, at no cost."""

    def __init__(self, tracer: "Tracer | None" = None) -> None:
        self._tracer = tracer

    def searched(self, corpus: str, mode: str, response: SearchResponse) -> None:
        """Trace a search that has just been answered, and each of its stages."""
        if self._tracer is None:
            return
        attributes = {
            "lockstep.corpus": corpus,
            "lockstep.mode": mode,
            "lockstep.index_version": response.index_version,
            "lockstep.model_version": response.model_version,
        }
        took = dict(vars(response.took_ms))
        total = took.pop("total")
        start = time.time_ns() - int(total * 1e6)
        from opentelemetry.trace import set_span_in_context

        whole = self._tracer.start_span("search corpus", attributes=attributes, start_time=start)
        inside, at = set_span_in_context(whole), start
        # In the order in which they follow each other.
        for stage in _ORDER:
            if took.get(stage, 0) > 0:
                ends = at + int(took[stage] * 1e6)
                span = self._tracer.start_span(stage, inside, attributes=attributes, start_time=at)
                span.end(ends)
                at = ends
        whole.end(start + int(total * 1e6))


_ORDER = ("encode", "search", "rerank", "highlight")


class NamedSpans:
    """Middleware that gives the span of a request its name, which RequestLog has found."""

    def __init__(self, app: ASGIApp) -> None:
        from opentelemetry.trace import get_current_span

        self._app = app
        self._span = get_current_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (name := request_id.get()) is not None:
            self._span().set_attribute("lockstep.request_id", name)
        await self._app(scope, receive, send)


def install(app: FastAPI, provider: "TracerProvider | None") -> None:
    """Trace the app where there is a provider. Call it before RequestLog is added."""
    if provider is None:
        app.state.traces = Traces()
        return
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app.add_middleware(NamedSpans)
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls=_UNTRACED, exclude_spans=["receive", "send"]
    )
    app.state.traces = Traces(provider.get_tracer("lockstep"))


def provider_from_environment() -> "TracerProvider | None":
    """The provider that OpenTelemetry's variables ask for; call it before anything is opened.

    OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none turn it off. Raises InvalidSetting.
    """
    given = [name for name in _ASKING if os.environ.get(name)]
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not given or off or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    try:
        from lockstep.api.tracing import traced_provider
    except ImportError as error:
        raise InvalidSetting(
            f"{', '.join(given)} asks for traces, and a package for them is missing: {error}.",
            next_step='Install them: pip install "lockstep[telemetry]". Or unset the variable.',
        ) from error
    return traced_provider()
