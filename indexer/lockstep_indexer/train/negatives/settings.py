"""How hard negatives are chosen."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Literal

from lockstep.errors import InvalidInput
from lockstep.lexical.bm25 import Bm25Settings
from lockstep.models.manifest import Json

MAX_NEGATIVES = 64


class Source(StrEnum):
    """Who proposes candidates."""

    MODEL = "model"  # nearest by the vectors of the model that is to be trained
    BM25 = "bm25"  # the most words in common


@dataclass(frozen=True, kw_only=True)
class Mining:
    """Each source ranks the corpus without what is known to answer; `skip` to `depth` is taken.

    A candidate's similarity to the query, by the model, must lie under that of the query's least
    similar answer p by `margin` of its size: at most p - |p| * margin.
    Source: de Souza P. Moreira et al., NV-Retriever, 2024 (TopK-PercPos).
    """

    negatives: int = 4  # for each pair
    shares: Mapping[Source, float] = field(
        default_factory=lambda: {Source.MODEL: 0.5, Source.BM25: 0.5}
    )
    skip: int = 0  # first ranks of each source that are passed over
    depth: int = 100  # the last rank that is looked at
    margin: float = 0.05
    pick: Literal["top", "random"] = "top"  # the first that are left, or any of them
    fill: bool = False  # where too few are left, whether passages drawn at random make it up
    reranker_margin: float = 0.05  # as `margin`, by the scores of a reranker, where there is one
    language: str = "english"  # of BM25
    seed: int = 7

    def __post_init__(self) -> None:
        _check("negatives", self.negatives, 1 <= self.negatives <= MAX_NEGATIVES, "1 to 64")
        _check("skip", self.skip, self.skip >= 0, "0 or more")
        for name in ("margin", "reranker_margin"):
            value = getattr(self, name)
            _check(name.replace("_", " "), value, 0 <= value < 1, "from 0 to below 1")
        if self.depth - self.skip < self.negatives:
            raise InvalidInput(
                f"The ranks from {self.skip + 1:,} to {self.depth:,} hold "
                f"{max(0, self.depth - self.skip)} candidates; {self.negatives} negatives are "
                "asked for.",
                next_step="Raise --depth, or lower --skip or --negatives.",
            )
        self._check_shares()
        Bm25Settings(avg_length=1.0, language=self.language)  # raises InvalidSetting

    def _check_shares(self) -> None:
        for source, share in self.shares.items():
            _check(f"share of {source}", share, 0 <= share <= 1, "from 0 to 1")
        total = math.fsum(self.shares.values())
        if abs(total - 1) > 1e-6:
            told = ", ".join(f"{source} {share:g}" for source, share in self.shares.items())
            raise InvalidInput(
                f"The shares ({told}) add up to {total:g}; expected 1.",
                next_step="For example: --share model=0.7 --share bm25=0.3",
            )

    @property
    def sources(self) -> tuple[Source, ...]:
        """Those that are to propose anything, always in the same order."""
        return tuple(source for source in Source if self.shares.get(source))

    def to_json(self) -> Json:
        return asdict(self) | {"shares": {str(s): share for s, share in self.shares.items()}}


def _check(name: str, value: float, holds: bool, expected: str) -> None:
    if not holds:
        raise InvalidInput(f"The {name} is {value:g}; expected {expected}.")
