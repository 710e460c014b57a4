"""Terms, weights and lengths of BM25."""

import math
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import qdrant_edge
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import InvalidInput, InvalidSetting
from lockstep.lexical.bm25 import (
    LANGUAGES,
    Bm25Encoder,
    Bm25Settings,
    measure_average_length,
)

_WORDS = ["wing", "heat", "shock", "slab", "flutter", "drag"]
_COUNTS = st.dictionaries(st.sampled_from(_WORDS), st.integers(1, 10_000), min_size=1)


def _encoder(language: str = "english", **settings: Any) -> Bm25Encoder:
    return Bm25Encoder(Bm25Settings(**{"avg_length": 10.0, **settings}, language=language))


def _text(counts: dict[str, int]) -> str:
    return " ".join(" ".join([word] * count) for word, count in counts.items())


@settings(max_examples=50)
@given(_COUNTS)
def test_lengths_and_counts_are_exact(counts: dict[str, int]) -> None:
    encoder = _encoder()
    assert encoder.lengths([_text(counts)]) == [sum(counts.values())]
    counted = encoder.term_counts(_text(counts))
    assert sorted(counted.values) == sorted(counts.values())


@pytest.mark.parametrize("count", [65_537, 1_000_001])
def test_lengths_are_exact_for_any_text_that_fits_a_model(count: int) -> None:
    assert _encoder().lengths(["wing " * count]) == [count]


@settings(max_examples=50)
@given(
    _COUNTS,
    st.floats(0, 5),
    st.floats(0, 1),
    st.floats(0.5, 1000),
)
def test_weights_follow_the_formula(
    counts: dict[str, int], k1: float, b: float, avg_length: float
) -> None:
    """tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / avg_length)), Robertson's BM25."""
    encoder = _encoder(k1=k1, b=b, avg_length=avg_length)
    (weights,) = encoder.encode_passages([_text(counts)])
    tf = encoder.term_counts(_text(counts))
    assert tf.indices.tolist() == weights.indices.tolist()
    norm = k1 * (1 - b + b * sum(counts.values()) / avg_length)
    expected = tf.values * (k1 + 1) / (tf.values + norm)
    np.testing.assert_allclose(weights.values, expected, rtol=1e-4)


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(LANGUAGES))
def test_queries_and_passages_have_the_same_terms(text: str, language: str) -> None:
    encoder = _encoder(language)
    query, (passage,) = encoder.encode_query(text), encoder.encode_passages([text])
    assert sorted(query.indices.tolist()) == sorted(passage.indices.tolist())
    assert len(set(query.indices.tolist())) == len(query.indices)
    assert (query.values == 1).all()
    assert encoder.lengths([text])[0] >= len(query.indices)


def test_stop_words_alone_give_no_terms() -> None:
    encoder = _encoder()
    assert len(encoder.encode_query("the of and").indices) == 0
    assert [len(vector.indices) for vector in encoder.encode_passages(["", "the", "wing"])] == [
        0,
        0,
        1,
    ]
    assert encoder.lengths(["", "the of", "the wing"]) == [0, 0, 1]
    assert encoder.encode_passages([]) == []


@pytest.mark.parametrize(
    ("language", "text", "same"),
    [
        ("english", "running wings", "runs wing"),
        ("german", "die Häuser", "das Haus"),
        ("french", "les chevaux", "un cheval"),
    ],
)
def test_words_are_stemmed(language: str, text: str, same: str) -> None:
    encoder = _encoder(language)
    assert set(encoder.encode_query(text).indices) == set(encoder.encode_query(same).indices)
    plain = _encoder("none")
    assert set(plain.encode_query(text).indices) != set(plain.encode_query(same).indices)


@pytest.mark.parametrize(
    ("language", "text", "query"),
    [
        ("chinese", "我喜欢机器学习和搜索引擎", "搜索引擎"),
        ("japanese", "私は東京大学で機械学習を研究しています", "機械学習"),
        ("none", "我喜欢机器学习 and Suchmaschinen", "机器学习"),
    ],
)
def test_words_are_found_where_no_space_parts_them(language: str, text: str, query: str) -> None:
    encoder = _encoder(language)
    wanted = set(encoder.encode_query(query).indices.tolist())
    assert wanted
    assert wanted <= set(encoder.encode_query(text).indices.tolist())


@pytest.mark.parametrize("language", ["english", "chinese", "japanese", "none"])
def test_numbers_are_terms(language: str) -> None:
    encoder = _encoder(language)
    (number,) = encoder.encode_query("2015").indices
    (other,) = encoder.encode_query("2016").indices
    assert number != other
    for text in ("wing 2015", "2015 2015", "（2015）"):
        assert number in encoder.encode_query(text).indices
    assert encoder.lengths(["2015 7 2015"]) == [3]


