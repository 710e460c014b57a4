"""What requests and responses look like."""

from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lockstep.corpus.batches import WriteResult
from lockstep.corpus.documents import MAX_ID_BYTES, MAX_TITLE_BYTES, Document, shown
from lockstep.index.catalog import RolloutStep
from lockstep.index.gate_report import Verdict
from lockstep.index.rollouts import Consent
from lockstep.index.trials import Arm, Exposure, TrialState
from lockstep.index.versions import IndexVersion, State
from lockstep.search.request import (
    MAX_QUERY_BYTES,
    Fusion,
    FusionMethod,
    Mode,
    PrefilterChoice,
    SearchRequest,
)
from lockstep.search.trial_report import TrialReport

MAX_DOCUMENTS = 1000  # of one call

Metadata = dict[str, Any]
DocumentId = Annotated[StrictStr, Field(max_length=MAX_ID_BYTES)]
Reason = Annotated[StrictStr, Field(max_length=2_000)]
VersionNumber = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]


class Body(BaseModel):
    """A request body, which must not hold a field that means nothing."""

    model_config = ConfigDict(extra="forbid")

    hints: ClassVar[dict[str, str]] = {}
    other_fields_hint: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        known = cls.model_fields
        unknown = [name for name in data if name not in known] if isinstance(data, dict) else []
        if unknown:
            near = get_close_matches(shown(unknown[0]), known, n=1)
            meant = f"Did you mean '{near[0]}'? " if near else ""
            hint = meant + cls.hints.get(unknown[0], cls.other_fields_hint)
            raise PydanticCustomError(
                "unknown_field",
                "Unknown field '{name}'; expected some of {known}. {hint}",
                {"name": _printable(unknown[0]), "known": ", ".join(known), "hint": hint},
            )
        return data


def _printable(name: str) -> str:
    """A name short enough for a message, without the lone surrogates that pydantic fails on."""
    return shown(name).encode(errors="replace").decode()


class WeightsBody(Body):
    """Left out: as the method has them."""

    dense: float | None = None
    lexical: float | None = None


class FusionBody(Body):
    """How the dense and the BM25 ranking become one.

    convex: the weighted mean of scores, scaled from the least possible to the ranking's best;
    weights .8 and .2; one weight alone leaves the rest to 1 to the other.
    dbsf: the weighted sum of scores, scaled by the ranking's mean and deviation; weights 1 and 1.
    rrf: the sum of weight / (k + rank); weights 1 and 1.
    """

    method: FusionMethod = Fusion.method
    k: StrictInt | None = Field(default=None, description="Of rrf alone; left out: 60.")
    weights: WeightsBody = WeightsBody()

    def fusion(self) -> Fusion:
        """Raises InvalidInput."""
        return Fusion(self.method, self.k, self.weights.dense, self.weights.lexical)


class PrefilterBody(Body):
    """Take `candidates` nearest by the first `dims` dimensions, then rescore them in full."""

    dims: StrictInt | None = None
    candidates: StrictInt | None = Field(
        None, description="Left out: as many as were measured to be needed."
    )

    def choice(self) -> PrefilterChoice:
        return PrefilterChoice(self.dims, self.candidates)


class SearchBody(Body):
    hints: ClassVar[dict[str, str]] = {
        name: f"This version of Lockstep cannot {name} yet." for name in ("rerank", "highlight")
    }

    # The request itself counts the bytes, and says what is wrong with a text that is none.
    query: Annotated[StrictStr, Field(json_schema_extra={"maxLength": MAX_QUERY_BYTES})]
    limit: StrictInt = SearchRequest.limit
    offset: StrictInt = SearchRequest.offset
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
    explain: StrictBool = False
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
        )


class PlaceView(BaseModel):
    """What one ranking adds to a hit's score: the score is the sum of the contributions."""

    rank: int | None = Field(
        description="From 1; null: the ranking, as deep as it was looked at, does not hold the hit."
    )
    score: float | None = Field(description="The cosine, or the BM25 score.")
    normalised: float = Field(description="The score on a scale that the rankings share.")
    weight: float
    contribution: float = Field(description="weight times normalised.")


