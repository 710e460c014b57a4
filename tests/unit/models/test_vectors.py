"""Normalising and truncating, for whatever numbers a model gives."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lockstep.errors import DimensionMismatch, EncodingFailed
from lockstep.models.vectors import Vector, lower_bound, normalised, truncated, unusable_rows

_NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
_MATRICES = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=_NUMBERS)


@given(_MATRICES)
def test_rows_have_length_one_and_keep_their_direction(vectors: Vector) -> None:
    assume(vectors.any(axis=1).all())
    unit = normalised(vectors)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    wide = vectors.astype(np.float64)
    cosines = (unit * (wide / np.abs(wide).max(axis=1, keepdims=True))).sum(axis=1)
    assert (cosines > 0).all()


@given(_MATRICES, st.data())
def test_a_prefix_of_a_unit_vector_is_that_of_the_vector(
    vectors: Vector, data: st.DataObject
) -> None:
    dims = data.draw(st.integers(1, vectors.shape[1]))
    vectors = vectors[np.abs(vectors[:, 0]) > 1e-3 * np.abs(vectors).max(axis=1)]
    short = truncated(vectors, dims)
    assert short.shape == (len(vectors), dims)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(truncated(normalised(vectors), dims), short, atol=1e-4)


@given(_MATRICES, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_one_bad_number_spoils_its_row_only(
    vectors: Vector, bad: float, data: st.DataObject
) -> None:
    vectors = np.where(vectors == 0, np.float32(1), vectors)
    row = data.draw(st.integers(0, len(vectors) - 1))
    vectors[row, data.draw(st.integers(0, vectors.shape[1] - 1))] = bad
    assert unusable_rows(vectors).tolist() == [row]
    with pytest.raises(EncodingFailed, match=f"1 of {len(vectors)} vectors"):
        normalised(vectors)


def test_a_vector_of_zeros_has_no_direction() -> None:
    with pytest.raises(EncodingFailed):
        truncated(np.array([[0, 0, 1]], dtype=np.float32), 2)


def test_huge_and_tiny_numbers_keep_their_direction() -> None:
    for scale in (5e37, 1e-38):
        vectors = np.array([[3 * scale, 4 * scale]], dtype=np.float32)
        np.testing.assert_allclose(normalised(vectors), [[0.6, 0.8]], atol=1e-6)


@pytest.mark.parametrize("dims", [0, -1, 4])
def test_a_prefix_longer_than_the_vector_is_refused(dims: int) -> None:
    with pytest.raises(DimensionMismatch, match=f"{dims} dimensions.* have 3"):
        truncated(np.ones((1, 3), dtype=np.float32), dims)


@pytest.mark.parametrize(
    ("cosine", "said"), [(0.999976, "0.9999"), (0.9999, "0.9999"), (1.0, "1.0000"), (-1, "-1.0000")]
)
def test_a_bound_that_is_said_holds(cosine: float, said: str) -> None:
    assert lower_bound(cosine, digits=4) == said


@given(st.floats(-1, 1), st.integers(1, 8))
def test_no_bound_is_above_what_it_bounds(cosine: float, digits: int) -> None:
    assert cosine - 10**-digits <= float(lower_bound(cosine, digits=digits)) <= cosine
