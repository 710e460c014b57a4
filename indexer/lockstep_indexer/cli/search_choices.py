"""What the options of a search ask for, in the words of the search itself."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.search.diversity import DiversityChoice
    from lockstep.search.highlights import HighlightChoice
    from lockstep.search.request import Fusion, PrefilterChoice
    from lockstep.search.rerank import RerankChoice


def diversity(relevance: float | None, window: int) -> "DiversityChoice | None":
    from lockstep.search.diversity import DiversityChoice

    if relevance is None:
        return None
    return DiversityChoice(relevance, candidates=max(window, DiversityChoice.candidates))


def rerank(model: str | None, candidates: int | None, window: int) -> "RerankChoice | None":
    from lockstep.search.rerank import RerankChoice

    if model is None and candidates is None:
        return None
    return RerankChoice(model, candidates or max(window, RerankChoice.candidates))


def highlight(by: str | None) -> "HighlightChoice | None":
    from lockstep.search.highlights import HighlightChoice

    return None if by is None else HighlightChoice(by_meaning=by == "meaning")


def prefilter(wanted: bool | None, candidates: int | None) -> "PrefilterChoice | bool | None":
    from lockstep.search.request import PrefilterChoice

    if candidates is not None:
        return PrefilterChoice(candidates=candidates)
    return PrefilterChoice() if wanted else wanted


def fusion(
    method: str | None, k: int | None, dense_weight: float | None, lexical_weight: float | None
) -> "Fusion":
    from lockstep.search.request import Fusion, FusionMethod

    named = Fusion.method if method is None else FusionMethod(method)
    chosen = FusionMethod.RRF if method is None and k is not None else named
    return Fusion(chosen, k, dense_weight, lexical_weight)
