"""The FastAPI app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from lockstep import __version__
from lockstep.api import (
    documents,
    embeddings,
    feedback,
    health,
    metrics,
    problems,
    search,
    trials,
    versions,
)
from lockstep.api.admission import Admission, Line
from lockstep.api.auth import Authentication, require_safe
from lockstep.api.limits import BodyLimit, max_body_bytes
from lockstep.api.request_log import RequestLog
from lockstep.api.running import run_parts
from lockstep.settings import Settings


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _with_key(_with_problem_media_type(super().openapi()))
        return self.openapi_schema


def create_app(settings: Settings) -> FastAPI:
    """The API of one workspace, which it opens when it starts and closes when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = run_parts(settings)
        app.state.running = await run_sync(parts.__enter__)
        try:
            require_safe(settings, app.state.running.keys)
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
    )
    # The last one added meets a request first.
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes(settings))
    line = Line(settings.search_places, settings.search_wait_s)
    app.state.line = line
    app.add_middleware(Admission, line=line)
    app.add_middleware(
        Authentication,
        ring=lambda scope: scope["app"].state.running.keys,
        security=settings.security,
        host=settings.host,
    )
    if settings.security.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors(settings.security.cors_origins))
    app.add_middleware(RequestLog)
    problems.install(app)
    for noun in (search, embeddings, feedback, documents, versions, trials, health):
        app.include_router(noun.router)
    metrics.install(app, line)
    return app


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    return {
        "allow_origins": origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": [
            *("Authorization", "X-Api-Key", "Content-Type", "X-Request-Id", "X-Traffic-Key"),
        ],
        "expose_headers": ["X-Request-Id", "Retry-After"],
    }


def _with_key(schema: dict[str, Any]) -> dict[str, Any]:
    """A key in either header; none, where the server asks for none."""
    schema.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "lsk_..."},
        "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    }
    return {**schema, "security": [{"bearer": []}, {"header": []}, {}]}


def _with_problem_media_type(schema: dict[str, Any]) -> dict[str, Any]:
    """FastAPI declares every response as the media type of its success."""
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":  # "default" too
                    response["content"] = {
                        problems.MEDIA_TYPE: response["content"]["application/json"]
                    }
    return schema
