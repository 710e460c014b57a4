"""Mining: for each pair, passages that look like answers to its query and are none."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json
from lockstep.models.vectors import Vector
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.negatives.lexical import LexicalRanker
from lockstep_indexer.train.negatives.passages import Passages, text_key
from lockstep_indexer.train.negatives.picking import (
    Counts,
    Scores,
    Similar,
    limit,
    picked,
    quotas,
    ranked,
)
from lockstep_indexer.train.negatives.questions import Question, Questions
from lockstep_indexer.train.negatives.settings import Mining, Source
from lockstep_indexer.train.negatives.similarity import TextEncoder

# Scores of a batch of queries with every passage: 64 MB for each source.
_SCORES_AT_ONCE = 1 << 24
_QUERIES_AT_ONCE = 256
# A reranker reads so many candidates of each source for each negative that is wanted.
_RERANKED_FOR_EACH = 3


class Judge(Protocol):
    """A cross-encoder."""

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """(texts,), higher is better."""


@dataclass(frozen=True)
class Listener:
    """Whom to tell how mining gets on."""

    stage: Callable[[str], None] = lambda _: None
    report: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True)
class Mined:
    """Tuples of a query, its passage and its negatives, the likest first; and what it took."""

    data: TrainingData
    counts: Counts
    questions: Questions
    similar: Similar


def mine(
    data: TrainingData,
    questions: Questions,
    passages: Passages,
    encoder: TextEncoder,
    mining: Mining,
    *,
    judge: Judge | None = None,
    lineage: Json | None = None,
    listener: Listener | None = None,
) -> Mined:
    """Find negatives for every pair; the same arguments give the same ones.

    Raises InvalidInput where no pair has enough of them.
    """
    listener = listener or Listener()
    miner = _Miner.of(questions, passages, encoder, mining, judge, listener)
    listener.stage("choosing negatives")
    found = list(miner.examples(listener.report))
    if not found:
        raise InvalidInput(
            f"None of {len(data):,} pairs has {mining.negatives} negatives among the ranks from "
            f"{mining.skip + 1:,} to {mining.depth:,} that keep a margin of {mining.margin:.0%}.",
            next_step="Raise --depth, lower --margin or --negatives, or take --fill.",
        )
    return Mined(
        TrainingData(Kind.HARD_NEGATIVES, found, {**(lineage or {}), "mining": mining.to_json()}),
        miner.counts,
        questions,
        miner.similar,
    )


@dataclass
class _Miner:
    questions: Questions
    texts: Sequence[str]  # of the passages, as negatives are written
    vectors: Vector  # (passages, dim)
    query_vectors: Vector  # (questions, dim)
    answer_vectors: dict[bytes, Vector]
    lexical: LexicalRanker | None
    repeated: set[int]  # places of texts that stand at an earlier place too
    mining: Mining
    judge: Judge | None
    counts: Counts = field(default_factory=Counts)
    similar: Similar = field(default_factory=Similar)

    @classmethod
    def of(
        cls,
        questions: Questions,
        passages: Passages,
        encoder: TextEncoder,
        mining: Mining,
        judge: Judge | None,
        listener: Listener,
    ) -> "_Miner":
        titled = questions.with_titles >= questions.without_titles
        texts = [one.encoded_text if titled else one.text for one in passages.all]
        listener.stage("encoding passages")
        vectors = encoder.passages(texts)
        places: dict[bytes, int] = {}
        for place, text in enumerate(texts):
            places.setdefault(text_key(text), place)
        listener.stage("encoding answers")
        answers = _answer_vectors(questions, places, vectors, encoder)
        listener.stage("encoding queries")
        queries = encoder.queries([one.query for one in questions.all])
        lexical = None
        if Source.BM25 in mining.sources:
            listener.stage("counting words")
            lexical = LexicalRanker(texts, language=mining.language)
        repeated = passages.repeated
        return cls(questions, texts, vectors, queries, answers, lexical, repeated, mining, judge)

    def examples(self, report: Callable[[int, int], None]) -> Iterator[Example]:
        total = len(self.questions)
        size = max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // len(self.texts)))
        for start in range(0, total, size):
            batch = self.questions.all[start : start + size]
            alike = self.query_vectors[start : start + size] @ self.vectors.T  # (batch, passages)
            scores = {Source.MODEL: alike}
            if self.lexical is not None:
                scores[Source.BM25] = self.lexical.scores([one.query for one in batch])
            for row, question in enumerate(batch):
                of_row = {source: scores[source][row] for source in self.mining.sources}
                answer = self._answer_score(start + row, question)
                yield from self._examples_of(question, of_row, alike[row], answer)
            report(start + len(batch), total)

    def _answer_score(self, row: int, question: Question) -> float:
        """Of its answers the least similar one: a negative must lie below all of them."""
        vectors = np.stack([self.answer_vectors[text_key(text)] for text in question.answers])
        return float((vectors @ self.query_vectors[row]).min())

    def _examples_of(
        self, question: Question, scores: dict[Source, Scores], alike: Scores, answer: float
    ) -> Iterator[Example]:
        rankings = self._rankings(question, scores, alike, answer)
        if self.judge is not None:
            rankings = self._judged(self.judge, question, rankings)
        for example in question.examples:
            turn = self.counts.pairs + self.counts.short
            chosen = picked(rankings, quotas(self.mining, turn), self.mining, turn)
            places = [place for _, place in chosen]
            if self.mining.fill:
                places += self._drawn(question, places, alike, answer, turn)
            if len(places) < self.mining.negatives:
                self.counts.short += 1
                continue
            self.counts.took(chosen)
            self.counts.filled += len(places) - len(chosen)
            self.similar.add(answer, alike[places])
            places.sort(key=lambda place: (-alike[place], place))
            negatives = (self.texts[place] for place in places)
            texts = (example.query, example.passage, *negatives)
            yield Example(texts, group=example.group)

    def _rankings(
        self, question: Question, scores: dict[Source, Scores], alike: Scores, answer: float
    ) -> dict[Source, list[int]]:
        """By source the places that may become negatives, best first."""
        barred = np.array(sorted(question.barred | self.repeated), dtype=np.intp)
        most = limit(answer, self.mining.margin)
        kept: dict[Source, list[int]] = {}
        for source, of_source in scores.items():
            # A passage that shares no word with the query is no candidate of BM25.
            floor = 0.0 if source is Source.BM25 else -np.inf
            places = ranked(
                of_source, barred, skip=self.mining.skip, depth=self.mining.depth, floor=floor
            )
            far = places[alike[places] <= most]
            self.counts.looked_at += len(places)
            self.counts.too_close += len(places) - len(far)
            kept[source] = far.tolist()
        return kept

    def _judged(
        self, judge: Judge, question: Question, rankings: dict[Source, list[int]]
    ) -> dict[Source, list[int]]:
        """The first of each ranking, without those that a reranker takes for answers."""
        read = {s: places[: self._read()] for s, places in rankings.items()}
        places = sorted({place for each in read.values() for place in each})
        texts = [*question.answers, *(self.texts[place] for place in places)]
        scores = judge.score(question.query, texts)
        answer = float(scores[: len(question.answers)].min())
        most = limit(answer, self.mining.reranker_margin)
        out = {
            place
            for place, score in zip(places, scores[len(question.answers) :], strict=True)
            if score > most
        }
        self.counts.reranked_out += len(out)
        return {s: [place for place in each if place not in out] for s, each in read.items()}

    def _read(self) -> int:
        if self.mining.pick == "random":
            return self.mining.depth
        return _RERANKED_FOR_EACH * self.mining.negatives

    def _drawn(
        self, question: Question, chosen: Sequence[int], alike: Scores, answer: float, turn: int
    ) -> list[int]:
        """Places drawn at random to make up what is missing; the margin holds for them too."""
        missing = self.mining.negatives - len(chosen)
        if not missing:
            return []
        closed = question.barred | self.repeated | set(chosen)
        most = limit(answer, self.mining.margin)
        fit = [place for place in np.flatnonzero(alike <= most).tolist() if place not in closed]
        chance = random.Random(f"fill {self.mining.seed} {turn}")
        return chance.sample(fit, min(missing, len(fit)))


def _answer_vectors(
    questions: Questions, places: dict[bytes, int], vectors: Vector, encoder: TextEncoder
) -> dict[bytes, Vector]:
    """By text key the vector of each answer: that of the passage of the same text, or its own."""
    texts = {text_key(text): text for one in questions.all for text in one.answers}
    strangers = {key: text for key, text in texts.items() if key not in places}
    encoded = encoder.passages(list(strangers.values()))
    found = dict(zip(strangers, encoded, strict=True))
    return found | {key: vectors[places[key]] for key in texts.keys() - strangers.keys()}
