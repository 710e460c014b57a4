"""Index versions and the states they pass through."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lockstep.index.spec import IndexSpec

# Passages are encoded by faster ways than the library's, which half precision sets apart by up to
# .0005; a vector of another text is nowhere near. Eight bits reach .99 at worst, see the docs.
MIN_COSINE = 0.999
MIN_COSINE_FP8 = 0.98


class State(StrEnum):
    """Where an index version stands. docs/architecture.md draws every arrow."""

    BUILDING = "building"  # changes are being applied for the first time; may be unfinished
    CANDIDATE = "candidate"  # complete and optimised; never promoted
    LIVE = "live"  # the alias names it: searches are answered from here
    RETIRED = "retired"  # was live; still follows the log, so that a rollback loses nothing
    DROPPED = "dropped"  # its collection is gone
    FAILED = "failed"  # the build or its probe went wrong; never goes live


# Versions whose points are kept in step with the change log.
FOLLOWING = frozenset({State.LIVE, State.RETIRED})


@dataclass(frozen=True)
class IndexVersion:
    """One collection, built by one model version with one spec."""

    corpus: str
    number: int
    collection: str
    model_name: str
    model_version: int
    model_digest: str
    spec: IndexSpec
    state: State
    applied_seq: int
    predecessor: int | None
    reason: str | None
    prefilter_candidates: int | None  # how many to rescore, as measured; None: not measured
    retired_at: float | None  # seconds since 1970; None unless it is retired
    created_at: float
    encoded_in_fp8: bool = False  # whether a build encoded any passage in eight bits

    @property
    def min_cosine(self) -> float:
        """What a passage that is encoded anew must reach against its stored vector."""
        return MIN_COSINE_FP8 if self.encoded_in_fp8 else MIN_COSINE

    @property
    def model_ref(self) -> str:
        return f"{self.model_name}@{self.model_version}"

    @property
    def model_refs(self) -> list[str]:
        """All the model versions that it takes to search it."""
        late = self.spec.late_interaction
        return [self.model_ref, *([late.model] if late else [])]

    @property
    def label(self) -> str:
        """The version as people write it: v3."""
        return f"v{self.number}"

    def manifest(self) -> dict[str, Any]:
        """What the collection's own metadata says about it, enough to serve it by."""
        return {
            "corpus": self.corpus,
            "number": self.number,
            "model": self.model_ref,
            "model_digest": self.model_digest,
            "spec": self.spec.to_json(),
            "created_at": self.created_at,
        }


def collection_name(corpus: str, number: int) -> str:
    return f"{corpus}--v{number:04d}"
