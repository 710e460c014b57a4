"""The options of a search, by what they are about."""

import json
from typing import Annotated, Literal

import typer

from lockstep_indexer.cli.options import index_version
from lockstep_indexer.cli.session import Json

FINDING = "What to find"
RANKING = "How to rank it"
SHOWING = "What to show"


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


QueriesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[QUERY...]", help="One query per argument: quote it.", show_default=False
    ),
]
LikeOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="More like this document, instead of a query.",
        show_default=False,
        rich_help_panel=FINDING,
    ),
]
ModeOption = Annotated[
    Literal["hybrid", "dense", "lexical"],
    typer.Option(help="Dense and BM25 fused, or one of the two.", rich_help_panel=RANKING),
]
LimitOption = Annotated[
    int,
    typer.Option(
        "--limit",
        "-n",
        min=1,
        max=1000,
        metavar="N",
        help="Hits per query.",
        rich_help_panel=SHOWING,
    ),
]
OffsetOption = Annotated[
    int,
    typer.Option(
        min=0, max=999, metavar="N", help="Hits to pass over first.", rich_help_panel=SHOWING
    ),
]
FilterOption = Annotated[
    dict | None,  # type: ignore[type-arg]  # Typer wants a plain class beside a parser
    typer.Option(
        "--filter",
        parser=filter_json,
        metavar="JSON",
        help="Qdrant's filter JSON; its keys are metadata fields.",
        show_default=False,
        rich_help_panel=FINDING,
    ),
]
PrefilterOption = Annotated[
    bool | None,
    typer.Option(
        "--prefilter/--no-prefilter",
        help="Insist on the short-vector prefilter, or go without it. "
        "By default it is used where the index has one.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        metavar="N",
        help="How many the prefilter passes on; implies it.",
        rich_help_panel=RANKING,
    ),
]
PrefilterDimsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Insist on a prefilter of this many dimensions.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
FusionOption = Annotated[
    Literal["convex", "dbsf", "rrf"] | None,
    typer.Option(
        help="How the two rankings become one: by scaled scores (convex, dbsf) or by ranks "
        "(rrf). By default convex.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
DenseWeightOption = Annotated[
    float | None,
    typer.Option(
        metavar="W",
        help="What the dense ranking weighs.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
LexicalWeightOption = Annotated[
    float | None,
    typer.Option(
        metavar="W",
        help="What the BM25 ranking weighs.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
RrfKOption = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="The k of rrf, 60 if left out; implies rrf.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
GroupByDocumentOption = Annotated[
    bool,
    typer.Option(
        "--group-by-document/--no-group-by-document",
        help="One hit for each document, or all its passages that are found.",
        rich_help_panel=SHOWING,
    ),
]
GroupByOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Few hits for each value of this metadata field.",
        show_default=False,
        rich_help_panel=SHOWING,
    ),
]
GroupSizeOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=100,
        metavar="N",
        help="How many of each, with --group-by.",
        rich_help_panel=SHOWING,
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="Leave out hits that score less.",
        show_default=False,
        rich_help_panel=SHOWING,
    ),
]
RerankOption = Annotated[
    str | None,
    typer.Option(
        metavar="REF",
        help="Put the best hits in the order of this reranker: name@version, or name (the newest).",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
RerankCandidatesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=200,
        metavar="N",
        help="How many hits to rerank; 50 if left out, or as many as are shown. Without --rerank: "
        "by the index's own token vectors.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
DiversityOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="R",
        help="Hits unlike those before them: 1 weighs relevance alone, 0 novelty alone.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
DiversityCandidatesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=200,
        metavar="N",
        help="How many hits to choose from; 50 if left out, or as many as are shown. Without "
        "--diversity: relevance and novelty weigh the same.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]
HighlightOption = Annotated[
    Literal["words", "meaning"] | None,
    typer.Option(
        help="Show the best sentences of each hit, by the query's words or by meaning.",
        show_default=False,
        rich_help_panel=SHOWING,
    ),
]
HighlightSentencesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10,
        metavar="N",
        help="How many sentences of each hit; 2 if left out. Without --highlight: by words.",
        show_default=False,
        rich_help_panel=SHOWING,
    ),
]
CursorOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="The next page: next_cursor of the answer before (see --json).",
        show_default=False,
        rich_help_panel=SHOWING,
    ),
]
ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain", help="Show what each ranking adds to a hit's score.", rich_help_panel=SHOWING
    ),
]
PinOption = Annotated[
    int | None,
    typer.Option(
        "--index-version",
        parser=index_version,
        metavar="N",
        help="Search this version instead of the live one.",
        show_default=False,
        rich_help_panel=FINDING,
    ),
]
