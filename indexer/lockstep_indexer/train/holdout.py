"""Held-out queries: what a model finds for them, before and after it was trained."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lockstep.gates.statistics import Values
from lockstep.models.manifest import canonical_json
from lockstep.models.vectors import Vector, truncated
from lockstep_indexer.train.data.examples import Entailment, Kind, TrainingData
from lockstep_indexer.train.distillation import encoded

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEPTH = 100
# Scored pairs at or above this are taken for a query and an answer.
ALIKE = 0.8


@dataclass(frozen=True)
class Measured:
    """nDCG@10 of each query, (queries,), by the first `dims` numbers of the vectors."""

    dims: int
    values: Values


@dataclass(frozen=True)
class RetrievalTest:
    """Queries, the passages to find, and others to tell them from.

    `relevant` gives, for each query, the places of its passages and their grades.
    """

    queries: tuple[str, ...]
    passages: tuple[str, ...]
    relevant: tuple[dict[int, int], ...]
    query_prompt: str = ""
    document_prompt: str = ""

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides what is measured."""
        fields = [
            self.queries,
            self.passages,
            [sorted(each.items()) for each in self.relevant],
            self.query_prompt,
            self.document_prompt,
        ]
        return hashlib.sha256(canonical_json(fields).encode()).hexdigest()

    def measure(
        self, model: "SentenceTransformer", dims: Sequence[int] | None = None
    ) -> list[Measured]:
        """Search all passages exactly, at each length; at the full one if none is named."""
        queries = encoded(model, self.queries, self.query_prompt)
        passages = encoded(model, self.passages, self.document_prompt)
        return [
            Measured(length, self._ndcg(_scores(queries, passages, length)))
            for length in dims or (queries.shape[1],)
        ]

    def halves(self, first: int) -> tuple["RetrievalTest", "RetrievalTest"]:
        """The first few queries, and the others; all passages for both."""
        return (
            replace(self, queries=self.queries[:first], relevant=self.relevant[:first]),
            replace(self, queries=self.queries[first:], relevant=self.relevant[first:]),
        )

    def first(self, count: int) -> "RetrievalTest":
        return self.halves(count)[0]

    def within(self, limit: int) -> "RetrievalTest":
        """The same queries among fewer passages: theirs, and others up to `limit`."""
        own = dict.fromkeys(place for found in self.relevant for place in found)
        others = (place for place in range(len(self.passages)) if place not in own)
        kept = [*own, *islice(others, max(0, limit - len(own)))]
        places = {old: new for new, old in enumerate(kept)}
        return replace(
            self,
            passages=tuple(self.passages[place] for place in kept),
            relevant=tuple(
                {places[place]: grade for place, grade in found.items()} for found in self.relevant
            ),
        )

    def _ndcg(self, scores: Vector) -> Values:
        """Of each query; `scores` is (queries, passages)."""
        import ir_measures
        from ir_measures import nDCG

        depth = min(DEPTH, scores.shape[1])
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        run = {
            str(query): {str(place): float(scores[query, place]) for place in best[query]}
            for query in range(len(self))
        }
        qrels = {
            str(query): {str(place): grade for place, grade in found.items()}
            for query, found in enumerate(self.relevant)
        }
        values = np.zeros(len(self))
        for one in ir_measures.iter_calc([nDCG @ 10], qrels, run):
            values[int(one.query_id)] = one.value
        return values


def retrieval_test(
    held_out: TrainingData,
    distractors: Iterable[str],
    *,
    limit: int,
    seed: int,
    query_prompt: str = "",
    document_prompt: str = "",
) -> RetrievalTest:
    """The test that held-out examples make, in an order drawn by the seed.

    Negatives and other texts fill up to `limit` passages; a text that answers is taken once.
    """
    judged: dict[str, dict[str, int]] = {}
    others: dict[str, None] = {}
    for example in held_out.examples:
        others.update(dict.fromkeys(example.negatives))
        if grade := _grade(held_out.kind, example.score, example.label):
            judged.setdefault(example.query, {}).setdefault(example.passage, grade)
        else:
            others[example.passage] = None
    queries = list(judged)
    random.Random(seed).shuffle(queries)
    answers = dict.fromkeys(passage for found in judged.values() for passage in found)
    places = {passage: place for place, passage in enumerate(answers)}
    for text in (*others, *distractors):
        if len(places) >= limit:
            break
        places.setdefault(text, len(places))
    return RetrievalTest(
        queries=tuple(queries),
        passages=tuple(places),
        relevant=tuple(
            {places[passage]: grade for passage, grade in judged[query].items()}
            for query in queries
        ),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
    )


def _grade(kind: Kind, score: float | None, label: Entailment | None) -> int:
    """How well an example's passage answers its query; 0: not at all."""
    if kind is Kind.SCORED:
        return int((score or 0.0) >= ALIKE)
    if kind is Kind.NLI:
        return int(label is Entailment.ENTAILMENT)
    return 1 if score is None else max(0, round(score))


def _scores(queries: Vector, passages: Vector, dims: int) -> Vector:
    """(queries, passages): cosines of the vectors' beginnings."""
    short = dims < queries.shape[1]
    left, right = (truncated(v, dims) if short else v for v in (queries, passages))
    return np.asarray(left @ right.T)
