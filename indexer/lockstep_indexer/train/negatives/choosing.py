"""The negatives of one query: what its rankings leave after margins, and a share of each."""

import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lockstep_indexer.train.data.examples import Example
from lockstep_indexer.train.negatives.picking import (
    Counts,
    Scores,
    Similar,
    limit,
    picked,
    quotas,
    ranked,
)
from lockstep_indexer.train.negatives.queries import Query
from lockstep_indexer.train.negatives.settings import Mining, Source

# A reranker reads so many candidates of each source for each negative that is wanted.
_RERANKED_FOR_EACH = 3


class Judge(Protocol):
    """A cross-encoder."""

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """(texts,), higher is better."""


@dataclass
class Chooser:
    """Chooses for one query after the other, and counts what becomes of the candidates."""

    texts: Sequence[str]  # of the passages
    repeated: Set[int]  # places of texts that stand at an earlier place too
    mining: Mining
    judge: Judge | None = None
    counts: Counts = field(default_factory=Counts)
    similar: Similar = field(default_factory=Similar)

    def examples(
        self, query: Query, scores: Mapping[Source, Scores], similarity: Scores, answer: float
    ) -> Iterator[Example]:
        """The query's examples with negatives, the likest first; those with too few are left out.

        `scores` and `similarity` are (passages,); `answer` is the score of the least similar one.
        """
        rankings = self._rankings(query, scores, similarity, answer)
        if self.judge is not None:
            rankings = self._judged(self.judge, query, rankings)
        for example in query.examples:
            turn = self.counts.pairs + self.counts.short
            chosen = picked(rankings, quotas(self.mining, turn), self.mining, turn)
            places = [place for _, place in chosen]
            if self.mining.fill:
                places += self._drawn(query, places, similarity, answer, turn)
            if len(places) < self.mining.negatives:
                self.counts.short += 1
                continue
            self.counts.took(chosen)
            self.counts.filled += len(places) - len(chosen)
            self.similar.add(answer, similarity[places])
            places.sort(key=lambda place: (-similarity[place], place))
            negatives = (self.texts[place] for place in places)
            yield Example((example.query, example.passage, *negatives), group=example.group)

    def _rankings(
        self, query: Query, scores: Mapping[Source, Scores], similarity: Scores, answer: float
    ) -> dict[Source, list[int]]:
        """By source the places that may become negatives, best first."""
        barred = np.array(sorted(query.barred | self.repeated), dtype=np.intp)
        most = limit(answer, self.mining.margin)
        kept: dict[Source, list[int]] = {}
        for source in self.mining.sources:
            # A passage that shares no word with the query is no candidate of BM25.
            floor = 0.0 if source is Source.BM25 else -np.inf
            skip, depth = self.mining.skip, self.mining.depth
            places = ranked(scores[source], barred, skip=skip, depth=depth, floor=floor)
            far = places[similarity[places] <= most]
            self.counts.looked_at += len(places)
            self.counts.too_close += len(places) - len(far)
            kept[source] = far.tolist()
        return kept

    def _judged(
        self, judge: Judge, query: Query, rankings: Mapping[Source, list[int]]
    ) -> dict[Source, list[int]]:
        """The first of each ranking, without those that a reranker takes for answers."""
        at_random = self.mining.pick == "random"
        most_read = self.mining.depth if at_random else _RERANKED_FOR_EACH * self.mining.negatives
        read = {source: places[:most_read] for source, places in rankings.items()}
        places = sorted({place for each in read.values() for place in each})
        texts = [*query.answers, *(self.texts[place] for place in places)]
        scores = judge.score(query.text, texts)
        answers, candidates = np.split(scores, [len(query.answers)])
        most = limit(float(answers.min()), self.mining.reranker_margin)
        out = {place for place, score in zip(places, candidates, strict=True) if score > most}
        self.counts.reranked_out += len(out)
        return {s: [place for place in each if place not in out] for s, each in read.items()}

    def _drawn(
        self, query: Query, chosen: Sequence[int], similarity: Scores, answer: float, turn: int
    ) -> list[int]:
        """Places drawn at random to make up what is missing; the margin holds for them too."""
        missing = self.mining.negatives - len(chosen)
        if not missing:
            return []
        closed = query.barred | self.repeated | set(chosen)
        most = limit(answer, self.mining.margin)
        fit = [
            place for place in np.flatnonzero(similarity <= most).tolist() if place not in closed
        ]
        chance = random.Random(f"fill {self.mining.seed} {turn}")
        return chance.sample(fit, min(missing, len(fit)))
