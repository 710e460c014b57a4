from pathlib import Path

import numpy as np
import pytest

from lockstep.testing import tiny_model
from lockstep_indexer.train.comparison import compared
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.holdout import Measured, retrieval_test
from lockstep_indexer.train.loading import load_trainable
from lockstep_indexer.train.trainer import QUALITY, Evaluating

_JUDGED = TrainingData(
    Kind.QRELS,
    [
        Example(("red", "a red stone"), score=1.0),
        Example(("red", "a red cloud"), score=2.0),
        Example(("red", "a grey cat"), score=0.0),
        Example(("blue", "a blue river"), score=1.0),
    ],
    {},
)


def test_judgments_of_one_query_are_one_query() -> None:
    test = retrieval_test(_JUDGED, ["another", "a red stone"], limit=10, seed=1)

    assert sorted(test.queries) == ["blue", "red"]
    found = dict(zip(test.queries, test.relevant, strict=True))["red"]
    assert {test.passages[place]: grade for place, grade in found.items()} == {
        "a red stone": 1,
        "a red cloud": 2,
    }
    assert "a grey cat" in test.passages
    assert sorted(test.passages) == sorted(set(test.passages))


def test_graded_relevance_counts() -> None:
    """nDCG by hand: gains 1 and 2 at ranks 1 and 2, against 2 and 1."""
    test = retrieval_test(_JUDGED, [], limit=10, seed=1)
    scores = np.zeros((2, len(test.passages)), dtype=np.float32)
    red = test.queries.index("red")
    scores[red, test.passages.index("a red stone")] = 0.9
    scores[red, test.passages.index("a red cloud")] = 0.8
    scores[1 - red, test.passages.index("a grey cat")] = 0.9
    scores[1 - red, test.passages.index("a blue river")] = 0.8

    values = test._ndcg(scores)

    second = 1 / np.log2(3)
    assert values[red] == pytest.approx((1 + 2 * second) / (2 + second))
    assert values[1 - red] == pytest.approx(second)


def test_fewer_passages_hold_the_same_answers() -> None:
    test = retrieval_test(_JUDGED, [f"text {n}" for n in range(20)], limit=20, seed=1)
    first, rest = test.halves(1)

    small = first.within(5)

    assert (len(first), len(rest), len(small.passages)) == (1, 1, 5)
    texts = {test.passages[place]: grade for place, grade in first.relevant[0].items()}
    assert {small.passages[place]: grade for place, grade in small.relevant[0].items()} == texts


def test_what_may_be_chance_is_not_called_better() -> None:
    base = [Measured(32, np.zeros(30))]
    few = np.zeros(30)
    few[:2] = 0.5
    assert not compared(base, [Measured(32, few)], 100).is_better
    assert compared(base, [Measured(32, np.full(30, 0.5))], 100).is_better
    assert "worse" in compared([Measured(32, np.ones(30))], base, 100).verdict


def test_the_best_step_is_chosen_by_the_longest_and_the_shortest_length(tmp_path: Path) -> None:
    model = load_trainable(tiny_model(tmp_path / "model"), device="cpu").eval()
    test = retrieval_test(_JUDGED, [f"stone number {n}" for n in range(30)], limit=30, seed=1)
    full, short = (one.values.mean() for one in test.measure(model, (32, 2)))
    assert full != short
    assert Evaluating(test, (32, 8, 2))(model)[QUALITY] == pytest.approx((full + short) / 2)
    assert Evaluating(test, ())(model)[QUALITY] == pytest.approx(full)
