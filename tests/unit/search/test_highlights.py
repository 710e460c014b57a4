"""Highlights: sentences, and the words in them that a query asks for."""

from unicodedata import combining, normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import InvalidInput
from lockstep.lexical.bm25 import Bm25Encoder, Bm25Settings
from lockstep.search.highlights import (
    HighlightChoice,
    Highlighter,
    best,
    by_meaning,
    sentence_spans,
)

TEXT = (
    "Rivers run to the sea. A red river is running here!  The bank of Running River Ltd.\n"
    "Nothing else."
)


def lexical(language: str = "english") -> Bm25Encoder:
    return Bm25Encoder(Bm25Settings(avg_length=10.0, language=language))


def highlighter(query: str, encoder: Bm25Encoder) -> Highlighter:
    return Highlighter(encoder.encode_query(query), query, encoder)


def marked(query: str, text: str, language: str = "english") -> list[tuple[str, list[str]]]:
    sentences = highlighter(query, lexical(language)).sentences(text)
    return [
        (sentence.text, [text[start:end] for start, end in sentence.terms])
        for sentence in best(sentences, 2)
    ]


def test_the_best_sentences_come_in_the_order_of_the_text_with_inflected_words_marked() -> None:
    assert marked("red running rivers", TEXT) == [
        ("Rivers run to the sea.", ["Rivers", "run"]),
        ("A red river is running here!", ["red", "river", "running"]),
    ]


def test_stop_words_and_what_is_not_there_mark_nothing() -> None:
    assert marked("the of is", TEXT) == []
    assert marked("ocean", TEXT) == []


def test_a_script_without_spaces_is_marked_where_it_shares_characters() -> None:
    text = "东京是日本的首都。大阪在西边。"
    assert marked("日本首都", text, "chinese") == [("东京是日本的首都。", ["日本", "首都"])]


@pytest.mark.parametrize(
    ("language", "query", "text", "words"),
    [
        ("english", "café", "The Cafe\u0301 opens.", ["Cafe\u0301"]),
        ("english", "cafe\u0301", "The Café opens.", ["Café"]),
        ("english", "naive", "A nai\u0308ve idea, a naive one.", ["naive"]),
        ("english", "naïve", "A nai\u0308ve idea, a naive one.", ["nai\u0308ve"]),
        ("english", "abc1 finance", "ＡＢＣ１ is ﬁnance.", ["ＡＢＣ１", "ﬁnance"]),
        ("english", "ＡＢＣ１ ﬁnance", "ABC1 is finance.", ["ABC1", "finance"]),
        ("english", "windows", "Use Windows™ here.", ["Windows"]),
        ("none", "한국", normalize("NFD", "한국 서울"), [normalize("NFD", "한국")]),
        ("none", "हिन्दी", "यह हिन्दी है।", ["हिन्दी"]),
        ("japanese", "ガイド", "旅行ｶﾞｲﾄﾞです", ["ｶﾞｲﾄﾞ"]),
        ("japanese", "旅行ｶﾞｲﾄﾞ", "旅行ガイドです", ["旅行ガイド"]),
        ("japanese", "がくせい", "か\u3099くせいです", ["か\u3099くせい"]),
    ],
)
def test_words_are_marked_whole_in_any_form(
    language: str, query: str, text: str, words: list[str]
) -> None:
    assert marked(query, text, language) == [(text, words)]


@given(st.text(max_size=20), st.text(max_size=100), st.sampled_from(["NFC", "NFD", "NFKD"]))
def test_no_mark_is_parted_from_its_letter(query: str, text: str, form: str) -> None:
    text = normalize(form, f"{text} {query}")  # type: ignore[arg-type]
    for _, end in highlighter(query, lexical("none")).spans(text):
        assert not combining(text[end : end + 1] or " ")


def test_a_line_that_was_broken_to_fit_goes_on() -> None:
    text = "Causes\nThe red river\n  runs to\nthe sea\n\nit was red\nRivers are long"
    assert [text[start:end] for start, end in sentence_spans(text)] == [
        "Causes",
        "The red river\n  runs to\nthe sea",
        "it was red",
        "Rivers are long",
    ]


def test_by_meaning_the_nearest_sentences_win() -> None:
    sentences = highlighter("ocean", lexical()).sentences(TEXT)
    vectors = np.eye(len(sentences), 4, dtype=np.float32)
    query = np.array([0.1, 0.0, 0.9, 0.2], dtype=np.float32)
    assert [s.text for s in best(by_meaning(sentences, query, vectors), 1)] == [
        sentences[2].sentence.text
    ]


@given(st.text(max_size=200))
def test_sentences_lie_in_the_text_in_order_and_lose_only_space(text: str) -> None:
    spans = sentence_spans(text)
    flat = [edge for span in spans for edge in span]
    assert flat == sorted(flat)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())


@given(st.text(max_size=60), st.text(max_size=200))
def test_what_is_marked_lies_inside_of_its_sentence(query: str, text: str) -> None:
    for sentence, _ in highlighter(query, lexical("none")).sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text
        assert all(sentence.start <= a < b <= sentence.end for a, b in sentence.terms)


@pytest.mark.parametrize("sentences", [0, -1, 11])
def test_the_number_of_sentences_is_bounded(sentences: int) -> None:
    with pytest.raises(InvalidInput, match=r"highlight\.sentences is .*; expected 1 to 10"):
        HighlightChoice(sentences)
