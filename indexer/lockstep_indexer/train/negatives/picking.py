"""From the rankings of the sources to the negatives of one query."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lockstep_indexer.train.negatives.settings import Mining, Source

Scores = NDArray[np.float32]
Places = NDArray[np.intp]


@dataclass
class Counts:
    """What became of the candidates and of the pairs."""

    looked_at: int = 0  # candidates in the ranks that count, of all sources
    too_close: int = 0  # of them, by the margin
    reranked_out: int = 0  # of them, by the reranker
    taken: dict[Source, int] = field(default_factory=dict)
    filled: int = 0  # negatives drawn at random
    short: int = 0  # pairs that were left out: too few negatives
    pairs: int = 0  # that have their negatives

    def took(self, chosen: Sequence[tuple[Source, int]]) -> None:
        self.pairs += 1
        for source, _ in chosen:
            self.taken[source] = self.taken.get(source, 0) + 1


@dataclass
class Similar:
    """Cosines with the query, summed up."""

    answers: float = 0.0
    negatives: float = 0.0
    pairs: int = 0
    count: int = 0  # of negatives

    def add(self, answer: float, negatives: Scores) -> None:
        self.answers += answer
        self.pairs += 1
        self.negatives += float(negatives.sum())
        self.count += len(negatives)

    def means(self) -> dict[str, float]:
        return {
            "answers": round(self.answers / max(1, self.pairs), 4),
            "negatives": round(self.negatives / max(1, self.count), 4),
        }


def ranked(scores: Scores, barred: Places, *, skip: int, depth: int, floor: float) -> Places:
    """The places with the ranks from `skip` + 1 to `depth`, best first; of equals the first.

    Barred places, and those that score no more than `floor`, have no rank.
    """
    open_ = scores.copy()
    open_[barred] = -np.inf
    if depth < len(open_):
        worst = np.partition(open_, len(open_) - depth)[len(open_) - depth]
        places = np.flatnonzero(open_ >= worst)
    else:
        places = np.arange(len(open_))
    order = places[np.argsort(-open_[places], kind="stable")][:depth]
    return order[open_[order] > floor][skip:]


def limit(answer_score: float, margin: float) -> float:
    """What a negative may score at most, where the answer scores this."""
    return answer_score - abs(answer_score) * margin


def quotas(mining: Mining, turn: int) -> dict[Source, int]:
    """How many negatives each source gives in the n-th turn, so that all turns keep the shares."""
    given: dict[Source, int] = {}
    share = 0.0
    for source in mining.sources:
        share += mining.shares[source]
        upto = _whole(share * mining.negatives * (turn + 1)) - _whole(
            share * mining.negatives * turn
        )
        given[source] = upto - sum(given.values())
    return given


def _whole(number: float) -> int:
    return int(number + 1e-6)


def picked(
    rankings: Mapping[Source, Sequence[int]],
    wanted: Mapping[Source, int],
    mining: Mining,
    turn: int,
) -> list[tuple[Source, int]]:
    """Of each source as many as wanted, each place once; who runs dry is made up for by others."""
    chance = random.Random(f"pick {mining.seed} {turn}")
    left = {source: _queue(places, mining, chance) for source, places in rankings.items()}
    taken: dict[int, Source] = {}
    for source, places in left.items():
        _take(taken, source, places, wanted[source])
    for source, places in left.items():
        _take(taken, source, places, mining.negatives - len(taken))
    return [(source, place) for place, source in taken.items()]


def _queue(places: Sequence[int], mining: Mining, chance: random.Random) -> Iterator[int]:
    if mining.pick == "random":
        return iter(chance.sample(list(places), len(places)))
    return iter(places)


def _take(taken: dict[int, Source], source: Source, places: Iterator[int], count: int) -> None:
    goal = len(taken) + count
    while len(taken) < goal and (place := next(places, None)) is not None:
        taken.setdefault(place, source)
