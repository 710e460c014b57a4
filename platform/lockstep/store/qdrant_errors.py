"""Failures of a Qdrant server or its client, as errors of ours."""

import grpc
from pydantic import ValidationError
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from lockstep.errors import (
    CollectionExists,
    CollectionNotFound,
    DimensionMismatch,
    InvalidFilter,
    LockstepError,
    StorageFull,
    StoreUnavailable,
)

# The local client raises ValueError; the two transports have a type each.
ENGINE_ERRORS = (
    grpc.RpcError,
    UnexpectedResponse,
    ResponseHandlingException,
    ResourceExhaustedResponse,
    ValidationError,
    ValueError,
    RuntimeError,  # a client that has been closed
)

_TRANSIENT_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
)
_TRANSIENT_STATUSES = (429, 502, 503, 504)
_REFUSED_CODES = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, grpc.RpcError):
        return _code(error) in _TRANSIENT_CODES
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _TRANSIENT_STATUSES
    return isinstance(error, ResponseHandlingException | ResourceExhaustedResponse)


def translated(error: Exception, collection: str, operation: str) -> LockstepError:
    """The error of ours that names the situation."""
    text = _text(error)
    lower = text.lower()
    if "already exists" in lower:
        return CollectionExists(f"Collection '{collection}' exists already.")
    if _is_missing(error, lower):
        return CollectionNotFound(f"There is no collection '{collection}'.")
    if "vector dimension error" in lower:
        return DimensionMismatch(f"Collection '{collection}' refused {operation}: {text}.")
    if "no space left" in lower or "disk usage" in lower or "storage is full" in lower:
        return StorageFull(
            f"Qdrant has no space left for {operation} on collection '{collection}'.",
            next_step="Free some space on the Qdrant server, then try again.",
        )
    if isinstance(error, ValidationError) or _is_refused_request(error):
        return InvalidFilter(f"Qdrant refused {operation} on collection '{collection}': {text}.")
    return _unavailable(error, text, collection, operation)


def _unavailable(error: Exception, text: str, collection: str, operation: str) -> StoreUnavailable:
    refused = isinstance(error, UnexpectedResponse) and error.status_code in (401, 403)
    refused = refused or (isinstance(error, grpc.RpcError) and _code(error) in _REFUSED_CODES)
    return StoreUnavailable(
        f"Qdrant failed during {operation} on collection '{collection}': {text}.",
        next_step="Check the API key of the Qdrant server."
        if refused
        else "Check that the Qdrant server runs and can be reached.",
    )


def _is_missing(error: Exception, text: str) -> bool:
    if isinstance(error, UnexpectedResponse) and error.status_code == 404:
        return True
    if isinstance(error, grpc.RpcError) and _code(error) is grpc.StatusCode.NOT_FOUND:
        return True
    return "collection" in text and ("not found" in text or "doesn't exist" in text)


def _is_refused_request(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in (400, 422)
    if isinstance(error, grpc.RpcError):
        return _code(error) is grpc.StatusCode.INVALID_ARGUMENT
    return isinstance(error, ValueError) and "path" in str(error).lower()


def _code(error: grpc.RpcError) -> grpc.StatusCode | None:
    # RpcError itself has no methods; what the client raises is also a grpc.Call.
    return error.code() if isinstance(error, grpc.Call) else None


def _text(error: Exception) -> str:
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        return f"{_code(error)}: {error.details()}"
    return " ".join(str(error).split()) or type(error).__name__
