"""Failures of a Qdrant server or its client, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import httpx
from pydantic import ValidationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from lockstep.errors import (
    CollectionExists,
    CollectionNotFound,
    DimensionMismatch,
    InvalidFilter,
    InvalidInput,
    LockstepError,
    StorageFull,
    StoreUnavailable,
)


class TryAgain(RuntimeError):
    """A call that changed nothing for good, and that may pass if it is made again."""


# The local client raises ValueError; the two transports have a type each.
ENGINE_ERRORS = (
    grpc.RpcError,
    UnexpectedResponse,
    ResponseHandlingException,
    QdrantException,
    ValidationError,
    ValueError,
    RuntimeError,  # a client that has been closed; TryAgain
)

_TRANSIENT_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)
_OVERLOAD_CODES = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
_OVERLOAD_STATUSES = (408, 413, 429, 504)
# The connection stood, and the request failed on its way.
_OVERLOAD_TRANSPORT = (
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
)
_TOO_LARGE = ("larger than allowed", "larger than max", "too large", "length limit exceeded")
_FULL = ("no space left", "disk usage", "storage is full")
_REFUSED_CODES = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, TryAgain):
        return True
    if isinstance(error, Exception) and (is_too_large(error) or _is_full(error)):
        return False
    if isinstance(error, grpc.RpcError):
        return _code(error) in _TRANSIENT_CODES
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _TRANSIENT_STATUSES
    if isinstance(error, ResponseHandlingException):
        # Anything but an answer that cannot be read: that will be no better the next time.
        return not isinstance(error.source, ValidationError)
    return isinstance(error, ResourceExhaustedResponse)


def is_overload(error: Exception) -> bool:
    """Whether a smaller request might have passed."""
    if isinstance(error, TryAgain) or is_too_large(error):
        return True
    if isinstance(error, grpc.RpcError):
        return _code(error) in _OVERLOAD_CODES
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _OVERLOAD_STATUSES
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, _OVERLOAD_TRANSPORT)
    return isinstance(error, ResourceExhaustedResponse)


def is_too_large(error: Exception) -> bool:
    """Whether the server takes no request of this size, now or later."""
    if isinstance(error, UnexpectedResponse):
        too_large = error.status_code == 400 and any(t in _text(error).lower() for t in _TOO_LARGE)
        return error.status_code == 413 or too_large
    if isinstance(error, grpc.RpcError):
        return any(text in _text(error).lower() for text in _TOO_LARGE)
    return False


def is_existing(error: Exception) -> bool:
    """Whether a name is taken."""
    return "already exists" in _text(error).lower()


@contextmanager
def translating(collection: str, operation: str) -> Iterator[None]:
    """Raise the engine's errors as ours."""
    try:
        yield
    except ENGINE_ERRORS as error:
        raise translated(error, collection, operation) from error


def translated(error: Exception, collection: str, operation: str) -> LockstepError:
    """The error of ours that names the situation."""
    text = _text(error)
    lower = text.lower()
    if is_existing(error):
        return CollectionExists(f"Collection '{collection}' exists already.")
    if _is_missing(error, lower):
        return CollectionNotFound(f"There is no collection '{collection}'.")
    if "vector dimension error" in lower:
        return DimensionMismatch(f"Collection '{collection}' refused {operation}: {text}.")
    if _is_full(error):
        return StorageFull(
            f"Qdrant has no space left for {operation} on collection '{collection}'.",
            next_step="Free some space on the Qdrant server, then try again.",
        )
    if is_too_large(error):
        return InvalidInput(
            f"Qdrant takes no request of the size of one {operation} on '{collection}': {text}.",
            next_step="Raise the Qdrant server's service.max_request_size_mb.",
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


def _is_full(error: Exception) -> bool:
    text = _text(error).lower()
    return any(sign in text for sign in _FULL)


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
