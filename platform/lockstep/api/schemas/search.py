"""Searches and their answers."""

from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from pydantic_core import PydanticCustomError

from lockstep.api.schemas.body import Body, DocumentId, Metadata, VersionNumber, checked, printable
from lockstep.corpus.documents import shown
from lockstep.errors import InvalidInput
from lockstep.index.trials import Arm
from lockstep.search import boosts, diversity, rerank
from lockstep.search.boosts import (
    HALF_LIFE_DAYS,
    MAX_BOOSTS,
    MIDPOINT,
    Boost,
    PopularityBoost,
    RecencyBoost,
    this_minute,
)
from lockstep.search.cursor import MAX_CURSOR_CHARS
from lockstep.search.diversity import DiversityChoice
from lockstep.search.facets import MAX_FACETS, MAX_VALUES, Facet
from lockstep.search.highlights import MAX_SENTENCES, HighlightChoice
from lockstep.search.request import (
    MAX_BATCH,
    MAX_CANDIDATES,
    MAX_FIELD_CHARS,
    MAX_GROUP_SIZE,
    MAX_QUERY_BYTES,
    MAX_RRF_K,
    MAX_WEIGHT,
    MAX_WINDOW,
    Fusion,
    FusionMethod,
    GroupChoice,
    Mode,
    PrefilterChoice,
    SearchRequest,
)
from lockstep.search.rerank import MAX_REF_CHARS, RerankChoice
from lockstep.store.payload_indexes import MAX_FIELD_LENGTH


class WeightsBody(Body):
    """Left out: as the method has them."""

    dense: Annotated[StrictFloat, checked(minimum=0, maximum=MAX_WEIGHT)] | None = None
    lexical: Annotated[StrictFloat, checked(minimum=0, maximum=MAX_WEIGHT)] | None = None


class FusionBody(Body):
    """How the dense and the BM25 ranking become one.

    convex: the weighted mean of scores, scaled from the least possible to the ranking's best;
    weights .8 and .2; one weight alone leaves the rest to 1 to the other.
    dbsf: the weighted sum of scores, scaled by the ranking's mean and deviation; weights 1 and 1.
    rrf: the sum of weight / (k + rank); weights 1 and 1.
    """

    method: FusionMethod = Fusion.method
    k: Annotated[StrictInt, checked(minimum=1, maximum=MAX_RRF_K)] | None = Field(
        default=None, description="Of rrf alone; left out: 60."
    )
    weights: WeightsBody = WeightsBody()

    def fusion(self) -> Fusion:
        """Raises InvalidInput."""
        return Fusion(self.method, self.k, self.weights.dense, self.weights.lexical)


class PrefilterBody(Body):
    """Take `candidates` nearest by the first `dims` dimensions, then rescore them in full."""

    dims: StrictInt | None = None
    candidates: Annotated[StrictInt, checked(minimum=1, maximum=MAX_CANDIDATES)] | None = Field(
        None, description="Left out: as many as were measured to be needed."
    )

    def choice(self) -> PrefilterChoice:
        return PrefilterChoice(self.dims, self.candidates)


class GroupBody(Body):
    """At most `size` hits for each value of a metadata field; hits without it are left out."""

    field: Annotated[StrictStr, Field(max_length=MAX_FIELD_CHARS), checked(pattern=r"\S")] = Field(
        description="Dots lead into objects."
    )
    size: Annotated[StrictInt, checked(minimum=1, maximum=MAX_GROUP_SIZE)] = GroupChoice.size

    def choice(self) -> GroupChoice:
        return GroupChoice(self.field, self.size)


class DiversityBody(Body):
    """Maximal marginal relevance: hits that are good, and unlike those before them."""

    relevance: Annotated[StrictFloat, checked(minimum=0, maximum=1)] = Field(
        DiversityChoice.relevance, description="1: the plain order; 0: only novelty counts."
    )
    candidates: Annotated[StrictInt, checked(minimum=1, maximum=diversity.MAX_CANDIDATES)] = Field(
        DiversityChoice.candidates, description="How many of the best hits to choose from."
    )

    def choice(self) -> DiversityChoice:
        return DiversityChoice(self.relevance, self.candidates)


