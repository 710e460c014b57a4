"""Flat token ids: whatever is cut out, reordered or joined, passages keep their ids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep_indexer.encode.batches import longest_first, packed_end, padded_end, restored
from lockstep_indexer.encode.tokens import Tokens

_passages = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9), max_size=12)


def rows(tokens: Tokens) -> list[list[int]]:
    return [tokens.passage(row).tolist() for row in range(len(tokens))]


@settings(max_examples=30)
@given(_passages)
def test_passages_survive_cutting_and_joining(passages: list[list[int]]) -> None:
    tokens = Tokens.of(passages)
    assert rows(tokens) == passages
    for cut in range(len(passages) + 1):
        parts = [tokens.between(0, cut), tokens.between(cut, len(tokens))]
        assert [rows(part) for part in parts] == [passages[:cut], passages[cut:]]
        assert rows(Tokens.concatenated(parts)) == passages


@settings(max_examples=30)
@given(_passages)
def test_the_order_of_length_can_be_undone(passages: list[list[int]]) -> None:
    tokens = Tokens.of(passages)
    order = longest_first(tokens)
    ordered = tokens.take(order)
    assert list(ordered.lengths) == sorted(map(len, passages), reverse=True)
    assert rows(ordered.take(restored(order))) == passages


@settings(max_examples=30)
@given(_passages, st.integers(1, 30))
def test_batches_hold_every_passage_once_within_the_budget(
    passages: list[list[int]], budget: int
) -> None:
    tokens = Tokens.of(passages)
    ordered = tokens.take(longest_first(tokens))
    for padded in (False, True):
        start = 0
        while start < len(ordered):
            end = (
                padded_end(ordered.lengths, start, budget)
                if padded
                else packed_end(ordered.offsets, start, budget)
            )
            assert start < end <= len(ordered)
            batch = ordered.between(start, end)
            size = batch.longest * len(batch) if padded else len(batch.ids)
            assert size <= budget or len(batch) == 1
            start = end


def test_columns_are_padded_and_masked() -> None:
    ids, mask = Tokens.of([[5, 6, 7], [], [8]]).columns(4, padding=9)
    assert ids.tolist() == [[5, 6, 7, 9], [9, 9, 9, 9], [8, 9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 2, 1, 3], []])
def test_offsets_that_do_not_fit_the_ids_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offset"):
        Tokens(np.zeros(3, np.int32), np.array(offsets, np.int64))


def test_other_number_types_are_refused() -> None:
    with pytest.raises(ValueError, match="int32 and int64"):
        Tokens(np.zeros(3, np.int64), np.array([0, 3], np.int64))
