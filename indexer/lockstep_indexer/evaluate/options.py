"""What an evaluation looks at."""

from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import InvalidInput
from lockstep.index.spec import DEFAULT_PREFILTER_DIM
from lockstep.search.request import PrefilterChoice
from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.measures import SHOWN, Measure

GUARD_MARGIN = 0.01


@dataclass(frozen=True)
class Guarding:
    """A second, general collection, on which no model may lose more than the margin."""

    folder: Path  # BEIR
    split: str = "test"
    margin: float = GUARD_MARGIN  # of the headline measure


@dataclass(frozen=True)
class Options:
    """The first of the measures is the headline, by which models are compared."""

    measures: tuple[Measure, ...] = SHOWN
    ways: frozenset[Kind] = frozenset(Kind)
    dims: tuple[int, ...] | None = None  # None: all Matryoshka dims that any of the models has
    prefilter_dim: int | None = None  # None: 64 where vectors are longer than that; 0: none
    candidates: int | None = None  # of the prefilter; None: as many as a search rescores
    rerank: str | None = None  # a registered reranker
    rerank_candidates: int = 50
    slices: tuple[str, ...] = ()  # metadata fields
    guard: Guarding | None = None
    window_tokens: int | None = None  # None: as the live index version, else all a model sees
    language: str | None = None  # of the BM25 stemmer; None: as the live index version

    def __post_init__(self) -> None:
        if not self.measures:
            raise InvalidInput("No measure is given; expected at least one, such as nDCG@10.")
        PrefilterChoice(candidates=self.candidates)  # raises where they are out of range

    @property
    def headline(self) -> Measure:
        return self.measures[0]

    def prefilter_of(self, dim: int) -> int:
        """The dimensions of the prefilter beside vectors of `dim`; 0: there is none."""
        if self.prefilter_dim is None:
            return DEFAULT_PREFILTER_DIM if dim > DEFAULT_PREFILTER_DIM else 0
        return self.prefilter_dim

    def require_prefilter(self, dim: int) -> None:
        """Raise InvalidInput where the prefilter is not shorter than vectors of `dim`."""
        if (prefilter := self.prefilter_of(dim)) >= dim:
            raise InvalidInput(
                f"A prefilter of {prefilter} dimensions was asked for; a model gives {dim}.",
                next_step=f"Choose fewer than {dim}, or 0 for none.",
            )
