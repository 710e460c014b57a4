"""What is checked of points and branches before any engine sees them.

The embedded engine stores NaN without a word, and a malformed sparse vector makes it panic at
every later load, so nothing is left to it.
"""

import json
from collections.abc import Iterable, Sequence
from uuid import UUID

import numpy as np

from lockstep.errors import (
    DimensionMismatch,
    EncodingFailed,
    InvalidDocument,
    InvalidInput,
    SearchUnsupported,
)
from lockstep.store.payload_indexes import COUNTED_TYPES
from lockstep.store.port import (
    DENSE,
    LATE,
    PREFILTER,
    Branch,
    CollectionSchema,
    DenseBranch,
    FacetCount,
    Json,
    LateBranch,
    Points,
    Vector,
)

# Fetched beyond a branch's limit, so that equal scores around the cut are ordered by id, not by
# where the engine happened to store them.
TIE_MARGIN = 16


def check_points(collection: str, schema: CollectionSchema, points: Points) -> None:
    """Raise DimensionMismatch or InvalidInput where the points do not fit the collection."""
    _check_columns(collection, DENSE, points.dense, schema.dense_dim)
    if (points.prefilter is None) != (schema.prefilter_dim is None):
        raise DimensionMismatch(
            f"Collection '{collection}' has {_prefilter(schema)}, the points have "
            f"{'none' if points.prefilter is None else 'one'}."
        )
    if points.prefilter is not None and schema.prefilter_dim is not None:
        _check_columns(collection, PREFILTER, points.prefilter, schema.prefilter_dim)
    _check_late(collection, schema, points)
    for point_id in points.ids:
        canonical_id(point_id)


def check_branches(collection: str, schema: CollectionSchema, branches: Sequence[Branch]) -> None:
    """Raise where a branch cannot be asked of the collection."""
    for branch in branches:
        if isinstance(branch, LateBranch):
            _check_late_query(collection, schema, branch)
        if not isinstance(branch, DenseBranch):
            continue
        _check_query(collection, branch.using, branch.vector, _dim(collection, schema, branch))
        if branch.prefilter is not None:
            dim = _prefilter_dim(collection, schema)
            _check_query(collection, PREFILTER, branch.prefilter.vector, dim)


def check_facet(collection: str, schema: CollectionSchema, field: str) -> None:
    """Raise SearchUnsupported where the values of a field cannot be counted."""
    kind = schema.payload_indexes.get(field)
    if kind not in COUNTED_TYPES:
        has = f"an index of type {kind}" if kind else "no payload index"
        raise SearchUnsupported(
            f"The values of '{field}' cannot be counted: collection '{collection}' has {has} of "
            f"it; expected one of type {', '.join(sorted(COUNTED_TYPES))}."
        )


def canonical_id(point_id: str) -> str:
    """The point id as every engine writes it; raises InvalidInput where it is not a UUID."""
    try:
        return str(UUID(point_id))
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidInput(f"Point id {point_id!r} is not a UUID.") from error


def payloads_as_json(payloads: Sequence[Json]) -> str:
    """One JSON text of all payloads; raises InvalidDocument where one has no form in JSON."""
    try:
        return json.dumps(payloads, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocument(f"A payload cannot be written as JSON: {error}.") from error


def by_count(counts: Sequence[FacetCount]) -> list[FacetCount]:
    """The order of the port; the local client may mix types, which do not compare."""
    return sorted(counts, key=lambda each: (-each.count, type(each.value).__name__, each.value))


def share_by_id(scored: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Values of a function by id, without what rounding put outside of 0 to 1."""
    return {point_id: min(1.0, max(0.0, value)) for point_id, value in scored}


def _check_columns(collection: str, name: str, matrix: Vector, expected: int) -> None:
    if matrix.ndim != 2 or matrix.shape[1] != expected:
        raise DimensionMismatch(
            f"Collection '{collection}' takes {name} vectors of {expected} dimensions; "
            f"the points have a matrix of shape {matrix.shape}.",
            next_step="Use the model version that the index was built by, or re-index.",
        )


def _check_query(collection: str, name: str, vector: Vector, expected: int) -> None:
    if vector.shape != (expected,):
        raise DimensionMismatch(
            f"Collection '{collection}' takes {name} queries of {expected} dimensions; "
            f"the query has shape {vector.shape}.",
            next_step="Use the model version that the index was built by, or re-index.",
        )
    if not np.isfinite(vector).all():
        raise EncodingFailed(f"The {name} query vector holds NaN or infinity.")


def _check_late(collection: str, schema: CollectionSchema, points: Points) -> None:
    if (points.late is None) != (schema.late_dim is None):
        raise DimensionMismatch(
            f"Collection '{collection}' has {'no' if schema.late_dim is None else 'a'} place for "
            f"the vectors of tokens, the points have {'none' if points.late is None else 'some'}."
        )
    for matrix in points.late or ():
        if schema.late_dim is not None:
            _check_columns(collection, LATE, matrix, schema.late_dim)
        if not len(matrix):  # the engines refuse the whole batch, and do not say why
            raise EncodingFailed("A passage has no vectors of tokens; expected one at least.")


def _check_late_query(collection: str, schema: CollectionSchema, branch: LateBranch) -> None:
    if schema.late_dim is None:
        raise SearchUnsupported(f"Collection '{collection}' has no vectors of tokens.")
    _check_columns(collection, LATE, branch.vectors, schema.late_dim)
    if not len(branch.vectors) or not np.isfinite(branch.vectors).all():
        raise EncodingFailed("The query has no vectors of tokens, or NaN or infinity in them.")


def _dim(collection: str, schema: CollectionSchema, branch: DenseBranch) -> int:
    if branch.using == DENSE:
        return schema.dense_dim
    if branch.using == PREFILTER:
        return _prefilter_dim(collection, schema)
    raise SearchUnsupported(
        f"Collection '{collection}' has no vector named '{branch.using}'; "
        f"expected '{DENSE}' or '{PREFILTER}'."
    )


def _prefilter_dim(collection: str, schema: CollectionSchema) -> int:
    if schema.prefilter_dim is None:
        raise SearchUnsupported(
            f"Collection '{collection}' was built without a prefilter vector.",
            next_step="Search without a prefilter, or re-index with one.",
        )
    return schema.prefilter_dim


def _prefilter(schema: CollectionSchema) -> str:
    if schema.prefilter_dim is None:
        return "no prefilter vector"
    return f"a prefilter vector of {schema.prefilter_dim} dimensions"
