"""The OpenAPI document: what it says of all routes alike, so that none of them has to."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from lockstep.api.problems import MEDIA_TYPE
from lockstep.corpus.change_log import NAME_PATTERN

Schema = dict[str, Any]

# Whatever is asked of the API may be answered so: by keys, limits, or a part that is away.
_OF_EVERY_ROUTE = (401, 403, 413, 429, 500, 503)
_OF_A_BODY = (400, 415, 422)
_OPEN = ("/healthz", "/readyz")
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})

_REQUEST_ID = {
    "description": "The request's name, in the server's log too.",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_RETRY_AFTER = {
    "description": "Seconds.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_CHALLENGE = {"required": True, "schema": {"type": "string"}}


def completed(schema: Schema, *, keys_required: bool) -> Schema:
    """FastAPI's document with keys, problems, headers, and what a corpus may be called."""
    schema.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "lsk_..."},
        "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    }
    # A key in either header; perhaps none, where it depends on who can reach the server.
    schema["security"] = [{"bearer": []}, {"header": []}, *([] if keys_required else [{}])]
    for path, operation in _operations(schema):
        if path in _OPEN:
            operation["security"] = []
        _add_shared_answers(path, operation)
        for status, response in operation["responses"].items():
            _describe(status, response)
        for parameter in operation.get("parameters", ()):
            if (parameter["in"], parameter["name"]) == ("path", "corpus"):
                parameter["schema"]["pattern"] = f"^{NAME_PATTERN}$"
    return schema


def _operations(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, operation


def _add_shared_answers(path: str, operation: Schema) -> None:
    responses = operation["responses"]
    problem = responses["default"]["content"]
    statuses = {413, 500} if path in _OPEN else set(_OF_EVERY_ROUTE)
    if "requestBody" in operation:
        statuses.update(_OF_A_BODY)
    if any(one["in"] == "query" for one in operation.get("parameters", ())):
        statuses.add(422)
    for status in sorted(statuses):
        described = {"description": HTTPStatus(status).phrase, "content": dict(problem)}
        responses.setdefault(str(status), described)


def _describe(status: str, response: Schema) -> None:
    """FastAPI declares every response as the media type of its success, and no headers."""
    headers = {"X-Request-Id": _REQUEST_ID}
    if status >= "400":  # "default" too
        response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    if status in ("429", "503"):
        headers["Retry-After"] = _RETRY_AFTER
    if status == "401":
        headers["WWW-Authenticate"] = _CHALLENGE
    response["headers"] = headers
