"""Highlights: the sentences of a passage that answer a query best, and its words in them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lockstep.errors import InvalidInput
from lockstep.index.sentences import SENTENCE_END
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.store.port import SparseVector, Vector

MAX_SENTENCES = 10

# Words, with the marks inside of them that tokenizers keep or cut alike.
_WORD = re.compile(r"\w+(?:['’]\w+)*")
# Scripts that put no spaces between words: there, what is shared with the query is marked.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]+")
_SHARED_CHARACTERS = 2
# Of a line that goes on, at most so many spaces.
_INDENT = 16

Span = tuple[int, int]  # [start, end) in characters of the passage's text


@dataclass(frozen=True)
class HighlightChoice:
    """How many sentences of each hit, and what makes them the best.

    By meaning, the model compares each sentence with the query: that costs a forward pass over the
    sentences of all hits.
    """

    sentences: int = 2
    by_meaning: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.sentences <= MAX_SENTENCES:
            raise InvalidInput(
                f"highlight.sentences is {self.sentences}; expected 1 to {MAX_SENTENCES}."
            )


@dataclass(frozen=True)
class Sentence:
    """A stretch of a passage's text; `terms` are the stretches in it that the query asks for."""

    text: str
    start: int
    end: int
    terms: tuple[Span, ...] = ()


class Scored(NamedTuple):
    """A sentence and how well it fits the query; above 0 if at all."""

    sentence: Sentence
    score: float


class Highlighter:
    """Marks the terms that were asked for; `query` is how they were written, if they were.

    `lexical` says which words are the same term.
    """

    def __init__(self, terms: SparseVector, query: str, lexical: Bm25Encoder) -> None:
        self._asked = frozenset(terms.indices.tolist())
        self._unspaced = _grams(query)
        self._terms_of = _terms_of(lexical)

    def spans(self, text: str) -> list[Span]:
        """Where what was asked for begins and ends."""
        return [span for span, _ in self._matches(text)]

    def sentences(self, text: str) -> list[Scored]:
        """Every sentence of a text, scored by how many terms of the query it has."""
        words = list(self._matches(text))
        scored = []
        for start, end in sentence_spans(text):
            within = [(span, terms) for span, terms in words if start <= span[0] < end]
            spans = tuple(span for span, _ in within)
            found = {term for _, terms in within for term in terms}
            scored.append(Scored(Sentence(text[start:end], start, end, spans), len(found)))
        return scored

    def _matches(self, text: str) -> Iterator[tuple[Span, frozenset[object]]]:
        for word in _WORD.finditer(text):
            if _UNSPACED.search(word[0]):
                yield from self._shared(word[0], word.start())
            elif found := self._terms_of(word[0]) & self._asked:
                yield word.span(), frozenset(found)

    def _shared(self, run: str, at: int) -> Iterator[tuple[Span, frozenset[object]]]:
        """The longest stretches of a run that are made of pieces of the query."""
        n = _SHARED_CHARACTERS
        inside = [False] * len(run)
        for start in range(len(run) - n + 1):
            if run[start : start + n] in self._unspaced:
                inside[start : start + n] = [True] * n
        for stretch in re.finditer("1+", "".join("01"[mark] for mark in inside)):
            start, end = stretch.span()
            yield (at + start, at + end), frozenset({run[start:end]})


def best(sentences: Sequence[Scored], count: int) -> list[Sentence]:
    """The best `count` of those that score at all, in the order of the text."""
    scoring = [each for each in sentences if each.score > 0]
    chosen = sorted(scoring, key=lambda each: (-each.score, each.sentence.start))[:count]
    return sorted((sentence for sentence, _ in chosen), key=lambda sentence: sentence.start)


def by_meaning(sentences: Sequence[Scored], query: Vector, vectors: Vector) -> list[Scored]:
    """The sentences scored by cosine; query (dim,), vectors (n, dim), all of length 1."""
    scores: list[float] = (vectors @ query).astype(np.float64).tolist()
    return [
        Scored(sentence, score + 1)  # 0 to 2
        for (sentence, _), score in zip(sentences, scores, strict=True)
    ]


def sentence_spans(text: str) -> list[Span]:
    """Where the sentences of a text lie, without the space around them."""
    ends = [match.end() for match in SENTENCE_END.finditer(text) if not _is_wrapped(match)]
    spans = pairwise([0, *ends, len(text)])
    return [
        (start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))
        for start, end in spans
        if (piece := text[start:end]).strip()
    ]


def _is_wrapped(end: re.Match[str]) -> bool:
    """Whether a line was only broken to fit: the next one goes on in small letters."""
    following = end.string[end.end() : end.end() + _INDENT]
    return end[0] == "\n" and following.lstrip()[:1].islower()


def _grams(query: str) -> frozenset[str]:
    n = _SHARED_CHARACTERS
    runs = _UNSPACED.findall(query)
    return frozenset(run[i : i + n] for run in runs for i in range(len(run) - n + 1))


@lru_cache(maxsize=8)
def _terms_of(lexical: Bm25Encoder) -> Callable[[str], frozenset[int]]:
    """The terms of a word; texts repeat their words, so most are looked up."""

    @lru_cache(maxsize=65_536)
    def terms_of(word: str) -> frozenset[int]:
        return frozenset(lexical.encode_query(word).indices.tolist())

    return terms_of
