"""The kinds of search that are evaluated."""

from enum import StrEnum


class Kind(StrEnum):
    """What a search ranks by."""

    BM25 = "BM25"
    DENSE = "dense"  # the cosine of the vectors: whole, or cut to fewer dimensions
    PREFILTER = "prefilter"  # the short vectors' best, rescored by the whole ones
    HYBRID = "hybrid"  # dense and BM25, fused, as applications get it by default
    RERANK = "hybrid + rerank"
