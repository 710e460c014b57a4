"""Which column of a file holds what, and so of which kind its examples are."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lockstep_indexer.train.data.examples import Kind

# By how clearly a name speaks; the first that a file has is taken.
_FIRST = (
    "query", "anchor", "question", "premise", "s1", "sentence1", "sentence_1", "sentence_a",
    "text1", "text_1", "text_a",
)  # fmt: skip
_SECOND = (
    "positive", "pos", "passage", "answer", "document", "response", "hypothesis", "s2",
    "sentence2", "sentence_2", "sentence_b", "text2", "text_2", "text_b", "text", "context",
)  # fmt: skip
_NEGATIVE = ("negative", "neg", "negatives")
_NUMBERED = re.compile(r"(?:negative|neg)_?(\d+)")
_SCORE = ("score", "similarity", "similarity_score", "relatedness_score")
_LABEL = ("label", "gold_label", "entailment_label", "labels")
# What any record may have besides.
GROUP = ("document_id", "doc_id", "corpus_id", "group")
GRADE = "grade"

EXPECTED = {
    Kind.PAIRS: "query and positive (or anchor, question, s1 … and passage, answer, s2 …)",
    Kind.TUPLES: "anchor, positive and negative",
    Kind.SCORED: "sentence1, sentence2 and score",
    Kind.NLI: "premise, hypothesis and label",
    Kind.QRELS: "a BEIR folder, or qrels (query, document, relevance) with their queries",
    Kind.HARD_NEGATIVES: "query, pos and neg (lists), or query, positive, negative_1, negative_2 …",
}


@dataclass(frozen=True)
class Columns:
    """The columns of a file by what they hold."""

    names: Sequence[str]
    first: str
    second: str
    negatives: Sequence[str] = ()  # in order
    score: str = ""
    label: str = ""

    @classmethod
    def of(cls, names: Collection[str]) -> "Columns | None":
        """None where there are no two texts."""
        first, second = _first_of(_FIRST, names), _first_of(_SECOND, names)
        if not first or not second:
            return None
        return cls(
            names=tuple(names),
            first=first,
            second=second,
            negatives=_negatives(names),
            score=_first_of(_SCORE, names),
            label=_first_of(_LABEL, names),
        )

    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that a file of these columns may be of, the likeliest first."""
        if self.negatives:
            listed = self.negatives[0] != "negative"
            by_name = (Kind.HARD_NEGATIVES, Kind.TUPLES)
            return (*(by_name if listed else by_name[::-1]), Kind.PAIRS)
        if self.label and self.score:  # SICK has both
            return (Kind.SCORED, Kind.NLI, Kind.PAIRS)
        if self.score:
            return (Kind.SCORED, Kind.PAIRS)
        if self.label:
            return (Kind.NLI, Kind.SCORED)
        return (Kind.PAIRS,)

    def label_may_be_score(self, label: object) -> bool:
        """Whether a label may be a score just as well: a number beside two sentences."""
        as_number = not isinstance(label, str) or label.strip().lstrip("-").isdigit()
        return self.first != "premise" and as_number


def _first_of(wanted: Sequence[str], names: Collection[str]) -> str:
    return next((name for name in wanted if name in names), "")


def _negatives(names: Collection[str]) -> tuple[str, ...]:
    if single := _first_of(_NEGATIVE, names):
        return (single,)
    numbered = [(int(found[1]), name) for name in names if (found := _NUMBERED.fullmatch(name))]
    return tuple(name for _, name in sorted(numbered))
