"""Steps and branches: as deep as it takes, and no branch that cannot count."""

import numpy as np
import pytest

from lockstep.search.plan import DENSE, Plan, steps
from lockstep.search.request import MAX_WINDOW, Fusion, Mode, SearchRequest
from lockstep.store.port import DenseBranch, Prefilter, SparseVector


def request(**fields: object) -> SearchRequest:
    return SearchRequest("red", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("grouped", [True, False])
def test_the_steps_reach_as_far_as_a_search_may_ask(grouped: bool) -> None:
    depths, reaches = zip(*steps(request(group_by_document=grouped)), strict=True)
    assert list(depths) == sorted(depths)
    assert list(reaches) == sorted(reaches)
    assert reaches[-1] >= MAX_WINDOW


def test_a_weight_of_zero_leaves_its_branch_out() -> None:
    lexical = request(fusion=Fusion(dense_weight=0))
    assert (lexical.ranks_vectors, lexical.ranks_terms) == (False, True)
    dense = request(fusion=Fusion(lexical_weight=0))
    assert (dense.ranks_vectors, dense.ranks_terms) == (True, False)


def test_a_mode_of_one_branch_ignores_the_weights() -> None:
    dense = request(mode=Mode.DENSE, fusion=Fusion(dense_weight=0))
    assert (dense.ranks_vectors, dense.ranks_terms) == (True, False)
    lexical = request(mode=Mode.LEXICAL, fusion=Fusion(lexical_weight=0))
    assert (lexical.ranks_vectors, lexical.ranks_terms) == (False, True)


def test_a_deeper_step_rescores_as_many_as_it_looks_at() -> None:
    vector, no_terms = (
        np.ones(8, np.float32),
        SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32)),
    )
    plan = Plan(vector, Prefilter(vector[:4], candidates=150), no_terms, filter=None)
    for depth, candidates in ((100, 150), (400, 400)):
        branches = plan.branches(depth)
        assert list(branches) == [DENSE]  # no word to look for
        dense = branches[DENSE]
        assert isinstance(dense, DenseBranch)
        assert dense.prefilter is not None
        assert (dense.limit, dense.prefilter.candidates) == (depth, candidates)