class RerankBody(Body):
    """Put the best hits in the order of a model that reads the query beside each passage."""

    model: Annotated[StrictStr, Field(max_length=MAX_REF_CHARS)] | None = Field(
        RerankChoice.model,
        description="A reranker: name@version, or name for its newest. Left out: the late "
        "interaction vectors of the index version.",
    )
    candidates: Annotated[StrictInt, checked(minimum=1, maximum=rerank.MAX_CANDIDATES)] = Field(
        RerankChoice.candidates,
        description="How many of the best hits to rerank; what lies behind them is not shown.",
    )

    def choice(self) -> RerankChoice:
        """Raises InvalidInput."""
        return RerankChoice(self.model, self.candidates)


class HighlightBody(Body):
    """The best sentences of each hit."""

    sentences: Annotated[StrictInt, checked(minimum=1, maximum=MAX_SENTENCES)] = (
        HighlightChoice.sentences
    )
    by_meaning: StrictBool = Field(
        HighlightChoice.by_meaning,
        description="Whether the model compares sentences with the query, which takes time; else "
        "the query's words decide.",
    )

    def choice(self) -> HighlightChoice:
        return HighlightChoice(self.sentences, self.by_meaning)


MetadataField = Annotated[StrictStr, Field(max_length=MAX_FIELD_LENGTH), checked(minLength=1)]
Weight = Annotated[StrictFloat, checked(minimum=0, maximum=boosts.MAX_WEIGHT)]


class FacetBody(Body):
    field: MetadataField = Field(description="A metadata field that the index version indexes.")
    limit: Annotated[StrictInt, checked(minimum=1, maximum=MAX_VALUES)] = Field(
        Facet.limit, description="Values at most."
    )

    def facet(self) -> Facet:
        """Raises InvalidInput."""
        return Facet(self.field, self.limit)


class RecencyBody(Body):
    """Half as much with each half-life since the time in the field; 1 where that is to come."""

    kind: Literal["recency"]
    field: MetadataField
    half_life_days: Annotated[
        StrictFloat, checked(minimum=HALF_LIFE_DAYS[0], maximum=HALF_LIFE_DAYS[1])
    ]
    weight: Weight
    now: datetime | None = Field(
        None, description="Left out: the server's time, to the minute. UTC where it has no zone."
    )

    def boost(self) -> Boost:
        """Raises InvalidInput."""
        now = this_minute() if self.now is None else self.now
        return RecencyBoost(self.field, self.half_life_days, self.weight, now)


class PopularityBody(Body):
    """x / (x + midpoint) of the number in the field."""

    kind: Literal["popularity"]
    field: MetadataField
    midpoint: Annotated[StrictFloat, checked(minimum=MIDPOINT[0], maximum=MIDPOINT[1])]
    weight: Weight

    def boost(self) -> Boost:
        """Raises InvalidInput."""
        return PopularityBoost(self.field, self.midpoint, self.weight)


def _require_kind(data: Any) -> Any:
    """Says what pydantic does not: which kinds there are, and which field may be meant."""
    if isinstance(data, dict) and "kind" not in data:
        near = get_close_matches("kind", [shown(name) for name in data], n=1)
        raise PydanticCustomError(
            "kind_required",
            "Field 'kind' is required; expected '{recency}' or '{popularity}'. {hint}",
            {
                "recency": RecencyBoost.kind,
                "popularity": PopularityBoost.kind,
                "hint": f"Is '{printable(near[0])}' meant to be it?" if near else "",
            },
        )
    return data


BoostBody = Annotated[
    RecencyBody | PopularityBody, Field(discriminator="kind"), BeforeValidator(_require_kind)
]