class HitView(BaseModel):
    id: str = Field(description="Of the passage's point.")
    document_id: str
    score: float = Field(description="Higher is better; comparable within one answer only.")
    title: str
    text: str = Field(description="Of the passage that was found.")
    metadata: Metadata
    explain: dict[str, PlaceView] | None = Field(
        None, description="Where each ranking puts the hit, and what that adds to its score."
    )
    index_version: str | None = Field(
        None, description="The collection it comes from, in an interleaved answer."
    )


class TookView(BaseModel):
    """Milliseconds."""

    encode: float
    search: float
    total: float


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


class FeedbackBody(Body):
    search_id: Annotated[StrictStr, Field(max_length=64)]
    document_id: DocumentId


class DocumentBody(Body):
    other_fields_hint: ClassVar[str] = "Put fields of your own into metadata."

    id: DocumentId
    text: StrictStr  # as long as max_document_bytes in the settings allows
    title: Annotated[StrictStr, Field(max_length=MAX_TITLE_BYTES)] | None = None
    metadata: Metadata | None = None

    def document(self) -> Document:
        """Raises InvalidDocument."""
        return Document(self.id, self.text, self.title or "", self.metadata or {})


class UpsertBody(Body):
    documents: Annotated[list[DocumentBody], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class DeleteBody(Body):
    ids: Annotated[list[DocumentId], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class Indexed(StrEnum):
    """Whether a write can be found by a search yet; it is durable in any case."""

    NOT_AWAITED = "not_awaited"  # the call did not ask; moments from now, as a rule
    YES = "yes"
    NOT_YET = "not_yet"  # timeout_s ran out
    NO_LIVE_INDEX = "no_live_index"  # the first index that is built will hold it


class WriteView(BaseModel):
    added: int
    changed: int
    unchanged: int
    deleted: int
    missing: int = Field(description="Ids to delete that were not there.")
    head_seq: int = Field(description="The corpus's last change.")
    indexed: Indexed

    @classmethod
    def of(cls, result: WriteResult, indexed: Indexed) -> Self:
        return cls(**vars(result), indexed=indexed)


class DocumentView(BaseModel):
    id: str
    title: str
    text: str
    metadata: Metadata
    content_hash: str

    @classmethod
    def of(cls, document: Document) -> Self:
        return cls(
            id=document.id,
            title=document.title,
            text=document.text,
            metadata=document.metadata,
            content_hash=document.content_hash,
        )


class VersionView(BaseModel):
    number: int
    index_version: str = Field(description="Its collection.")
    model_version: str
    state: State
    applied_seq: int
    lag: int | None = Field(description="Changes not applied yet; null where none will be.")
    predecessor: int | None = Field(description="What a rollback makes live again.")
    reason: str | None = Field(description="Why it failed.")
    spec: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, version: IndexVersion, head_seq: int) -> Self:
        ended = version.state in (State.DROPPED, State.FAILED)
        return cls(
            number=version.number,
            index_version=version.collection,
            model_version=version.model_ref,
            state=version.state,
            applied_seq=version.applied_seq,
            lag=None if ended else head_seq - version.applied_seq,
            predecessor=version.predecessor,
            reason=version.reason,
            spec=version.spec.to_json(),
            created_at=datetime.fromtimestamp(version.created_at, UTC),
        )


class VersionsView(BaseModel):
    versions: list[VersionView] = Field(description="Oldest first.")


class CorpusView(BaseModel):
    name: str
    documents: int
    head_seq: int
    live: str | None = Field(description="The collection that the alias names.")
    created_at: datetime


class CorporaView(BaseModel):
    corpora: list[CorpusView]


class CorpusDetailView(CorpusView):
    serving: str | None = Field(description="The collection that this server answers from.")
    versions: list[VersionView]


class PromoteBody(Body):
    version: VersionNumber | None = Field(
        default=None, description="Left out: the newest candidate."
    )
    reason: Reason = Field(default="", description="Why; kept in the history.")
    force: StrictBool = Field(
        default=False, description="Promote against the gates; needs a reason."
    )
    require_better: StrictBool = Field(
        default=False, description="Judged quality must rise, not only hold."
    )

    def consent(self) -> Consent:
        """Raises InvalidInput."""
        return Consent(self.reason, force=self.force, require_better=self.require_better)


class RollbackBody(Body):
    reason: Reason = Field(default="", description="Why; kept in the history.")


class GateView(BaseModel):
    gate: str
    verdict: Verdict
    figure: str = Field(description="What was measured, for people.")
    threshold: str
    detail: str
    measured: dict[str, Any]


class GatesView(BaseModel):
    """What the gates measured."""

    candidate: str
    live: str | None
    passed: bool
    took_s: float
    results: list[GateView]


class SwapView(BaseModel):
    corpus: str
    live: VersionView
    previous: VersionView | None
    changed: bool = Field(description="false: it was live already.")
    gates: GatesView | None = Field(description="null: it was proven before.")


class TrialBody(Body):
    version: VersionNumber | None = Field(
        default=None, description="Left out: the newest candidate."
    )
    shadow: float = Field(
        default=0.0, description="Share of live searches that is repeated on it, unseen."
    )
    canary: float = Field(default=0.0, description="Share of callers that it answers.")
    interleave: float = Field(
        default=0.0, description="Share of callers that both versions answer, in turns."
    )
    max_error_share: float = Field(
        default=Exposure.max_error_share, description="More failures of it stop the trial."
    )
    max_latency_ratio: float = Field(
        default=Exposure.max_latency_ratio,
        description="Its p95 over that of the live version; a larger one stops the trial.",
    )
    reason: Reason = Field(default="", description="Why; kept in the history.")

    def exposure(self) -> Exposure:
        """Raises InvalidInput."""
        shares = self.model_dump(exclude={"version", "reason"})
        return Exposure(**shares)


class StopTrialBody(Body):
    reason: Reason = Field(default="", description="Why; kept in the history.")


class TrialView(BaseModel):
    """A trial and what it has shown, summed over all servers. Times are in milliseconds."""

    id: int
    corpus: str
    version: int = Field(description="The index version on trial.")
    live: int = Field(description="The index version that it is held against.")
    state: TrialState
    exposure: dict[str, float]
    reason: str | None = Field(description="Why it was started, or why it is over.")
    actor: str
    started_at: datetime
    ended_at: datetime | None
    answers: dict[str, Any] = Field(description="live, candidate, interleaved: answered, failed.")
    shadow: dict[str, Any] = Field(description="Copies: overlap with the answers, times.")
    preference: dict[str, Any] = Field(description="What clicks on interleaved answers say.")

    @classmethod
    def of(cls, report: TrialReport) -> Self:
        return cls.model_validate(report.to_json())


class StepView(BaseModel):
    """One line of a corpus's history."""

    id: int
    at: datetime
    step: str
    from_version: int | None
    to_version: int | None
    actor: str
    outcome: str
    detail: str | None = Field(description="What went wrong.")
    reason: str | None = Field(description="Why somebody did it, in their words.")
    gates: GatesView | None

    @classmethod
    def of(cls, step: RolloutStep) -> Self:
        return cls(
            **{key: value for key, value in vars(step).items() if key not in ("at", "report")},
            at=datetime.fromtimestamp(step.at, UTC),
            gates=GatesView.model_validate(step.report.to_json()) if step.report else None,
        )


class StepsView(BaseModel):
    steps: list[StepView] = Field(description="Newest first.")


class ReadinessView(BaseModel):
    corpus: str
    live: str = Field(description="The collection that the alias names.")
    serving: str | None = Field(description="The collection that this server answers from.")
    model_version: str | None
    reason: str | None = Field(None, description="Why the live one is not served.")


class ReadyView(BaseModel):
    corpora: list[ReadinessView]


class HealthView(BaseModel):
    version: str = Field(description="Of Lockstep.")
