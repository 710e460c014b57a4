"""Corpora, index versions, and the steps of rollouts."""

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import (
    BaseModel,
    Field,
    StrictBool,
)

from lockstep.api.schemas.body import Body, Reason, VersionNumber
from lockstep.index.catalog import RolloutStep
from lockstep.index.gate_report import Verdict
from lockstep.index.rollouts import Consent
from lockstep.index.versions import IndexVersion, State


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
