"""Divided by document: nothing that belongs together stands on two sides."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.data.splits import split


def data(*examples: Example) -> TrainingData:
    return TrainingData(Kind.PAIRS, examples, {"files": []})


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)), max_size=90),
    st.integers(0, 3),
)
def test_no_group_query_or_passage_stands_on_two_sides(
    triples: list[tuple[int, int, int]], seed: int
) -> None:
    examples = [Example((f"Query {q}?", f"passage {p}"), group=f"d{g}") for q, p, g in triples]
    # Enough that stand alone to fill the held-out parts, however the others hang together.
    examples += [Example((f"alone {n}", f"lonely {n}"), group=f"x{n}") for n in range(60)]
    parts = split(data(*examples), dev=0.1, test=0.2, seed=seed)
    sides = [parts.train.examples, parts.dev.examples, parts.test.examples]
    assert sorted(map(repr, examples)) == sorted(repr(one) for side in sides for one in side)
    for part in ("group", "query", "passage"):
        seen = [{getattr(one, part) for one in side} for side in sides]
        assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])


def test_the_order_of_the_examples_changes_nothing() -> None:
    examples = [Example((f"q{n}", f"p{n}"), group=f"d{n // 3}") for n in range(300)]
    shuffled = random.Random(0).sample(examples, len(examples))
    one, other = split(data(*examples), test=0.2), split(data(*shuffled), test=0.2)
    assert set(one.dev.examples) == set(other.dev.examples)
    assert set(one.test.examples) == set(other.test.examples)
    assert set(split(data(*examples), test=0.2, seed=8).dev.examples) != set(one.dev.examples)
    assert (len(one.train), len(one.dev), len(one.test)) == (210, 30, 60)
    assert one.dev.lineage["split"] == {"part": "dev", "dev": 0.1, "test": 0.2, "seed": 7}


def test_queries_that_differ_in_case_and_punctuation_stay_together() -> None:
    examples = [Example((text, f"p{n}")) for n, text in enumerate(["Why?", "why", "WHY !"])]
    with pytest.raises(InvalidInput, match="cannot be divided"):
        split(data(*examples), dev=0.4)


@pytest.mark.parametrize(("dev", "test"), [(-0.1, 0.0), (0.5, 0.5)])
def test_shares_that_leave_nothing_are_refused(dev: float, test: float) -> None:
    with pytest.raises(InvalidInput, match="shares"):
        split(data(Example(("q", "p"))), dev=dev, test=test)