class SearchBody(Body):
    # The request itself counts the bytes, and says what is wrong with a text that is none.
    query: Annotated[StrictStr, Field(json_schema_extra={"maxLength": MAX_QUERY_BYTES})] = ""
    like: DocumentId | None = Field(
        None, description="More like this document, instead of a query: its id."
    )
    limit: Annotated[StrictInt, checked(minimum=1, maximum=MAX_WINDOW)] = SearchRequest.limit
    offset: Annotated[StrictInt, checked(minimum=0, maximum=MAX_WINDOW - 1)] = SearchRequest.offset
    mode: Mode = Mode.HYBRID
    filter: dict[str, Any] | None = Field(
        None, description="Qdrant's filter JSON; its keys are metadata fields."
    )
    prefilter: PrefilterBody | StrictBool | None = Field(
        None,
        description="false never uses the short vectors; an object insists on them; "
        "left out, they are used where the index has them.",
    )
    fusion: FusionBody = FusionBody()
    group_by_document: StrictBool = True
    group_by: GroupBody | None = None
    score_threshold: StrictFloat | None = Field(
        None, description="Hits that score less are left out."
    )
    rerank: RerankBody | StrictBool = Field(
        default=False, description="Scores are then those of what reranks."
    )
    diversity: DiversityBody | None = None
    highlight: HighlightBody | StrictBool = False
    explain: StrictBool = False
    facets: Annotated[list[MetadataField | FacetBody], Field(max_length=MAX_FACETS)] = Field(
        default=[],
        description="Metadata fields whose values to count, over all documents that the filter "
        "matches, found or not.",
    )
    boosts: Annotated[list[BoostBody], Field(max_length=MAX_BOOSTS)] = Field(
        default=[],
        description="A hit's score is multiplied by 1 + the sum of weight times value, where each "
        "value is from 0 to 1; 0 where the field holds nothing of the kind. Cosines of dense "
        "searches are scaled from 0 to 1 before.",
    )
    cursor: Annotated[StrictStr, Field(max_length=MAX_CURSOR_CHARS)] | None = Field(
        None,
        description="`next_cursor` of the answer before, with the same search: the next page, from "
        "the index version that gave the first, whatever is promoted meanwhile; of an interleaved "
        "answer, from both versions.",
    )
    index_version: VersionNumber | Annotated[StrictStr, Field(max_length=128)] | None = Field(
        None, description="Search this version instead of the live one: its number or collection."
    )
    traffic_key: Annotated[StrictStr, Field(max_length=512)] | None = Field(
        None,
        description="Whose search it is: a user or session. While a version is on trial, the same "
        "key always meets the same one. Without it, each search is placed by itself.",
    )

    def request(self) -> SearchRequest:
        """The search that the body asks for. Raises InvalidInput."""
        prefilter = self.prefilter
        return SearchRequest(
            query=self.query,
            limit=self.limit,
            offset=self.offset,
            mode=self.mode,
            filter=self.filter,
            prefilter=prefilter.choice() if isinstance(prefilter, PrefilterBody) else prefilter,
            fusion=self.fusion.fusion(),
            group_by_document=self.group_by_document,
            explain=self.explain,
            like=self.like,
            group_by=self.group_by.choice() if self.group_by else None,
            score_threshold=self.score_threshold,
            diversity=self.diversity.choice() if self.diversity else None,
            highlight=self._highlight(),
            cursor=self.cursor,
            facets=[f.facet() if isinstance(f, FacetBody) else f for f in self.facets],
            boosts=[boost.boost() for boost in self.boosts],
            rerank=self._rerank(),
        )

    def _rerank(self) -> RerankChoice | None:
        if isinstance(self.rerank, RerankBody):
            return self.rerank.choice()
        return RerankChoice() if self.rerank else None

    def _highlight(self) -> HighlightChoice | None:
        if isinstance(self.highlight, HighlightBody):
            return self.highlight.choice()
        return HighlightChoice() if self.highlight else None


class BatchBody(Body):
    searches: Annotated[list[SearchBody], Field(min_length=1, max_length=MAX_BATCH)] = Field(
        description="One version answers them all: none may have a cursor, an index_version or a "
        "traffic_key of its own."
    )
    index_version: VersionNumber | Annotated[StrictStr, Field(max_length=128)] | None = Field(
        None, description="Search this version instead of the live one: its number or collection."
    )

    def requests(self) -> list[SearchRequest]:
        """The searches that the body asks for. Raises InvalidInput."""
        for number, body in enumerate(self.searches):
            for name in ("cursor", "index_version", "traffic_key"):
                if getattr(body, name) is not None:
                    raise InvalidInput(
                        f"searches[{number}].{name} is given; a batch is answered by one version.",
                        next_step="Leave it out, or send that search by itself.",
                    )
        return [_numbered(number, body) for number, body in enumerate(self.searches)]


