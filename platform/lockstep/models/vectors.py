"""Vectors of length 1, and prefixes of them."""

from decimal import ROUND_FLOOR, Decimal

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DimensionMismatch, EncodingFailed

Vector = NDArray[np.float32]
Scores = NDArray[np.float32]  # (n,), higher is better


def normalised(vectors: Vector) -> Vector:
    """Each row divided by its L2 norm. Raises EncodingFailed where a row has none."""
    failed = unusable_rows(vectors)
    if len(failed):
        raise EncodingFailed(
            f"{len(failed)} of {len(vectors)} vectors hold NaN or infinity, or only zeros."
        )
    # In float64: the squares of large float32 numbers would overflow, those of small ones vanish.
    wide = vectors.astype(np.float64)
    unit: Vector = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return unit


def unusable_rows(vectors: Vector) -> NDArray[np.intp]:
    """The numbers of the rows that no length can be given to."""
    usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    return np.flatnonzero(~usable)


def truncated(vectors: Vector, dims: int) -> Vector:
    """The first `dims` numbers of each row, normalised again.

    Raises DimensionMismatch for more dimensions than there are.
    """
    if not 1 <= dims <= vectors.shape[1]:
        raise DimensionMismatch(
            f"A prefix of {dims} dimensions was asked for; the vectors have {vectors.shape[1]}."
        )
    return normalised(vectors[:, :dims])


def cosines(left: Vector, right: Vector) -> NDArray[np.float64]:
    """The cosine of each pair of rows; NaN where a row is all zeros or not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        a, b = left.astype(np.float64), right.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        result: NDArray[np.float64] = (a * b).sum(axis=1) / np.where(lengths > 0, lengths, np.nan)
    return result


def lower_bound(cosine: float, *, digits: int) -> str:
    """A cosine as words say it that promise at least so much: never rounded up."""
    return str(Decimal(str(float(cosine))).quantize(Decimal(10) ** -digits, ROUND_FLOOR))
