"""Training examples of the six kinds, in one shape."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from lockstep.models.manifest import Json, canonical_json


class Kind(StrEnum):
    """What one example of a training set says."""

    PAIRS = "pairs"  # a query, and a passage that answers it
    TUPLES = "tuples"  # the same, and then passages that do not: as many for each query
    SCORED = "scored"  # two texts, and how alike they are, from 0 to 1
    NLI = "nli"  # a premise, a hypothesis, and whether the one follows from the other
    QRELS = "qrels"  # a query, and a passage that people judged relevant to it
    HARD_NEGATIVES = "hard-negatives"  # as tuples, of negatives that a model takes for answers

    @property
    def is_retrieval(self) -> bool:
        """Whether an example is a query and what should, and should not, be found for it."""
        return self not in (Kind.SCORED, Kind.NLI)


class Entailment(StrEnum):
    """The labels of NLI."""

    ENTAILMENT = "entailment"
    NEUTRAL = "neutral"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class Example:
    """`texts` are the query and its passage, then negatives; of scored and NLI just the two texts.

    `group` names what must not be divided between splits: the passage's document, where known, else
    a digest of the passage.
    """

    texts: tuple[str, ...]
    group: str = ""
    score: float | None = None  # of scored examples, 0 to 1; of judged ones, their grade
    label: Entailment | None = None  # of NLI

    @property
    def query(self) -> str:
        return self.texts[0]

    @property
    def passage(self) -> str:
        return self.texts[1]

    @property
    def negatives(self) -> tuple[str, ...]:
        return self.texts[2:]


@dataclass(frozen=True)
class TrainingData:
    """Examples of one kind."""

    kind: Kind
    examples: Sequence[Example]
    lineage: Json  # where they come from: files and their digests, or a source and its settings

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the examples in their order: what a model version's lineage tells of them."""
        digest = hashlib.sha256(self.kind.encode())
        for one in self.examples:
            digest.update(canonical_json([one.texts, one.score, one.label]).encode() + b"\n")
        return digest.hexdigest()


def is_text(text: str) -> bool:
    """Whether it is Unicode text, without NUL and lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
