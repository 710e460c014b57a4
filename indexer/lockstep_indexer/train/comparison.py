"""Is the trained model better than its base? By queries that neither was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.gates.statistics import CONFIDENCE, Paired, paired
from lockstep.models.manifest import Json
from lockstep_indexer.train.holdout import Measured

MEASURE = "nDCG@10"


@dataclass(frozen=True)
class Compared:
    """Base and trained model at one length of their vectors."""

    dims: int
    paired: Paired  # candidate: the trained model; live: its base

    def to_json(self) -> Json:
        fields = self.paired.to_json()
        return {
            "dims": self.dims,
            "trained": fields.pop("candidate"),
            "base": fields.pop("live"),
            **fields,
        }


@dataclass(frozen=True)
class Comparison:
    """At each length, the full one first; empty where too little was held out to measure by."""

    lengths: tuple[Compared, ...]
    passages: int  # that were searched

    @property
    def full(self) -> Compared | None:
        return self.lengths[0] if self.lengths else None

    @property
    def is_better(self) -> bool:
        """Whether it is, at full length, by both the interval and the test."""
        return self.full is not None and self.full.paired.low > 0 and _is_sure(self.full.paired)

    @property
    def verdict(self) -> str:
        if self.full is None:
            return "not measured: nothing was held out that could be searched for"
        found = self.full.paired
        if self.is_better:
            return "better than its base"
        if found.high < 0 and _is_sure(found):
            return "worse than its base"
        return "not shown to be better than its base: the difference may be chance"

    def to_json(self) -> Json:
        return {
            "measure": MEASURE,
            "queries": self.full.paired.queries if self.full else 0,
            "passages": self.passages,
            "verdict": self.verdict,
            "lengths": [each.to_json() for each in self.lengths],
        }


def _is_sure(found: Paired) -> bool:
    """Of few queries that differ, the interval alone is too sure of itself."""
    return found.p_value < 1 - CONFIDENCE


def compared(base: Sequence[Measured], trained: Sequence[Measured], passages: int) -> Comparison:
    """Pair the figures of the same queries by the same lengths."""
    return Comparison(
        tuple(
            Compared(after.dims, paired(after.values, before.values))
            for before, after in zip(base, trained, strict=True)
        ),
        passages,
    )


def measured_json(found: Sequence[Measured]) -> list[Any]:
    return [[each.dims, each.values.tolist()] for each in found]


def measured_of(fields: Sequence[Any]) -> list[Measured]:
    return [Measured(int(dims), np.asarray(values, dtype=np.float64)) for dims, values in fields]
