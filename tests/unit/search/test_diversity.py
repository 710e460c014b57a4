"""Maximal marginal relevance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import InvalidInput
from lockstep.search.diversity import DiversityChoice, maximal_marginal_relevance
from lockstep.store.port import Vector


def unit(rows: list[list[float]]) -> Vector:
    vectors = np.array(rows, dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_a_near_copy_gives_way_to_something_else() -> None:
    vectors = unit([[1, 0], [1, 0.01], [0, 1]])
    assert maximal_marginal_relevance([3.0, 2.9, 1.0], vectors, relevance=0.5) == [0, 2, 1]


def test_relevance_alone_keeps_the_order() -> None:
    vectors = unit([[1, 0], [1, 0.01], [0, 1]])
    assert maximal_marginal_relevance([3.0, 2.9, 1.0], vectors, relevance=1.0) == [0, 1, 2]


@given(st.integers(0, 12), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_everything_comes_once_and_the_best_first(n: int, relevance: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = sorted(random.normal(size=n).tolist(), reverse=True)
    vectors = unit(random.normal(size=(n, 4)).tolist() or [[1.0]])[:n]
    order = maximal_marginal_relevance(scores, vectors, relevance=relevance)
    assert sorted(order) == list(range(n))
    assert order[:1] == [0][:n]


@pytest.mark.parametrize(
    ("relevance", "candidates"), [(-0.1, 5), (1.1, 5), (float("nan"), 5), (0.5, 0), (0.5, 201)]
)
def test_choices_out_of_range_are_refused(relevance: float, candidates: int) -> None:
    with pytest.raises(InvalidInput, match=r"diversity\.(relevance|candidates) is .*; expected"):
        DiversityChoice(relevance, candidates)
