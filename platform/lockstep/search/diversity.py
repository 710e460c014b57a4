"""Maximal marginal relevance: hits that are good and say different things."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.errors import InvalidInput
from lockstep.store.port import Vector

MAX_CANDIDATES = 200


@dataclass(frozen=True)
class DiversityChoice:
    """How much relevance weighs against novelty, and among how many of the best hits to choose."""

    relevance: float = 0.5  # 1: the plain order; 0: only novelty counts
    candidates: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.relevance <= 1:
            raise InvalidInput(f"diversity.relevance is {self.relevance}; expected 0 to 1.")
        if not 1 <= self.candidates <= MAX_CANDIDATES:
            raise InvalidInput(
                f"diversity.candidates is {self.candidates}; expected 1 to {MAX_CANDIDATES}."
            )


def maximal_marginal_relevance(
    scores: Sequence[float], vectors: Vector, *, relevance: float
) -> list[int]:
    """The order in which to show n hits: each next one is the best by
    relevance * score - (1 - relevance) * its largest cosine with those before it.

    `scores` descend and are brought to 0..1; vectors (n, dim) have length 1. Ties keep the order.
    Source: Carbonell, Goldstein, SIGIR 1998.
    """
    if not len(scores):
        return []
    scaled = _scaled(np.asarray(scores, dtype=np.float64))
    similar = vectors.astype(np.float64) @ vectors.astype(np.float64).T  # (n, n)
    nearest = np.zeros(len(scaled))  # to what is chosen; nothing is near at first
    left = np.ones(len(scaled), dtype=bool)
    order: list[int] = []
    for _ in range(len(scaled)):
        gain = np.where(left, relevance * scaled - (1 - relevance) * nearest, -np.inf)
        chosen = int(np.argmax(gain))  # the first of equals
        order.append(chosen)
        left[chosen] = False
        nearest = similar[chosen] if len(order) == 1 else np.maximum(nearest, similar[chosen])
    return order


def _scaled(scores: np.ndarray) -> np.ndarray:
    low, high = scores.min(), scores.max()
    return np.ones_like(scores) if high == low else (scores - low) / (high - low)
