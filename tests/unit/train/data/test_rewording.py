"""Which differences tell two questions apart."""

import pytest

from lockstep_indexer.train.data.likeness import words
from lockstep_indexer.train.data.rewording import Difference, Rewording

JUDGE = Rewording(frozenset({"symptoms", "treatments", "syndrome", "located"}))
ASKED = "Which symptoms has the syndrome of Marfan in young patients?"


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ("in young patients, WHICH symptoms has the Marfan syndrome", Difference.NONE),
        ("Which symptom has the syndrome of Marfan in younger patients?", Difference.NONE),
        ("Which signs has the syndrome of Marfan in young patients?", Difference.SLIGHT),
        ("Which symptoms exactly has the syndrome of Marfan in young patients?", Difference.SLIGHT),
        ("Which treatments has the syndrome of Marfan in young patients?", Difference.TELLING),
        ("Which symptoms has the syndrome of Turner in young patients?", Difference.TELLING),
        ("Which symptoms has the syndrome of Marfan 2 in young patients?", Difference.TELLING),
        ("Which symptoms has type C of the syndrome of Marfan?", Difference.TELLING),
        ("Which symptoms has no syndrome of Marfan in young patients?", Difference.TELLING),
        ("What has the syndrome of Marfan in young patients?", Difference.TELLING),
    ],
)
def test_what_two_questions_do_not_share_decides(other: str, difference: Difference) -> None:
    assert JUDGE.difference(words(ASKED), words(other)) is difference
    assert JUDGE.difference(words(other), words(ASKED)) is difference


def test_a_word_is_frequent_in_the_evaluation_or_in_much_of_training() -> None:
    queries = [["what", f"name{n}"] for n in range(100)]
    training = [["exactly" if n < 20 else "tell", f"other{n}"] for n in range(500)]
    assert Rewording.of(queries, training).frequent == {"what", "tell"}
