"""The query plan: which rankings to ask the engine for, and how deep."""

from lockstep.errors import SearchUnsupported
from lockstep.index.generation import Generation
from lockstep.search.request import Mode, PrefilterChoice, SearchRequest
from lockstep.store.port import Branch, DenseBranch, Prefilter, SparseBranch, Vector

DENSE = "dense"
LEXICAL = "lexical"

# The least scores there can be: of a cosine, and of a sum of positive term weights.
MIN_SCORES = {DENSE: -1.0, LEXICAL: 0.0}

# How many places of each ranking to look at: the first is the published habit for RRF. What is
# fused depends on the depth: a deeper ranking holds more candidates, moves the mean and deviation
# of DBSF, and lowers what a convex combination gives a candidate that the ranking does not hold.
# So pages agree with each other as long as they share a step.
DEPTHS = (100, 400, 1_600, 6_400, 10_000)
# How many short vectors are rescored where no prefilter gate has measured how many are needed.
PREFILTER_CANDIDATES = 400
# Several passages of one document take up places in a ranking; look deeper when grouping.
PASSAGES_PER_DOCUMENT = 4


def encodes_query(request: SearchRequest) -> bool:
    """Whether the search needs the query's dense vector."""
    return request.mode is Mode.DENSE or (
        request.mode is Mode.HYBRID and request.fusion.weights.dense > 0
    )


def ranks_terms(request: SearchRequest) -> bool:
    """Whether the search needs the query's terms."""
    return request.mode is Mode.LEXICAL or (
        request.mode is Mode.HYBRID and request.fusion.weights.lexical > 0
    )


def make_plan(
    request: SearchRequest, generation: Generation, vector: Vector | None, depth: int
) -> dict[str, Branch]:
    """The branches of a search, each `depth` deep; `vector` is the encoded query, (dim,).

    A branch that cannot match anything is left out. Raises SearchUnsupported where the request
    insists on a prefilter that the index lacks.
    """
    branches: dict[str, Branch] = {}
    if vector is not None:
        prefilter = _prefilter(request, generation, vector, depth)
        branches[DENSE] = DenseBranch(vector, depth, prefilter=prefilter)
    if ranks_terms(request):
        terms = generation.lexical.encode_query(request.query)
        if len(terms.indices):  # a query of stop words only has none
            branches[LEXICAL] = SparseBranch(terms, depth)
    return branches


def depths(request: SearchRequest) -> tuple[int, ...]:
    """How many places of each ranking to look at: first, and where that does not suffice."""
    places = request.window * (PASSAGES_PER_DOCUMENT if request.group_by_document else 1)
    return tuple(depth for depth in DEPTHS if depth >= min(places, DEPTHS[-1]))


def _prefilter(
    request: SearchRequest, generation: Generation, vector: Vector, depth: int
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
    return None if short is None else Prefilter(short[0], max(candidates, depth))


def _unsupported(
    choice: PrefilterChoice | None, dim: int | None, generation: Generation
) -> SearchUnsupported:
    version = generation.version
    if dim is not None:
        return SearchUnsupported(
            f"A prefilter of {choice and choice.dims} dimensions was asked for; index "
            f"{version.collection} has one of {dim}.",
            next_step=f"Ask for {dim}, or leave `dims` out.",
        )
    reason = (
        "its spec turns it off"
        if generation.encoder.version.manifest.matryoshka_dims
        else f"model {version.model_ref} does not say that it was trained with Matryoshka, so its "
        "first dimensions alone may mean little"
    )
    return SearchUnsupported(
        f"Index {version.collection} has no prefilter: {reason}.",
        next_step="Search without it, or force one when building: lockstep reindex "
        f"{version.corpus} --model {version.model_ref} --prefilter-dim "
        f"{min(64, generation.encoder.dim // 2)}",
    )
