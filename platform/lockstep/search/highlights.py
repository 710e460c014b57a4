"""Highlights: the sentences of a passage that answer a query best, and its words in them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple
from unicodedata import category, normalize

import numpy as np

from lockstep.errors import InvalidInput
from lockstep.index.sentences import SENTENCE_END
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.store.port import SparseVector, Vector

MAX_SENTENCES = 10

# Stands for all marks that extend a character: a pattern that lists them is ten times as slow.
_MARK = "\u0301"

# Words, with the apostrophes inside of them that tokenizers keep or cut alike.
_WORD = re.compile(rf"\w+(?:['’]\w+|{_MARK}\w*)*")
# Scripts that put no spaces between words: there, pairs of characters that a query has are marked.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f\uff66-\uff9f]+")
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
        self._unspaced = _pairs(query)
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
        for start, end in _words(text):
            word = text[start:end]
            if _UNSPACED.search(word):
                yield from self._shared(word, start)
            elif found := self._terms_of(word) & self._asked:
                yield (start, end), frozenset(found)

    def _shared(self, run: str, at: int) -> Iterator[tuple[Span, frozenset[object]]]:
        """The longest stretches of a run that are made of pieces of the query."""
        edges = _edges(run)
        characters = _characters(run, edges)
        inside = [False] * len(characters)
        for number, pair in enumerate(pairwise(characters)):
            if pair in self._unspaced:
                inside[number : number + 2] = [True, True]
        for stretch in re.finditer("1+", "".join("01"[mark] for mark in inside)):
            start, end = stretch.span()
            shared = "".join(characters[start:end])
            yield (at + edges[start], at + edges[end]), frozenset({shared})


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


@cache
def _extending() -> frozenset[str]:
    """What readers see as one character with what stands before it. After Unicode's annex 29:
    combining marks, joiners, half-width voicing marks of kana, the vowel AM of Thai and Lao.

    Made at the first text that may hold one: it takes 20 ms, which each engine process would pay.
    """
    places = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    marks = (each for each in map(chr, places) if category(each).startswith("M"))
    return frozenset("\u200c\u200d\uff9e\uff9f\u0e33\u0eb3").union(marks)


def _words(text: str) -> Iterator[Span]:
    if not text.isascii() and not _extending().isdisjoint(text):
        text = "".join(_MARK if character in _extending() else character for character in text)
    return (word.span() for word in _WORD.finditer(text))


def _edges(text: str) -> list[int]:
    """Where the characters that a reader sees begin, and where the last one ends."""
    begins = (place for place, character in enumerate(text) if character not in _extending())
    return sorted({0, *begins, len(text)})


def _characters(text: str, edges: Sequence[int]) -> list[str]:
    """Each in NFKC, so that they are the same in whatever form they were written."""
    return [normalize("NFKC", text[start:end]) for start, end in pairwise(edges)]


def _pairs(query: str) -> frozenset[tuple[str, str]]:
    """Neighbouring characters of a query, where its script puts no spaces between words."""
    if query.isascii():  # no such script
        return frozenset()
    pairs = pairwise(_characters(query, _edges(query)))
    return frozenset(pair for pair in pairs if all(map(_UNSPACED.fullmatch, pair)))


@lru_cache(maxsize=8)
def _terms_of(lexical: Bm25Encoder) -> Callable[[str], frozenset[int]]:
    """The terms of a word; texts repeat their words, so most are looked up."""

    @lru_cache(maxsize=65_536)
    def terms_of(word: str) -> frozenset[int]:
        return frozenset(lexical.encode_query(word).indices.tolist())

    return terms_of
