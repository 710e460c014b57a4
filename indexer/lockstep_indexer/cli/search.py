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
    from lockstep.search.facets import Facet
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
        list[str],
        typer.Argument(
            metavar="QUERY...", help="One query per argument: quote it.", show_default=False
        ),
    ],
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
    from lockstep.search.request import Mode, SearchRequest

    requests = [
        SearchRequest(
            query,
            limit=limit,
            offset=offset,
            mode=Mode(mode),
            filter=condition,
            prefilter=_prefilter(prefilter, candidates),
            fusion=_fusion(fusion, rrf_k, dense_weight, lexical_weight),
            explain=explain,
            facets=cast("list[Facet]", facet or []),
            boosts=cast("list[Boost]", boost or []),
        )
        for query in queries
    ]
    with session.waiting("loading the model"), session.workspace() as workspace:
        answers = [workspace.search(corpus, r, index_version=number) for r in requests]
        collection = answers[0].index_version
        version = next(v for v in workspace.catalog.versions(corpus) if v.collection == collection)
        behind = workspace.applier.lag(corpus, version.number)
    session.show(
        {
            "corpus": corpus,
            "lag": behind,
            "answers": [
                _json(query, answer) for query, answer in zip(queries, answers, strict=True)
            ],
        },
        rendered(queries, answers, version.spec.bm25, lag=behind, first_rank=offset + 1),
    )


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
