"""What Prometheus scrapes at /metrics: requests, search stages, and how the indexes stand.

Labels are bounded: a route is its template, and a corpus becomes a value only once it is known.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstep import __version__
from lockstep.api.admission import Line
from lockstep.api.caller import needs
from lockstep.api.standing import Standing
from lockstep.api.worker_processes import WorkerProcesses
from lockstep.corpus.api_key import Scope as KeyScope
from lockstep.search.request import Mode, SearchResponse

router = APIRouter(tags=["health"])

# Seconds. A promotion may take minutes, so requests go on where searches end.
_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
# Of a request whose caller hung up before there was an answer, as proxies have it.
HUNG_UP = 499


class Metrics:
    """The metrics of one app, in a registry of its own.

    `shared` is the folder in which several workers keep their figures; a scrape of any of them
    tells those of all.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self.scraped = CollectorRegistry() if shared else self.registry
        # Of its own, so that no number of slow searches holds up a scrape.
        self.scrapes = CapacityLimiter(1)
        if shared is None:
            ProcessCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        else:
            # prometheus_client has types, but not for what serves several processes.
            MultiProcessCollector(self.scraped, str(shared))  # type: ignore[no-untyped-call]
            self.scraped.register(WorkerProcesses())
        Gauge(
            "lockstep_build_info",
            "1, with Lockstep's version.",
            ["version"],
            registry=self.registry,
            multiprocess_mode="max",
        ).labels(__version__).set(1)
        self._sum("lockstep_workers", "Processes of this server that answer requests.").set(1)
        self._requests = Counter(
            "lockstep_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "lockstep_http_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["method", "route"],
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._searches = Counter(
            "lockstep_searches_total",
            "Searches answered, by the generation that answered them.",
            ["corpus", "index_version", "model_version"],
            registry=self.registry,
        )
        self._stage_seconds = Histogram(
            "lockstep_search_stage_seconds",
            "Time of a search by stage: encode, search, rerank, highlight; total is all of it.",
            ["corpus", "mode", "stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )

        self.on_search: Callable[[str, str, SearchResponse], None] = lambda *_: None

    def watch(self, line: Line) -> None:
        """Tell how many searches are at work and in line, and how many were refused."""
        at_work = self._sum("lockstep_searches_at_work", "Searches that have their turn.")
        waiting = self._sum("lockstep_searches_waiting", "Searches that wait for their turn.")
        refused = Counter(
            "lockstep_searches_refused_total",
            "Searches refused because too many wait.",
            registry=self.registry,
        )

        def tell() -> None:
            at_work.set(line.busy)
            waiting.set(line.waiting)

        line.on_change, line.on_refusal = tell, refused.inc

    def _sum(self, name: str, help_text: str) -> Gauge:
        """A gauge whose values of several workers are added up."""
        return Gauge(name, help_text, registry=self.registry, multiprocess_mode="livesum")

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in METHODS else _OTHER
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def observe_search(self, corpus: str, mode: Mode, response: SearchResponse) -> None:
        """Count an answer. That there is one shows that the corpus is no made-up name."""
        self._searches.labels(corpus, response.index_version, response.model_version).inc()
        self.on_search(corpus, mode.value, response)
        for stage, milliseconds in stages(response, mode):
            self._stage_seconds.labels(corpus, mode.value, stage).observe(milliseconds / 1000)


def stages(response: SearchResponse, mode: Mode) -> Iterator[tuple[str, float]]:
    """What a search went through, with milliseconds: no stage that it did not have."""
    for stage, milliseconds in vars(response.took_ms).items():
        if stage == "encode" and mode is Mode.LEXICAL:  # which encodes nothing
            continue
        if milliseconds > 0 or stage in ("encode", "search", "total"):
            yield stage, milliseconds


class RequestMetrics:
    """Middleware that counts and times every request, those that fail too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None
        answered_at: float | None = None  # what a route does after its answer is no waiting

        async def noting(message: Message) -> None:
            nonlocal status, answered_at
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            answered_at = time.perf_counter()

        started = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
            status = status or HUNG_UP
        finally:
            status = status or 500  # what the server answers where the app raises
            seconds = (answered_at or time.perf_counter()) - started
            self._metrics.observe_request(scope["method"], route_of(scope), status, seconds)


def route_of(scope: Scope) -> str:
    """The template of the route that a request was for; paths that are none share one value.

    What is refused before routes are looked up (401, 413, 429, 503) is looked up here.
    """
    route = scope.get("route")
    if route is None:
        routes = scope["app"].state.routes
        route = next((one for one in routes if one.matches(scope)[0] is Match.FULL), None)
    return getattr(route, "path", _OTHER)


def install(app: FastAPI, line: Line, shared: Path | None = None) -> None:
    """Measure the app, and answer at /metrics. Call it after every other middleware is added."""
    metrics = Metrics(shared)
    metrics.watch(line)
    metrics.scraped.register(Standing(lambda: getattr(app.state, "running", None)))
    metrics.on_search = app.state.traces.searched
    app.state.metrics = metrics
    app.add_middleware(RequestMetrics, metrics=metrics)
    app.include_router(router)


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


MetricsDep = Annotated[Metrics, Depends(_metrics)]


@router.get(
    "/metrics", include_in_schema=False, dependencies=[Depends(needs(KeyScope.METRICS))]
)  # for Prometheus, not for applications
async def scrape(request: Request, metrics: MetricsDep) -> Response:
    """Figures in Prometheus's format; answers within a second whatever is down."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    body = await run_sync(encode, metrics.scraped, limiter=metrics.scrapes)
    return Response(body, headers={"content-type": content_type})
