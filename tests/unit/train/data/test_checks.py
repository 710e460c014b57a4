"""What is said of a set before a model is trained on it."""

import pytest

from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.checks import check, distinct
from lockstep_indexer.train.data.examples import Entailment, Example, Kind, TrainingData


def data(count: int, *more: Example) -> TrainingData:
    examples = [Example((f"query {n}", f"passage {n} of some words")) for n in range(count)]
    return TrainingData(Kind.PAIRS, [*examples, *more], {"files": [], "notes": ["Read."]})


def test_few_pairs_are_warned_of_with_what_more_would_bring() -> None:
    report = check(data(499))
    [warning] = report.warnings
    assert "499 different examples are few" in warning
    assert "1,000" in warning
    assert "5,000" in warning
    assert report.notes == ("Read.",)
    assert check(data(500)).warnings == ()


def test_twelve_pairs_are_refused_with_reasons() -> None:
    with pytest.raises(
        InvalidInput, match=r"12 different examples; expected 32 at least\. The other"
    ):
        check(data(12))
    assert check(data(12), minimum=2).examples == 12


def test_duplicates_are_counted_and_left_out() -> None:
    doubled = data(600, Example(("query 1", "passage 1 of some words ")))
    report = check(doubled)
    assert (report.examples, report.duplicates, report.distinct) == (601, 1, 600)
    assert report.warnings == ("1 examples repeat an earlier one and are left out.",)
    kept = distinct(doubled)
    assert len(kept) == 600
    assert kept.lineage["duplicates_left_out"] == 1
    assert distinct(kept) is kept


@pytest.mark.parametrize(
    ("examples", "what"),
    [
        ([("q", "p")] * 40, "one example"),
        ([("q", f"p{n}") for n in range(40)], "one query"),
        ([(f"q{n}", "p") for n in range(40)], "one passage"),
    ],
)
def test_sets_of_which_no_batch_can_be_formed_are_refused(
    examples: list[tuple[str, str]], what: str
) -> None:
    with pytest.raises(InvalidInput, match=f"repeat {what}: no batch can be formed"):
        check(TrainingData(Kind.PAIRS, [Example(texts) for texts in examples], {}))


def test_the_report_tells_lengths_labels_and_what_is_repeated() -> None:
    labelled = [Example((f"a {n}", "b c d"), label=Entailment.NEUTRAL) for n in range(600)]
    report = check(TrainingData(Kind.NLI, labelled, {}))
    assert report.labels == {"neutral": 600}
    assert (report.query_words.mean, report.passage_words.longest) == (2.0, 3)
    assert report.warnings == ("All examples have the same label: there is nothing to tell apart.",)
    often = check(data(600, *(Example((f"other {n}", "no answer found")) for n in range(400))))
    assert "One passage stands in 400 of 1,000 examples" in often.warnings[0]
    assert often.to_json()["passage_words"]["longest"] == 5
