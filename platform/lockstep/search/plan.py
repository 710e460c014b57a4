"""The query plan: which rankings to ask the engine for, and how deep."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.errors import SearchUnsupported
from lockstep.index.rebuilding import reindex_command
from lockstep.search.request import PrefilterChoice, SearchRequest
from lockstep.store.port import (
    Branch,
    DenseBranch,
    Json,
    Prefilter,
    SparseBranch,
    SparseVector,
    Vector,
)

if TYPE_CHECKING:
    from lockstep.index.generation import Generation
    from lockstep.search.asked import Asked

DENSE = "dense"
LEXICAL = "lexical"

# The least scores there can be: of a cosine, and of a sum of positive term weights.
MIN_SCORES = {DENSE: -1.0, LEXICAL: 0.0}

# How many places of each ranking to look at: the first is the published habit for RRF. What is
# fused depends on the depth: a deeper ranking holds more candidates, moves the mean and deviation
# of DBSF, and lowers what a convex combination gives a candidate that the ranking does not hold.
# So the hits of a deeper step only follow those of the steps before.
DEPTHS = (100, 400, 1_600, 6_400, 10_000)
# How many short vectors are rescored where no prefilter gate has measured how many are needed.
PREFILTER_CANDIDATES = 400
# Several passages of one document take up places in a ranking; look deeper when grouping.
PASSAGES_PER_DOCUMENT = 4


@dataclass(frozen=True)
class Plan:
    """What to rank by. A branch that cannot match anything is left out."""

    vector: Vector | None  # (dim,)
    prefilter: Prefilter | None
    terms: SparseVector  # none, for a query of stop words only
    filter: Json | None  # over the stored payload

    def branches(self, depth: int) -> dict[str, Branch]:
        """The branches of a search, each `depth` deep."""
        branches: dict[str, Branch] = {}
        if self.vector is not None:
            branches[DENSE] = DenseBranch(self.vector, depth, prefilter=self._prefilter(depth))
        if len(self.terms.indices):
            branches[LEXICAL] = SparseBranch(self.terms, depth)
        return branches

    def _prefilter(self, depth: int) -> Prefilter | None:
        if self.prefilter is None:
            return None
        return Prefilter(self.prefilter.vector, max(self.prefilter.candidates, depth))


def make_plan(request: SearchRequest, generation: "Generation", asked: "Asked") -> Plan:
    """Raises SearchUnsupported where a request insists on a prefilter that the index lacks."""
    prefilter = None
    if asked.vector is not None:
        prefilter = _prefilter(request, generation, asked.vector)
    return Plan(asked.vector, prefilter, asked.terms, asked.filter)


def steps(request: SearchRequest) -> Iterator[tuple[int, int]]:
    """How many places of each ranking to look at, and how many hits to take from that."""
    for depth in DEPTHS:
        yield depth, depth // PASSAGES_PER_DOCUMENT if request.groups else depth


def _prefilter(
    request: SearchRequest, generation: "Generation", vector: Vector
) -> Prefilter | None:
    if request.prefilter is False:
        return None
    dim = generation.version.spec.prefilter_dim
    choice = request.prefilter if isinstance(request.prefilter, PrefilterChoice) else None
    if dim is None or (choice and choice.dims not in (None, dim)):
        if choice or request.prefilter:
            raise _unsupported(choice, dim, generation)
        return None
    measured = generation.version.prefilter_candidates or PREFILTER_CANDIDATES
    candidates = (choice and choice.candidates) or measured
    short = generation.prefilter_vectors(vector[None])
    return None if short is None else Prefilter(short[0], candidates)


def _unsupported(
    choice: PrefilterChoice | None, dim: int | None, generation: "Generation"
) -> SearchUnsupported:
    version, manifest = generation.version, generation.encoder.version.manifest
    if dim is not None:
        return SearchUnsupported(
            f"A prefilter of {choice and choice.dims} dimensions was asked for; index "
            f"{version.collection} has one of {dim}.",
            next_step=f"Ask for {dim}, or leave `dims` out.",
        )
    reason = (
        "its spec turns it off"
        if manifest.matryoshka_dims
        else f"model {version.model_ref} does not say that it was trained with Matryoshka, so its "
        "first dimensions alone may mean little"
    )
    forced = min(64, generation.encoder.dim // 2)
    command = reindex_command(version, manifest, prefilter_dim=forced)
    return SearchUnsupported(
        f"Index {version.collection} has no prefilter: {reason}.",
        next_step=f"Search without it, or force one when building: {command}",
    )
