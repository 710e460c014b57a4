"""What came of compiling a model version for queries; kept with it, and no part of its digest."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from lockstep.models.agreement import Agreement
from lockstep.models.manifest import Json


@dataclass(frozen=True, kw_only=True)
class CompilationReport:
    """Times and agreement as measured on `processor`.

    Without a precision torch encodes the queries, for the reason given.
    """

    engine: str = ""
    processor: str = ""
    precision: str = ""
    reason: str = ""
    agreements: Mapping[str, Agreement] = field(default_factory=dict)  # by precision
    texts: int = 0  # that were compared
    max_tokens: int = 0  # of a query; torch encodes longer ones
    query_ms: float = 0.0  # one query, compiled
    torch_ms: float = 0.0

    @property
    def agreement(self) -> Agreement | None:
        """Of the precision that is used."""
        return self.agreements.get(self.precision)

    @property
    def encoder(self) -> str:
        """What encodes the queries."""
        if self.precision:
            return f"{self.engine} in {self.precision}"
        return f"torch: {self.reason}"

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Json) -> "CompilationReport":
        """Raises KeyError, TypeError, ValueError or AttributeError where it is not a report."""
        agreements = {name: Agreement(**each) for name, each in fields["agreements"].items()}
        return cls(**{**fields, "agreements": agreements})
