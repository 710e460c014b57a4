"""What the gates measured of a candidate, as one value that is stored with its rollout."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from lockstep.index.generation import Generation

Json = dict[str, Any]


class Verdict(StrEnum):
    """How a gate came out."""

    PASSED = "passed"
    FLAGGED = "flagged"  # somebody should look; does not stop a promotion
    FAILED = "failed"  # stops a promotion
    SKIPPED = "skipped"  # there is nothing to measure, or to compare with

    @property
    def stops(self) -> bool:
        return self is Verdict.FAILED


@dataclass(frozen=True)
class GateResult:
    """One gate: its figure, what was asked for, and the verdict."""

    gate: str
    verdict: Verdict
    figure: str  # what was measured, in a few words
    threshold: str = ""
    detail: str = ""  # what it means, or what to do about it
    measured: Json = field(default_factory=dict)  # the figures as numbers


@dataclass(frozen=True)
class GateReport:
    """The results of all gates, in the order in which they were measured."""

    candidate: str  # collection
    live: str | None  # collection; None where nothing was live
    results: Sequence[GateResult]
    took_s: float

    @property
    def failed(self) -> list[GateResult]:
        return [result for result in self.results if result.verdict.stops]

    @property
    def passed(self) -> bool:
        return not self.failed

    def to_json(self) -> Json:
        return {
            "candidate": self.candidate,
            "live": self.live,
            "passed": self.passed,
            "took_s": round(self.took_s, 3),
            "results": [asdict(result) for result in self.results],
        }

    @classmethod
    def from_json(cls, fields: Json) -> "GateReport":
        results = [
            GateResult(**{**result, "verdict": Verdict(result["verdict"])})
            for result in fields["results"]
        ]
        return cls(fields["candidate"], fields["live"], results, fields["took_s"])


class Gates(Protocol):
    """Whatever judges a candidate. It holds the candidate's lease and has it open."""

    def judge(
        self,
        candidate: Generation,
        live: Generation | None,
        *,
        applied_seq: int,
        require_better: bool = False,
        unusable: str = "",
    ) -> GateReport:
        """Measure everything; never raises for a candidate that is merely bad.

        `unusable` says why the live version cannot be compared with, if that is so.
        """
