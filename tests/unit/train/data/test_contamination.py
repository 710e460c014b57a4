"""What an evaluation shares with training: found where it matters, and only there."""

import pytest

from lockstep.corpus.documents import Document
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import Contaminated
from lockstep_indexer.train.data.contamination import HeldOut, find_leaks, without_leaks
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData

DISEASES = [
    f"{name} {kind}"
    for name in ("Noonan", "Turner", "Marfan", "Alport", "Barth", "Costello", "Usher", "Kabuki")
    for kind in ("syndrome", "deficiency", "dystrophy", "anemia")
]
TEMPLATES = (
    "What are the symptoms of {} ?",
    "What are the treatments for {} ?",
    "What causes {} ?",
    "Is {} inherited ?",
)


def pairs(names: list[str], where: str) -> list[tuple[str, str]]:
    return [
        (template.format(name), f"{where} on {name}, number {number}: nothing else says that.")
        for name in names
        for number, template in enumerate(TEMPLATES)
    ]


TRAIN, HELD_OUT = pairs(DISEASES[::2], "Notes"), pairs(DISEASES[1::2], "Files")


def data(*examples: tuple[str, str]) -> TrainingData:
    return TrainingData(Kind.PAIRS, [Example(texts) for texts in examples], {"files": []})


def test_questions_from_the_same_templates_are_no_leak() -> None:
    found = find_leaks(data(*TRAIN), HeldOut(HELD_OUT))
    assert found.leaks == []
    assert (found.queries, found.passages) == (64, 64)
    found.require_clean()


@pytest.mark.parametrize(
    "reworded",
    [
        "What are the symptoms of Turner deficiency ?",
        "what are the symptoms of turner deficiency",
        "Turner deficiency: what are the symptoms?",
        "What's a symptom of Turner deficiency?",
        "Please tell me what the symptoms of Turner deficiency are.",
        "What are the symptoms of Turner deficiency exactly?",
    ],
)
def test_a_question_reworded_lightly_is_found_without_its_passage(reworded: str) -> None:
    found = find_leaks(data(*TRAIN, (reworded, "A passage of its own.")), HeldOut(HELD_OUT))
    [leak] = found.leaks
    assert (leak.what, leak.text) == ("query", "What are the symptoms of Turner deficiency ?")
    assert (leak.train_text, leak.examples) == (reworded, (len(TRAIN),))
    assert leak.is_exact is (reworded.lower().startswith("what are the symptoms of turner def")
                             and "exactly" not in reworded)  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        "What are the treatments for Turner deficiency 2 ?",  # a number
        "What causes Williams deficiency ?",  # a name for a name
        "What causes Non-Turner deficiency ?",  # a negation
    ],
)
def test_one_telling_word_makes_another_question(other: str) -> None:
    held_out = [one for one in HELD_OUT if "treatments" in one[0] or "causes" in one[0]]
    assert find_leaks(data(*TRAIN, (other, "A passage.")), HeldOut(held_out)).leaks == []


def test_when_is_not_where() -> None:
    train = data(("Where was the first railway opened?", "In Wales."), ("Is it old?", "Yes."))
    assert find_leaks(train, HeldOut([("When was the first railway opened?", "1807.")])).leaks == []


def test_passages_leak_where_both_sides_call_them_an_answer() -> None:
    long = " ".join(f"word{n}" for n in range(80))
    train = data(*TRAIN, ("something else entirely", long.upper() + "!"))
    found = find_leaks(train, HeldOut([*HELD_OUT, ("an odd question", long)]))
    [leak] = found.leaks
    assert (leak.what, leak.similarity, leak.is_exact) == ("passage", 1.0, True)
    near = data(*TRAIN, ("something else entirely", long.replace("word40", "other")))
    [leak] = find_leaks(near, HeldOut([*HELD_OUT, ("an odd question", long)])).leaks
    assert (leak.what, leak.is_exact) == ("passage", False)
    # The same passage in the corpus of both, and relevant to nothing in the evaluation.
    assert find_leaks(train, HeldOut([*HELD_OUT, ("an odd question", "another")])).leaks == []


def test_much_of_it_stops_a_run_and_little_is_left_out() -> None:
    planted = [(query.lower(), "A passage.") for query, _ in HELD_OUT[:7]]
    with pytest.raises(Contaminated, match=r"repeats 7 of 64 queries and 0 of 64") as caught:
        find_leaks(data(*TRAIN, *planted), HeldOut(HELD_OUT)).require_clean()
    assert "is trained on as 'what are the symptoms of noonan" in str(caught.value)
    little = data(*TRAIN, planted[0])
    found = find_leaks(little, HeldOut(HELD_OUT))
    found.require_clean()
    cleaned = without_leaks(little, found)
    assert [one.texts for one in cleaned.examples] == TRAIN
    assert cleaned.lineage["left_out"] == 1
    assert find_leaks(cleaned, HeldOut(HELD_OUT)).leaks == []


def test_scripts_without_spaces_are_compared_by_their_characters() -> None:
    held_out = [("博物馆原名是什么？", "a"), ("谁是第一任馆长？", "b")]
    found = find_leaks(
        data(("博物馆的原名是什么", "x"), ("收藏品来自哪里", "y")), HeldOut(held_out)
    )
    assert [one.text for one in found.leaks] == ["博物馆原名是什么？"]


def test_judged_queries_are_held_out_with_their_relevant_passages() -> None:
    judged = QuerySet(
        "test", {"q": "what", "r": "who"}, {"q": {"d1": 1, "d2": 0}, "r": {"gone": 1}}
    )
    held_out = HeldOut.of_query_set(judged, lambda ids: {"d1": Document("d1", "Text", "Title")})
    assert held_out.pairs == [("what", "Title\nText"), ("who", "")]
    assert len(find_leaks(data(("no", "Title text")), held_out).leaks) == 1


def test_nothing_to_compare_is_clean() -> None:
    assert find_leaks(data(*TRAIN), HeldOut([])).leaks == []
    assert find_leaks(data(), HeldOut(HELD_OUT)).leaks == []
