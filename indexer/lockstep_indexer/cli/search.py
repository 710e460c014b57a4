"""`lockstep search`: ask a corpus."""

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import typer

from lockstep_indexer.cli import search_choices as choices
from lockstep_indexer.cli.facets import BoostOption, FacetOption
from lockstep_indexer.cli.hits import rendered
from lockstep_indexer.cli.options import SEARCHING, CorpusArgument, command
from lockstep_indexer.cli.search_options import (
    CandidatesOption,
    CursorOption,
    DenseWeightOption,
    DiversityCandidatesOption,
    DiversityOption,
    ExplainOption,
    FilterOption,
    FusionOption,
    GroupByDocumentOption,
    GroupByOption,
    GroupSizeOption,
    HighlightOption,
    HighlightSentencesOption,
    LexicalWeightOption,
    LikeOption,
    LimitOption,
    MinScoreOption,
    ModeOption,
    OffsetOption,
    PinOption,
    PrefilterDimsOption,
    PrefilterOption,
    QueriesArgument,
    RerankCandidatesOption,
    RerankOption,
    RrfKOption,
)
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.search.boosts import Boost
    from lockstep.search.facets import Facet
    from lockstep.search.request import SearchResponse


def search(
    session: Session,
    corpus: CorpusArgument,
    queries: QueriesArgument = None,
    like: LikeOption = None,
    mode: ModeOption = "hybrid",
    limit: LimitOption = 10,
    offset: OffsetOption = 0,
    condition: FilterOption = None,
    prefilter: PrefilterOption = None,
    prefilter_dims: PrefilterDimsOption = None,
    candidates: CandidatesOption = None,
    fusion: FusionOption = None,
    dense_weight: DenseWeightOption = None,
    lexical_weight: LexicalWeightOption = None,
    rrf_k: RrfKOption = None,
    group_by_document: GroupByDocumentOption = True,
    group_by: GroupByOption = None,
    group_size: GroupSizeOption = 1,
    min_score: MinScoreOption = None,
    rerank: RerankOption = None,
    rerank_candidates: RerankCandidatesOption = None,
    diversity: DiversityOption = None,
    diversity_candidates: DiversityCandidatesOption = None,
    highlight: HighlightOption = None,
    highlight_sentences: HighlightSentencesOption = None,
    cursor: CursorOption = None,
    explain: ExplainOption = False,
    facet: FacetOption = None,
    boost: BoostOption = None,
    number: PinOption = None,
) -> None:
    """Search a corpus; show the best passages.

    Scores are comparable within one answer only; higher is better. With --rerank they are the
    reranker's. Times are milliseconds.
    """
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
            prefilter=choices.prefilter(prefilter, prefilter_dims, candidates),
            fusion=choices.fusion(fusion, rrf_k, dense_weight, lexical_weight),
            group_by_document=group_by_document,
            explain=explain,
            group_by=GroupChoice(group_by, group_size) if group_by is not None else None,
            score_threshold=min_score,
            diversity=choices.diversity(diversity, diversity_candidates, limit + offset),
            highlight=choices.highlight(highlight, highlight_sentences),
            cursor=cursor,
            facets=cast("list[Facet]", facet or []),
            boosts=cast("list[Boost]", boost or []),
            rerank=choices.rerank(rerank, rerank_candidates, limit + offset),
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


def _json(query: str, answer: "SearchResponse") -> Json:
    return {"query": query, **asdict(answer)}


def add_to(app: typer.Typer) -> None:
    example = 'lockstep search docs "how to read a csv file" --limit 3'
    command(app, "search", panel=SEARCHING, example=example)(search)
