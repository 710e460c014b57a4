"""Whether a server is up, and what it serves."""

from pydantic import (
    BaseModel,
    Field,
)


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
