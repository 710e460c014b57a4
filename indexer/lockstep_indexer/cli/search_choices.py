"""What the options of a search ask for, in the words of the search itself."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lockstep.search.diversity import DiversityChoice
    from lockstep.search.highlights import HighlightChoice
    from lockstep.search.request import Fusion, PrefilterChoice
    from lockstep.search.rerank import RerankChoice


def diversity(
    relevance: float | None, candidates: int | None, window: int
) -> "DiversityChoice | None":
    from lockstep.search.diversity import DiversityChoice

    if relevance is None and candidates is None:
        return None
    return DiversityChoice(
        DiversityChoice.relevance if relevance is None else relevance,
        candidates or max(window, DiversityChoice.candidates),
    )


def rerank(model: str | None, candidates: int | None, window: int) -> "RerankChoice | None":
    from lockstep.search.rerank import RerankChoice

    if model is None and candidates is None:
        return None
    return RerankChoice(model, candidates or max(window, RerankChoice.candidates))


def highlight(by: str | None, sentences: int | None) -> "HighlightChoice | None":
    from lockstep.search.highlights import HighlightChoice

    if by is None and sentences is None:
        return None
    return HighlightChoice(sentences or HighlightChoice.sentences, by_meaning=by == "meaning")


def prefilter(
    wanted: bool | None, dims: int | None, candidates: int | None
) -> "PrefilterChoice | bool | None":
    """Raises BadParameter where it is both unwanted and described."""
    from lockstep.search.request import PrefilterChoice

    given = {"--candidates": candidates, "--prefilter-dims": dims}
    described = [option for option, value in given.items() if value is not None]
    if described and wanted is False:
        raise typer.BadParameter(f"{described[0]} and --no-prefilter contradict each other.")
    return PrefilterChoice(dims, candidates) if described or wanted else wanted


def fusion(
    method: str | None, k: int | None, dense_weight: float | None, lexical_weight: float | None
) -> "Fusion":
    from lockstep.search.request import Fusion, FusionMethod

    named = Fusion.method if method is None else FusionMethod(method)
    chosen = FusionMethod.RRF if method is None and k is not None else named
    return Fusion(chosen, k, dense_weight, lexical_weight)
