"""BM25 as sparse vectors: term weights for passages, plain terms for queries.

The vector store multiplies by the inverse document frequency of its collection, so the dot product
of a query and a passage is their BM25 score. `qdrant_edge.Bm25` encodes for both engines.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.errors import InvalidSetting
from lockstep.lexical.analysis import NO_LANGUAGE, Analysis
from lockstep.store.port import SparseVector

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

# With b = 0 the weight of a term is tf * (k + 1) / (tf + k), which is tf for a k beside which tf
# vanishes. A power of two, so that not a bit of the product is lost.
_COUNTING_K1 = 2.0**100


@dataclass(frozen=True, kw_only=True)
class Bm25Settings:
    """How texts become terms and weights. `avg_length` counts terms, as `lengths` does.

    `nfkc` normalises texts first; index versions of before it keep the terms they were built with.
    Raises InvalidSetting for a language or a number that BM25 cannot work with.
    """

    avg_length: float
    k1: float = 1.2
    b: float = 0.75
    language: str = "english"
    nfkc: bool = True

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
        self._weigher = _analysis(settings, settings.k1, settings.b)
        self._counter = _analysis(settings, _COUNTING_K1, b=0.0)

    def encode_passages(self, texts: Sequence[str]) -> list[SparseVector]:
        """Term weights: term frequency, saturated by k1 and normalised by length."""
        return [self._weigher.passage(text) for text in texts]

    def encode_query(self, text: str) -> SparseVector:
        """The text's terms, each once with weight 1."""
        return self._weigher.query(text)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many terms each text has, without stop words."""
        return [int(self.term_counts(text).values.sum(dtype=np.float64)) for text in texts]

    def term_counts(self, text: str) -> SparseVector:
        """How often each term occurs in the text; exact below 2 ** 24 times."""
        return self._counter.passage(text)


def measure_average_length(texts: Iterable[str], *, language: str = "english") -> float:
    """The mean number of terms in a text: the `avg_length` of their index; 1 if they have none."""
    encoder = Bm25Encoder(Bm25Settings(avg_length=1.0, language=language))
    terms = count = 0
    for text in texts:
        terms += encoder.lengths([text])[0]
        count += 1
    return terms / count if terms else 1.0


def _analysis(settings: Bm25Settings, k1: float, b: float) -> Analysis:
    return Analysis(settings.language, k1, b, settings.avg_length, nfkc=settings.nfkc)


def _check(name: str, value: float, holds: bool, expected: str) -> None:
    if not holds:
        raise InvalidSetting(f"BM25's {name} is {value}; expected a number {expected}.")
