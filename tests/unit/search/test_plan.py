"""Depths and branches: pages that agree, and no branch that cannot count."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.search.plan import depths, encodes_query, ranks_terms
from lockstep.search.request import Fusion, Mode, SearchRequest


def request(**fields: object) -> SearchRequest:
    return SearchRequest("red", **fields)  # type: ignore[arg-type]


def test_the_first_pages_share_one_depth() -> None:
    pages = {depths(request(offset=offset, limit=5)) for offset in range(0, 20, 5)}
    assert pages == {(100, 400, 1_600, 6_400, 10_000)}


@given(st.integers(0, 900), st.integers(1, 100), st.booleans())
def test_every_depth_can_fill_the_window(offset: int, limit: int, grouped: bool) -> None:
    asked = request(offset=offset, limit=limit, group_by_document=grouped)
    steps = depths(asked)
    assert steps
    assert steps[0] >= asked.window
    assert list(steps) == sorted(steps)


def test_a_weight_of_zero_leaves_its_branch_out() -> None:
    lexical = request(fusion=Fusion(dense_weight=0))
    assert (encodes_query(lexical), ranks_terms(lexical)) == (False, True)
    dense = request(fusion=Fusion(lexical_weight=0))
    assert (encodes_query(dense), ranks_terms(dense)) == (True, False)


def test_a_mode_of_one_branch_ignores_the_weights() -> None:
    dense = request(mode=Mode.DENSE, fusion=Fusion(dense_weight=0))
    assert (encodes_query(dense), ranks_terms(dense)) == (True, False)
    lexical = request(mode=Mode.LEXICAL, fusion=Fusion(lexical_weight=0))
    assert (encodes_query(lexical), ranks_terms(lexical)) == (False, True)