def test_numbers_of_a_chinese_text_are_found_in_any_digits() -> None:
    encoder = _encoder("chinese")
    (number,) = encoder.encode_query("2015").indices
    assert number in encoder.encode_query("2015年世界田徑錦標賽").indices
    assert number in encoder.encode_query("２０１５年").indices


@pytest.mark.parametrize("language", ["english", "german", "chinese", "japanese", "none"])
@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Cafe\u0301", "Café"),
        ("cafe\u0301s", "cafés"),
        ("ＡＢＣ１", "abc1"),
        ("ﬁnance", "finance"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"),
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("30 m²", "30 m2"),
    ],
)
def test_forms_of_the_same_text_have_the_same_terms(text: str, same: str, language: str) -> None:
    encoder = _encoder(language)
    wanted = sorted(encoder.encode_query(same).indices.tolist())
    assert wanted
    assert sorted(encoder.encode_query(text).indices.tolist()) == wanted
    assert sorted(encoder.encode_passages([text])[0].indices.tolist()) == wanted
    assert encoder.lengths([text]) == encoder.lengths([same])


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(LANGUAGES))
def test_canonically_equal_texts_have_the_same_terms(text: str, language: str) -> None:
    encoder = _encoder(language)
    composed, decomposed = encoder.encode_passages([normalize(f, text) for f in ("NFC", "NFD")])
    assert sorted(composed.indices.tolist()) == sorted(decomposed.indices.tolist())


def test_an_accent_is_no_word_of_its_own() -> None:
    encoder = _encoder()
    assert set(encoder.encode_query("cafe").indices).isdisjoint(
        encoder.encode_query("Cafe\u0301").indices
    )


def test_a_stop_word_is_one_in_any_form() -> None:
    encoder = _encoder("french")
    for form in ("NFC", "NFD"):
        assert encoder.lengths([normalize(form, "été même à")]) == [0]


@pytest.mark.parametrize("language", ["english", "none"])
@pytest.mark.parametrize("sign", "™℠")
def test_a_trade_mark_is_no_part_of_its_word(sign: str, language: str) -> None:
    encoder = _encoder(language)
    (word,) = encoder.encode_query("windows").indices
    assert encoder.encode_query(f"Windows{sign} cafe\u0301").indices.tolist().count(word) == 1


def test_without_normalisation_terms_are_as_they_were() -> None:
    plain = _encoder(nfkc=False)
    assert plain.encode_query("Cafe\u0301").indices == plain.encode_query("cafe").indices


def test_the_languages_are_the_engines() -> None:
    engines = {name.lower() for name in dir(qdrant_edge.Language) if name[0].isupper()}
    assert set(LANGUAGES) == engines | {"none"}
    for language in LANGUAGES:
        assert len(_encoder(language).encode_query("aerodynamik 12").indices) == 2


def test_the_engines_defaults_are_ours() -> None:
    config, ours = qdrant_edge.Bm25Config(), Bm25Settings(avg_length=256)
    assert (config.k, config.b, config.avg_len) == pytest.approx((ours.k1, ours.b, ours.avg_length))


def test_an_unknown_language_lists_the_known() -> None:
    with pytest.raises(InvalidSetting, match="no language 'klingon'") as error:
        Bm25Settings(avg_length=1, language="klingon")
    assert "chinese" in error.value.next_step


@pytest.mark.parametrize(
    ("name", "value"),
    [("avg_length", 0), ("avg_length", math.inf), ("k1", -1), ("k1", math.nan), ("b", 1.1)],
)
def test_impossible_numbers(name: str, value: float) -> None:
    fields: dict[str, Any] = {"avg_length": 1.0, name: value}
    with pytest.raises(InvalidSetting, match=f"BM25's {name} is"):
        Bm25Settings(**fields)


def test_a_lone_surrogate() -> None:
    with pytest.raises(InvalidInput, match="lone surrogate"):
        _encoder().encode_query("a\ud800")
    with pytest.raises(InvalidInput, match="lone surrogate"):
        _encoder().encode_passages(["a\ud800"])


def test_the_average_length() -> None:
    assert measure_average_length(["wing heat", "the wing", ""]) == 1.0
    assert measure_average_length(iter(["wing heat shock", "wing"])) == 2.0
    assert measure_average_length(["das Haus", "Häuser"], language="german") == 1.0
    assert measure_average_length([]) == 1.0
    assert measure_average_length(["the"]) == 1.0
