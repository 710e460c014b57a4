"""The embedded engine's failures, told apart by their text: it has one exception type for all."""

import errno

from lockstep.errors import (
    CollectionDamaged,
    DimensionMismatch,
    InvalidFilter,
    LockstepError,
    StorageFull,
    StoreUnavailable,
)

_FULL = ("no space left on device", "os error 28", "disk quota exceeded", "out of disk")
_FILTER = ("index required", "bad request", "wrong input", "json path")


def translated(error: BaseException, collection: str, operation: str) -> LockstepError:
    """The error of ours that names the situation."""
    text = str(error)
    lower = text.lower()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(sign in lower for sign in _FULL):
        return storage_full(collection, operation)
    if "vector dimension error" in lower:
        return DimensionMismatch(f"Collection '{collection}' refused {operation}: {text}.")
    if any(sign in lower for sign in _FILTER):
        return InvalidFilter(f"Collection '{collection}' refused {operation}: {text}.")
    if operation in ("open", "create"):
        return damaged(collection, f"does not open: {text}")
    return StoreUnavailable(
        f"The engine failed during {operation} on collection '{collection}': {text}.",
        next_step="Try again; the collection is opened anew if its process has ended.",
    )


def storage_full(collection: str, operation: str) -> StorageFull:
    return StorageFull(
        f"No space is left on the device for {operation} on collection '{collection}'.",
        next_step="Free some space, then try again; what was acknowledged is still there.",
    )


def damaged(collection: str, what: str) -> CollectionDamaged:
    return CollectionDamaged(
        f"Collection '{collection}' {what}.",
        next_step="Rebuild it from the corpus with `lockstep reindex`.",
    )
