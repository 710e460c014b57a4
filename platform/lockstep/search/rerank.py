"""Reranking: the best hits, put in order anew by what reads the query beside each passage."""

from dataclasses import dataclass, field

from lockstep.errors import InvalidInput

MAX_CANDIDATES = 200
MAX_REF_CHARS = 128


@dataclass(frozen=True)
class RerankChoice:
    """What reranks, and how many of the best hits. Raises InvalidInput.

    `model` is a reranker, `name@version` or `name` for its newest; None: the late interaction
    vectors of the index version. A list that goes on keeps the version that gave its first page.
    """

    model: str | None = None
    candidates: int = 50
    kept: str | None = field(default=None, repr=False)  # name@version, by a cursor

    @property
    def ref(self) -> str | None:
        """The reranker to use."""
        return self.model and (self.kept or self.model)

    def __post_init__(self) -> None:
        if self.model is not None and not 0 < len(self.model.strip()) <= MAX_REF_CHARS:
            raise InvalidInput(
                f"rerank.model has {len(self.model.strip())} characters; expected the name of a "
                f"reranker, of 1 to {MAX_REF_CHARS}."
            )
        if not 1 <= self.candidates <= MAX_CANDIDATES:
            raise InvalidInput(
                f"rerank.candidates is {self.candidates}; expected 1 to {MAX_CANDIDATES}."
            )
