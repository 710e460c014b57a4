"""BM25 as sparse vectors: term weights for passages, plain terms for queries.

The vector store multiplies by the inverse document frequency of its collection, so the dot product
of a query and a passage is their BM25 score. `qdrant_edge.Bm25` encodes for both engines.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from qdrant_edge import Bm25, Bm25Config, DisabledStemmer, StopwordsSet, TokenizerType
from qdrant_edge import SparseVector as EngineVector

from lockstep.errors import InvalidInput, InvalidSetting
from lockstep.store.port import SparseVector

# No language: words are found in any script, and kept as they are.
NO_LANGUAGE = "none"

# Words are not separated by spaces, so finding them takes the engine's multilingual tokenizer.
_UNSPACED = ("chinese", "japanese")

# The names that the engine knows. It offers no list of them; a test compares.
LANGUAGES = (
    NO_LANGUAGE,
    "arabic",
    "azerbaijani",
    "basque",
    "bengali",
    "catalan",
    "chinese",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hebrew",
    "hinglish",
    "hungarian",
    "indonesian",
    "italian",
    "japanese",
    "kazakh",
    "nepali",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "slovene",
    "spanish",
    "swedish",
    "tajik",
    "turkish",
)

# With b = 0 the weight of a term is tf * (k + 1) / (tf + k), which tends to tf as k grows.
_COUNTING_K1 = 1e12


@dataclass(frozen=True, kw_only=True)
class Bm25Settings:
    """How texts become terms and weights. `avg_length` counts terms, as `lengths` does.

    Raises InvalidSetting for a language or a number that BM25 cannot work with.
    """

    avg_length: float
    k1: float = 1.2
    b: float = 0.75
    language: str = "english"

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise InvalidSetting(
                f"BM25 has no language '{self.language}'.",
                next_step=f"Choose one of: {', '.join(LANGUAGES)}.",
            )
        _check("avg_length", self.avg_length, 0 < self.avg_length < math.inf, "above 0")
        _check("k1", self.k1, 0 <= self.k1 < math.inf, "0 or more")
        _check("b", self.b, 0 <= self.b <= 1, "from 0 to 1")


class Bm25Encoder:
    """Turns texts into sparse vectors; a text without terms gives an empty one.

    The engine holds the interpreter's lock while it encodes. Raises InvalidInput for text that is
    not Unicode.
    """

    def __init__(self, settings: Bm25Settings) -> None:
        self.settings = settings
        self._weigher = _engine(settings.language, settings.k1, settings.b, settings.avg_length)
        self._counter = _engine(settings.language, _COUNTING_K1, 0.0, settings.avg_length)

    def encode_passages(self, texts: Sequence[str]) -> list[SparseVector]:
        """Term weights: term frequency, saturated by k1 and normalised by length."""
        return [_embed(self._weigher, text) for text in texts]

    def encode_query(self, text: str) -> SparseVector:
        """The text's terms, each once with weight 1."""
        try:
            return _sparse(self._weigher.embed_query(text))
        except UnicodeEncodeError as error:
            raise _not_unicode(text) from error

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many terms each text has, without stop words."""
        return [int(self.term_counts(text).values.sum(dtype=np.float64)) for text in texts]

    def term_counts(self, text: str) -> SparseVector:
        """How often each term occurs in the text; exact up to two million times."""
        counted = _embed(self._counter, text)
        return SparseVector(counted.indices, np.rint(counted.values))


def measure_average_length(texts: Iterable[str], *, language: str = "english") -> float:
    """The mean number of terms in a text: the `avg_length` of their index; 1 if they have none."""
    encoder = Bm25Encoder(Bm25Settings(avg_length=1.0, language=language))
    terms = count = 0
    for text in texts:
        terms += encoder.lengths([text])[0]
        count += 1
    return terms / count if terms else 1.0


def _check(name: str, value: float, holds: bool, expected: str) -> None:
    if not holds:
        raise InvalidSetting(f"BM25's {name} is {value}; expected a number {expected}.")


def _engine(language: str, k1: float, b: float, avg_length: float) -> Bm25:
    if language == NO_LANGUAGE:
        return Bm25(
            Bm25Config(
                k=k1,
                b=b,
                avg_len=avg_length,
                tokenizer=TokenizerType.Multilingual,
                stopwords=StopwordsSet(),
                stemmer=DisabledStemmer(),
            )
        )
    unspaced = language in _UNSPACED
    tokenizer = TokenizerType.Multilingual if unspaced else TokenizerType.Word
    return Bm25(Bm25Config(k=k1, b=b, avg_len=avg_length, tokenizer=tokenizer, language=language))


def _embed(engine: Bm25, text: str) -> SparseVector:
    try:
        return _sparse(engine.embed_document(text))
    except UnicodeEncodeError as error:
        raise _not_unicode(text) from error


def _sparse(vector: EngineVector) -> SparseVector:
    return SparseVector(
        np.array(vector.indices, dtype=np.uint32), np.array(vector.values, dtype=np.float32)
    )


def _not_unicode(text: str) -> InvalidInput:
    return InvalidInput(f"A text holds a lone surrogate: {text[:80]!r}; expected Unicode text.")
