"""Errors as problem details (RFC 9457), and the one table from errors to HTTP status codes."""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import Match

from lockstep.actor import request_id
from lockstep.api.validation import FieldProblem, field_problems
from lockstep.errors import (
    AccessDenied,
    CollectionNotFound,
    Conflict,
    CursorExpired,
    GateFailed,
    IntegrityError,
    InvalidInput,
    KeyRequired,
    LockstepError,
    ModelNotFound,
    NoLiveIndex,
    NotFound,
    RateLimited,
    StorageFull,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
MAX_FIELDS_NAMED = 20
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# The nearest class on an error's way up decides.
STATUS: Mapping[type[LockstepError], int] = {
    LockstepError: 500,
    InvalidInput: 422,
    NotFound: 404,
    # The corpus is there and the request is right: it works as soon as something is promoted.
    NoLiveIndex: 409,
    # No request names a model, or a collection that was not looked up first: ours is at fault.
    ModelNotFound: 500,
    CollectionNotFound: 503,
    Conflict: 409,
    CursorExpired: 410,
    AccessDenied: 403,
    KeyRequired: 401,
    RateLimited: 429,
    IntegrityError: 500,
    Unavailable: 503,
    StorageFull: 507,
}


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    next_step: str | None = None
    errors: list[FieldProblem] | None = None
    request_id: str | None = None


class ProblemResponse(Response):
    """A problem as application/problem+json."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        # ASCII, because a message may quote a lone surrogate, which UTF-8 cannot carry.
        told = problem.model_copy(update={"request_id": request_id.get()})
        body = json.dumps(told.model_dump(exclude_none=True)).encode()
        super().__init__(body, status_code=problem.status, headers=headers)


def status_of(error: LockstepError) -> int:
    """The HTTP status code that an error becomes."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_of(error: LockstepError, **members: Any) -> Problem:
    """An error as problem details; `members` extend them."""
    words = re.findall("[A-Z][a-z]*", type(error).__name__)
    return Problem(
        type="urn:lockstep:problem:" + "-".join(words).lower(),
        title=" ".join(words).capitalize(),
        status=status_of(error),
        detail=error.message,
        next_step=error.next_step or None,
        **members,
    )


def plain_problem(status: int, detail: str, **members: Any) -> Problem:
    """A problem that its status code says all about."""
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        **members,
    )


def respond(problem: Problem) -> ProblemResponse:
    """The response; one that may succeed later says when to try again."""
    retry = {"Retry-After": str(RETRY_AFTER_S)} if problem.status == 503 else None
    return ProblemResponse(problem, retry)


# Every other error of any route.
DEFAULT: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "Problem details"}
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problems, as a route declares them to OpenAPI."""
    return {
        status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses
    }


def install(app: FastAPI) -> None:
    """Turn everything that goes wrong in the app into problem details."""

    @app.exception_handler(LockstepError)
    async def on_lockstep_error(_: Request, error: LockstepError) -> Response:
        members = {"gates": error.report} if isinstance(error, GateFailed) else {}
        return respond(problem_of(error, **members))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        return respond(_validation_problem(request, error.errors(), error.body))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request))
        problem = plain_problem(error.status_code, _http_detail(request, error, headers))
        return ProblemResponse(problem, headers)

    # The server logs the traceback: Starlette raises the error again after this response.
    @app.exception_handler(Exception)
    async def on_unexpected_error(_: Request, __: Exception) -> Response:
        problem = plain_problem(500, "The server failed in an unforeseen way; its log says how.")
        # Sent from outside the middleware that sets this header everywhere else.
        name = request_id.get()
        return ProblemResponse(problem, {"X-Request-Id": name} if name else None)


def _allowed(request: Request) -> list[str]:
    """The methods that are possible here; Starlette names those of the first route alone."""
    routes = request.app.router.routes
    return [
        method
        for method in _METHODS
        if any(one.matches({**request.scope, "method": method})[0] is Match.FULL for one in routes)
    ]


def _http_detail(request: Request, error: HTTPException, headers: Mapping[str, str]) -> str:
    path = request.url.path
    if error.status_code == 404:
        return f"There is nothing at '{path}'; /docs lists what there is."
    if error.status_code == 405:
        return f"{request.method} is not possible at '{path}'; possible is {headers['Allow']}."
    if error.status_code == 400:  # only FastAPI raises it, where even the JSON reader gave up
        return "The body cannot be read as JSON: it is not UTF-8, or nested too deeply."
    return error.detail


def _validation_problem(request: Request, errors: Sequence[Any], body: Any) -> Problem:
    sent = request.headers.get("content-type", "none").split(";")[0]
    if any(error["loc"] == ("body",) for error in errors) and not sent.endswith("json"):
        return plain_problem(
            415, f"The body has the content type '{sent}'; expected application/json."
        )
    fields = field_problems(errors, body)
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return Problem(
        type="urn:lockstep:problem:invalid-request",
        title="Invalid request",
        status=422,
        detail=f"{fields[0].field}: {fields[0].message}{more}",
        errors=fields[:MAX_FIELDS_NAMED],
    )
