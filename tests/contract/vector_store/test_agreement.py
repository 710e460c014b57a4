"""Congruence: the same operations on every engine end in the same points and rankings."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from points import SCHEMA, SHORT, field, make_points, point_id, unit
from qdrant_stand_in import StandIn
from vector_stores import ENGINES, fresh_name, open_store, tidied

from lockstep.store.port import Branch, DenseBranch, Prefilter, SparseBranch, VectorStore


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[list[VectorStore]]:
    with ExitStack() as stack:
        stores = [open_store(each, tmp_path_factory.mktemp(each), stand_in) for each in ENGINES]
        for store in stores:
            stack.callback(store.close)
            stack.enter_context(tidied(store))
        yield stores


numbers = st.integers(0, 11)
operations = st.one_of(
    st.tuples(st.just("upsert"), numbers, st.integers(1, 6)),
    st.tuples(st.just("delete"), numbers, st.integers(0, 3)),
    st.tuples(st.just("optimize"), st.just(0), st.just(0)),
)


@settings(max_examples=15)
@given(script=st.lists(operations, min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_the_same_operations_give_the_same_rankings(
    pair: list[VectorStore], script: list[tuple[str, int, int]], seed: int
) -> None:
    """Congruence: every engine ends with the same points and ranks them the same."""
    name = fresh_name()
    for store in pair:
        store.create(name, SCHEMA, {})
        for step, (operation, start, size) in enumerate(script):
            run(store, name, operation, start, size, seed=seed + step)
    query = make_points(range(1), seed=seed + 99)
    short = Prefilter(unit(query.dense[0, :SHORT]), 4)
    branches: list[Branch] = [
        DenseBranch(query.dense[0], 8),
        DenseBranch(query.dense[0], 8, prefilter=short),
    ]
    # The real engine counts deleted points in its document frequencies, the in-memory one does not.
    if all(operation == "upsert" for operation, _, _ in script):
        branches.append(SparseBranch(query.bm25[0], 8))
    first, *others = [
        (store.count(name), store.scroll(name).records, store.search(name, branches))
        for store in pair
    ]
    for other in others:
        assert other[:2] == first[:2]
        for mine, theirs in zip(first[2], other[2], strict=True):
            assert [c.id for c in mine] == [c.id for c in theirs]
            assert [c.score for c in mine] == pytest.approx([c.score for c in theirs], abs=1e-4)
    for store in pair:
        store.drop(name)


def run(store: VectorStore, name: str, operation: str, start: int, size: int, *, seed: int) -> None:
    if operation == "upsert":
        store.upsert(name, make_points(range(start, start + size), seed=seed))
    elif operation == "delete":
        kept = [point_id(number) for number in range(size)]
        match = field("document_id", match={"any": [f"d{start}", f"d{start + 1}", "d0"]})
        store.delete(name, {"must": [match], "must_not": [{"has_id": kept}]})
    else:
        store.optimize(name)
