"""Trials."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    Field,
    StrictFloat,
)

from lockstep.api.schemas.body import Body, Reason, VersionNumber, checked
from lockstep.index.trials import MAX_CANARY, MAX_LATENCY_RATIO, Exposure, TrialState
from lockstep.search.trial_report import TrialReport

Share = Annotated[StrictFloat, checked(minimum=0, maximum=1)]


class TrialBody(Body):
    version: VersionNumber | None = Field(
        default=None, description="Left out: the newest candidate."
    )
    shadow: Share = Field(
        default=0.0, description="Share of live searches that is repeated on it, unseen."
    )
    canary: Annotated[StrictFloat, checked(minimum=0, maximum=MAX_CANARY)] = Field(
        default=0.0, description="Share of callers that it answers."
    )
    interleave: Share = Field(
        default=0.0, description="Share of callers that both versions answer, in turns."
    )
    max_error_share: Annotated[StrictFloat, checked(minimum=0, exclusiveMaximum=1)] = Field(
        default=Exposure.max_error_share, description="More failures of it stop the trial."
    )
    max_latency_ratio: Annotated[StrictFloat, checked(minimum=1, maximum=MAX_LATENCY_RATIO)] = (
        Field(
            default=Exposure.max_latency_ratio,
            description="Its p95 over that of the live version; a larger one stops the trial.",
        )
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
