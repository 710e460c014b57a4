"""The FastAPI app."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import sleep
from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from lockstep import __version__
from lockstep.api import (
    documents,
    embeddings,
    feedback,
    health,
    metrics,
    openapi,
    problems,
    search,
    telemetry,
    trials,
    versions,
)
from lockstep.api.admission import Admission, Line
from lockstep.api.auth import Authentication, require_safe
from lockstep.api.limits import BodyLimit, HeaderLimit, max_body_bytes
from lockstep.api.query_parameters import known_query_parameters
from lockstep.api.rate_limit import RateLimits
from lockstep.api.request_log import RequestLog
from lockstep.api.running import Running, run_parts
from lockstep.errors import Unavailable
from lockstep.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

_RETRY_S = 1.0


class _App(FastAPI):
    keys_required = False

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.completed(
                super().openapi(), keys_required=self.keys_required
            )
        return self.openapi_schema


def create_app(
    settings: Settings,
    *,
    url: str = "",
    figures: Path | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> FastAPI:
    """The API of one workspace, which it opens when it starts and closes when it ends.

    `url` is told to commands that look for servers; `figures` is where workers share their metrics.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts, app.state.running = await _opened(settings, patient=figures is not None)
        try:
            require_safe(settings, app.state.running.keys)
            app.state.running.follower.url = url
            if figures is not None:  # a worker's own process
                gc.collect()
                gc.freeze()  # what was loaded stays: to look through all of it takes 0.3 s
            yield
        finally:
            await run_sync(parts.__exit__, None, None, None)

    app = _App(
        title="Lockstep",
        version=__version__,
        summary="Searches an embedding model and its index in lockstep.",
        lifespan=lifespan,
        redirect_slashes=False,  # the id of a document may end in one
        responses=problems.DEFAULT,
        generate_unique_id_function=_operation_id,
    )
    app.keys_required = settings.security.require_key is True
    # The last one added meets a request first.
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes(settings))
    line = Line(settings.search_places, settings.search_wait_s)
    app.state.line = line
    app.add_middleware(Admission, line=line)
    limits = RateLimits(settings.security.rate_per_s, settings.security.rate_burst_s)
    app.state.rate_limits = limits
    app.add_middleware(
        Authentication,
        ring=lambda scope: scope["app"].state.running.keys,
        limits=limits,
        security=settings.security,
        host=settings.host,
    )
    if settings.security.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors(settings.security.cors_origins))
    telemetry.install(app, tracer_provider)
    app.add_middleware(HeaderLimit)
    app.add_middleware(RequestLog)
    problems.install(app)
    nouns = (search, embeddings, feedback, documents, versions, trials)
    for noun in nouns:
        app.include_router(noun.router, dependencies=[Depends(known_query_parameters)])
    app.include_router(health.router)  # which probes may ask in ways of their own
    app.state.routes = [route for noun in (*nouns, health) for route in noun.router.routes]
    metrics.install(app, line, figures)
    return app


async def _opened(
    settings: Settings, *, patient: bool
) -> tuple[AbstractContextManager[Running], Running]:
    """The running parts. A worker waits for what is away: others go on answering meanwhile."""
    while True:
        parts = run_parts(settings)
        try:
            return parts, await run_sync(parts.__enter__)
        except Unavailable as error:
            if not patient:
                raise
            logger.warning("this worker has not started yet: %s", error)
            await sleep(_RETRY_S)


def _operation_id(route: APIRoute) -> str:
    """What generated clients call it: search, search_batch, documents_upsert, trials_start."""
    noun = str(route.tags[0]) if route.tags else ""
    return route.name if route.name.startswith(noun) else f"{noun}_{route.name}"


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    return {
        "allow_origins": origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": [
            *("Authorization", "X-Api-Key", "Content-Type", "X-Request-Id", "X-Traffic-Key"),
        ],
        "expose_headers": ["X-Request-Id", "Retry-After"],
    }
