"""Texts to terms: the engine's tokenizers, stop words and stemmers, with their gaps filled."""

import re
from typing import Any
from unicodedata import decimal, is_normalized, normalize

import numpy as np
from qdrant_edge import Bm25, Bm25Config, DisabledStemmer, StopwordsSet, TokenizerType
from qdrant_edge import SparseVector as EngineVector

from lockstep.errors import InvalidInput
from lockstep.store.port import SparseVector

# No language: words are found in any script, none is dropped and none is stemmed.
NO_LANGUAGE = "none"

# No spaces between words, or not always: finding them takes the engine's multilingual tokenizer.
_MULTILINGUAL = (NO_LANGUAGE, "chinese", "japanese")

# That tokenizer drops numbers, so they are spelled in letters, behind a start no word has.
_NUMBER = re.compile(r"\d+")
_NUMBER_START = "zqx"
_DIGITS = "abcdefghij"

# It takes a text without kana for Chinese and cuts other words. This one is a Japanese stop word.
_JAPANESE_MARK = " の"

# Signs behind a word, not of it: normalised, "Windows™" would be one word, "windowstm".
_TRADE_MARK, _SERVICE_MARK = "™", "℠"


class Analysis:
    """Terms and weights of texts in one language, as the engine computes them.

    With `nfkc`, texts that are one in Unicode's form NFKC have the same terms: é is one character
    or two, and ligatures and full-width letters are the plain ones.
    """

    def __init__(
        self, language: str, k1: float, b: float, avg_length: float, *, nfkc: bool
    ) -> None:
        self._language = language
        self._nfkc = nfkc
        self._engine = Bm25(
            Bm25Config(k=k1, b=b, avg_len=avg_length, **_language_settings(language))
        )

    def passage(self, text: str) -> SparseVector:
        try:
            return _sparse(self._engine.embed_document(self._prepared(text)))
        except UnicodeEncodeError as error:
            raise _not_unicode(text) from error

    def query(self, text: str) -> SparseVector:
        try:
            return _sparse(self._engine.embed_query(self._prepared(text)))
        except UnicodeEncodeError as error:
            raise _not_unicode(text) from error

    def _prepared(self, text: str) -> str:
        if self._nfkc:
            text = _normalised(text)
        if self._language not in _MULTILINGUAL:
            return text
        spelled = _NUMBER.sub(_spelled, text)
        return spelled + _JAPANESE_MARK if self._language == "japanese" else spelled


def _language_settings(language: str) -> dict[str, Any]:
    if language == NO_LANGUAGE:
        return {
            "tokenizer": TokenizerType.Multilingual,
            "stopwords": StopwordsSet(),
            "stemmer": DisabledStemmer(),
        }
    multilingual = language in _MULTILINGUAL
    tokenizer = TokenizerType.Multilingual if multilingual else TokenizerType.Word
    return {"tokenizer": tokenizer, "language": language}


def _normalised(text: str) -> str:
    if is_normalized("NFKC", text):
        return text
    plain = text.replace(_TRADE_MARK, " ").replace(_SERVICE_MARK, " ")
    return normalize("NFKC", plain)


def _spelled(number: re.Match[str]) -> str:
    letters = "".join(_DIGITS[decimal(digit)] for digit in number[0])
    return f" {_NUMBER_START}{letters} "


def _sparse(vector: EngineVector) -> SparseVector:
    return SparseVector(
        np.array(vector.indices, dtype=np.uint32), np.array(vector.values, dtype=np.float32)
    )


def _not_unicode(text: str) -> InvalidInput:
    return InvalidInput(f"A text holds a lone surrogate: {text[:80]!r}; expected Unicode text.")