def _numbered(number: int, body: SearchBody) -> SearchRequest:
    """The search of this number. Raises InvalidInput that names it."""
    try:
        request = body.request()
        _ = request.payload_filter  # which raises where it is none
    except InvalidInput as error:
        raise type(error)(
            f"searches[{number}]: {error.message}", next_step=error.next_step
        ) from error
    return request


class PlaceView(BaseModel):
    """What one ranking adds to a hit's score: the score is the sum of the contributions."""

    rank: int | None = Field(
        description="From 1; null: the ranking, as deep as it was looked at, does not hold the hit."
    )
    score: float | None = Field(description="The cosine, or the BM25 score.")
    normalised: float = Field(description="The score on a scale that the rankings share.")
    weight: float
    contribution: float = Field(description="weight times normalised.")


class SentenceView(BaseModel):
    """Places are counted in characters of the hit's text."""

    text: str
    start: int
    end: int
    terms: list[tuple[int, int]] = Field(description="Where words of the query begin and end.")


class BoostView(BaseModel):
    field: str
    kind: str
    value: float = Field(description="From 0 to 1; 0 where the field holds nothing of the kind.")
    weight: float
    contribution: float = Field(description="weight times value.")


class BoostsView(BaseModel):
    """The hit's score is base times (1 + the sum of the contributions)."""

    base: float = Field(description="The score without boosts; of a cosine (1 + cosine) / 2.")
    parts: list[BoostView]


class RerankView(BaseModel):
    """Where a hit was before it was reranked."""

    rank_before: int = Field(description="From 1.")
    score_before: float = Field(description="What explain and boosts tell of.")
    score: float = Field(description="What reranked gave it.")


class FacetView(BaseModel):
    value: StrictBool | StrictInt | StrictStr
    count: int = Field(description="Of documents that the filter matches.")


class HitView(BaseModel):
    id: str = Field(description="Of the passage's point.")
    document_id: str
    score: float = Field(description="Higher is better; comparable within one answer only.")
    title: str
    text: str = Field(description="Of the passage that was found.")
    metadata: Metadata
    highlights: list[SentenceView] | None = Field(
        None, description="The best sentences, in the order of the text."
    )
    explain: dict[str, PlaceView] | None = Field(
        None,
        description="Where each ranking puts the hit, and what that adds to its score. Hits far "
        "down come from deeper rankings, and score no more than the hit before them.",
    )
    index_version: str | None = Field(
        None, description="The collection it comes from, in an interleaved answer."
    )
    boosts: BoostsView | None = Field(
        None, description="With explain: what each boost made of the score."
    )
    rerank: RerankView | None = Field(None, description="With explain, where it was reranked.")


class TookView(BaseModel):
    """Milliseconds."""

    encode: float
    search: float
    rerank: float
    highlight: float
    total: float


class ExplainView(BaseModel):
    """What the filter leaves: none, or all, is a reason to look at it again."""

    passages: int = Field(description="That there are to be searched.")
    matching_filter: int | None = None


class SearchView(BaseModel):
    hits: list[HitView]
    index_version: str = Field(
        description="The collection that was searched; the live one where interleaved."
    )
    model_version: str = Field(description="name@version of the model that encoded the query.")
    took_ms: TookView
    arm: Arm | None = Field(
        None,
        description="Who answered: the live version, the candidate on trial, or both interleaved; "
        "null where a version was pinned.",
    )
    search_id: str | None = Field(
        None, description="For feedback; null where the search is not logged."
    )
    next_cursor: str | None = Field(None, description="For the next page, where there may be one.")
    explain: ExplainView | None = None
    facets: dict[str, list[FacetView]] | None = Field(
        None,
        description="By field, the most frequent values and how many documents have them, of all "
        "that the filter matches, found or not; null where none were asked for.",
    )
    reranker: str | None = Field(
        None, description="What reranked: name@version of a model. Scores are its own."
    )


class BatchView(BaseModel):
    answers: list[SearchView] = Field(description="In the order of the searches.")


class FeedbackBody(Body):
    search_id: Annotated[StrictStr, Field(max_length=64)]
    document_id: DocumentId
