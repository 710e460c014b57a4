"""`lockstep search`: ask a corpus."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from lockstep_indexer.cli.facets import BoostOption, FacetOption
from lockstep_indexer.cli.hits import rendered
from lockstep_indexer.cli.options import SEARCHING, CorpusArgument, command, index_version
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.search.boosts import Boost
    from lockstep.search.diversity import DiversityChoice
    from lockstep.search.facets import Facet
    from lockstep.search.highlights import HighlightChoice
    from lockstep.search.request import Fusion, PrefilterChoice, SearchResponse


def filter_json(text: str) -> Json:
    """Qdrant's filter JSON as it stands on the command line."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(
            f"It is not JSON: {error.msg} at character {error.pos + 1}. "
            'Expected something like {"must": [{"key": "lang", "match": {"value": "en"}}]}'
        ) from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"It is JSON, but no object: {text}")
    return value


def search(
    session: Session,
    corpus: CorpusArgument,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY...]", help="One query per argument: quote it.", show_default=False
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="More like this document, instead of a query.", show_default=False
        ),
    ] = None,
    mode: Annotated[
        Literal["hybrid", "dense", "lexical"],
        typer.Option(help="Dense and BM25 fused, or one of the two."),
    ] = "hybrid",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, metavar="N", help="Hits per query.")
    ] = 10,
    offset: Annotated[
        int, typer.Option(min=0, max=999, metavar="N", help="Hits to pass over first.")
    ] = 0,
    condition: Annotated[
        dict | None,  # type: ignore[type-arg]  # Typer wants a plain class beside a parser
        typer.Option(
            "--filter",
            parser=filter_json,
            metavar="JSON",
            help="Qdrant's filter JSON; its keys are metadata fields.",
            show_default=False,
        ),
    ] = None,
    prefilter: Annotated[
        bool | None,
        typer.Option(
            "--prefilter/--no-prefilter",
            help="Insist on the short-vector prefilter, or go without it. "
            "By default it is used where the index has one.",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, metavar="N", help="How many the prefilter passes on; implies it."
        ),
    ] = None,
    fusion: Annotated[
        Literal["convex", "dbsf", "rrf"] | None,
        typer.Option(
            help="How the two rankings become one: by scaled scores (convex, dbsf) or by ranks "
            "(rrf). By default convex.",
            show_default=False,
        ),
    ] = None,
    dense_weight: Annotated[
        float | None,
        typer.Option(metavar="W", help="What the dense ranking weighs.", show_default=False),
    ] = None,
    lexical_weight: Annotated[
        float | None,
        typer.Option(metavar="W", help="What the BM25 ranking weighs.", show_default=False),
    ] = None,
    rrf_k: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="The k of rrf, 60 if left out; implies rrf.", show_default=False
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Few hits for each value of this metadata field.",
            show_default=False,
        ),
    ] = None,
    group_size: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="How many of each, with --group-by.")
    ] = 1,
    min_score: Annotated[
        float | None,
        typer.Option(metavar="S", help="Leave out hits that score less.", show_default=False),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="R",
            help="Hits unlike those before them: 1 weighs relevance alone, 0 novelty alone.",
            show_default=False,
        ),
    ] = None,
    highlight: Annotated[
        Literal["words", "meaning"] | None,
        typer.Option(
            help="Show the best sentences of each hit, by the query's words or by meaning.",
            show_default=False,
        ),
    ] = None,
    cursor: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The next page: next_cursor of the answer before (see --json).",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show what each ranking adds to a hit's score."),
    ] = False,
    facet: FacetOption = None,
    boost: BoostOption = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--index-version",
            parser=index_version,
            metavar="N",
            help="Search this version instead of the live one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Search a corpus; show the best passages.

    Scores are comparable within one answer only; higher is better. Times are milliseconds.
    """
    if candidates is not None and prefilter is False:
        raise typer.BadParameter("--candidates and --no-prefilter contradict each other.")
    asked = _asked(queries, like)
    from lockstep.search.request import GroupChoice, Mode, SearchRequest

    requests = [
        SearchRequest(
            query,
            like=like,
            limit=limit,
            offset=offset,
            mode=Mode(mode),
            filter=condition,
            prefilter=_prefilter(prefilter, candidates),
            fusion=_fusion(fusion, rrf_k, dense_weight, lexical_weight),
            explain=explain,
            group_by=GroupChoice(group_by, group_size) if group_by is not None else None,
            score_threshold=min_score,
            diversity=_diversity(diversity, limit + offset),
            highlight=_highlight(highlight),
            cursor=cursor,
            facets=cast("list[Facet]", facet or []),
            boosts=cast("list[Boost]", boost or []),
        )
        for query in asked
    ]
    with session.waiting("loading the model"), session.workspace() as workspace:
        if len(requests) > 1:
            answers = workspace.search_batch(corpus, requests, index_version=number)
        else:
            answers = [workspace.search(corpus, requests[0], index_version=number)]
        collection = answers[0].index_version
        version = next(v for v in workspace.catalog.versions(corpus) if v.collection == collection)
        behind = workspace.applier.lag(corpus, version.number)
    session.show(
        {
            "corpus": corpus,
            "lag": behind,
            "answers": [_json(query, answer) for query, answer in zip(asked, answers, strict=True)],
        },
        rendered(asked, answers, version.spec.bm25, lag=behind, first_rank=offset + 1),
    )


def _asked(queries: list[str] | None, like: str | None) -> list[str]:
    if like is not None and queries:
        raise typer.BadParameter("QUERY and --like contradict each other.")
    if like is None and not queries:
        raise typer.BadParameter("Give a QUERY, or a document's id with --like.")
    return queries or [""]


def _diversity(relevance: float | None, window: int) -> "DiversityChoice | None":
    from lockstep.search.diversity import DiversityChoice

    if relevance is None:
        return None
    return DiversityChoice(relevance, candidates=max(window, DiversityChoice.candidates))


def _highlight(by: str | None) -> "HighlightChoice | None":
    from lockstep.search.highlights import HighlightChoice

    return None if by is None else HighlightChoice(by_meaning=by == "meaning")


def _prefilter(wanted: bool | None, candidates: int | None) -> "PrefilterChoice | bool | None":
    from lockstep.search.request import PrefilterChoice

    if candidates is not None:
        return PrefilterChoice(candidates=candidates)
    return PrefilterChoice() if wanted else wanted


def _fusion(
    method: str | None, k: int | None, dense_weight: float | None, lexical_weight: float | None
) -> "Fusion":
    from lockstep.search.request import Fusion, FusionMethod

    named = Fusion.method if method is None else FusionMethod(method)
    chosen = FusionMethod.RRF if method is None and k is not None else named
    return Fusion(chosen, k, dense_weight, lexical_weight)


def _json(query: str, answer: "SearchResponse") -> Json:
    return {"query": query, **asdict(answer)}


def add_to(app: typer.Typer) -> None:
    example = 'lockstep search docs "how to read a csv file" --limit 3'
    command(app, "search", panel=SEARCHING, example=example)(search)
