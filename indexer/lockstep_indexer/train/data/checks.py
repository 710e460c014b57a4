"""Whether a set of examples is fit to train on, and what to know about it beforehand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from statistics import fmean

from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData

# Fewer do not fill one batch, and the other passages of a batch are what a model learns from.
MIN_EXAMPLES = 32
FEW = 500
MORE = (1_000, 5_000)
_OFTEN = 0.2  # of all examples: a text that often is no query, and no answer to one
_LONG_WORDS = 350  # a model of 512 tokens sees about as much


@dataclass(frozen=True)
class Words:
    """How long texts are, in words between spaces."""

    mean: float
    longest: int


@dataclass(frozen=True)
class Report:
    """A set of examples in figures."""

    kind: Kind
    examples: int
    duplicates: int  # examples that repeat an earlier one
    queries: int  # different ones
    passages: int  # different ones
    negatives: int  # of each example
    query_words: Words
    passage_words: Words
    labels: dict[str, int]  # of NLI
    warnings: tuple[str, ...]
    notes: tuple[str, ...]  # what was done to the examples when they were read

    @property
    def distinct(self) -> int:
        return self.examples - self.duplicates

    def to_json(self) -> Json:
        return {**asdict(self), "kind": self.kind.value, "distinct": self.distinct}


def check(data: TrainingData, *, minimum: int = MIN_EXAMPLES) -> Report:
    """Count, and warn of what makes training poor.

    Raises InvalidInput where it would be worthless: fewer than `minimum` different examples, or
    all about one query or one passage, of which no batch can be formed.
    """
    counted = Counter(_identity(one) for one in data.examples)
    queries = Counter(one.query.strip() for one in data.examples)
    passages = Counter(one.passage.strip() for one in data.examples)
    _check_batches(data, len(counted), len(queries), len(passages))
    if len(counted) < minimum:
        raise InvalidInput(
            f"There are {len(counted):,} different examples; expected {minimum:,} at least. The "
            "other passages of a batch are what a model learns to tell apart: fewer do not fill "
            "one, and it would learn them by heart.",
            next_step="Get more: `lockstep pairs structure` mines them from a corpus, `lockstep "
            "pairs clicks` from its searches.",
        )
    labels = Counter(one.label.value for one in data.examples if one.label)
    report = Report(
        kind=data.kind,
        examples=len(data),
        duplicates=len(data) - len(counted),
        queries=len(queries),
        passages=len(passages),
        negatives=len(data.examples[0].negatives),
        query_words=_words([one.query for one in data.examples]),
        passage_words=_words([one.passage for one in data.examples]),
        labels=dict(labels),
        warnings=(),
        notes=tuple(data.lineage.get("notes", ())),
    )
    return replace(report, warnings=tuple(_warnings(data, report, queries, passages)))


def distinct(data: TrainingData) -> TrainingData:
    """The first of each repeated example, in order; lineage says how many went."""
    first: dict[tuple[object, ...], Example] = {}
    for one in data.examples:
        first.setdefault(_identity(one), one)
    kept = list(first.values())
    if len(kept) == len(data):
        return data
    lineage = {**data.lineage, "duplicates_left_out": len(data) - len(kept)}
    return replace(data, examples=kept, lineage=lineage)


def _identity(one: Example) -> tuple[object, ...]:
    return (*(text.strip() for text in one.texts), one.score, one.label)


def _check_batches(data: TrainingData, different: int, queries: int, passages: int) -> None:
    """A batch holds no text twice, else a passage would be its own negative."""
    if not len(data):
        raise InvalidInput("There are no examples to train on; expected at least one.")
    if different > 1 and (min(queries, passages) > 1 or not data.kind.is_retrieval):
        return
    what = "example" if different == 1 else "query" if queries == 1 else "passage"
    raise InvalidInput(
        f"All {len(data):,} examples repeat one {what}: no batch can be formed, as the passages of "
        "a batch must differ for a model to tell them apart.",
        next_step="Check the columns: lockstep pairs check FILE",
    )


def _warnings(
    data: TrainingData, report: Report, queries: Counter[str], passages: Counter[str]
) -> list[str]:
    found: list[str] = []
    if report.distinct < FEW and data.kind.is_retrieval:
        found.append(
            f"{report.distinct:,} different examples are few: below {FEW} a gain is hard to tell "
            f"from chance. Usually {MORE[0]:,} bring the first gain that can be measured, and "
            f"{MORE[1]:,} most of what fine-tuning has to give; more helps slowly."
        )
    elif report.distinct < FEW:
        found.append(f"{report.distinct:,} different examples are few; expected {FEW} or more.")
    if report.duplicates:
        found.append(f"{report.duplicates:,} examples repeat an earlier one and are left out.")
    if data.kind.is_retrieval:
        found += _repeated("query", queries, report)
        found += _repeated("passage", passages, report)
    if report.passage_words.mean > _LONG_WORDS:
        found.append(
            f"Passages have {report.passage_words.mean:.0f} words on average: most models see the "
            "first 350 or so only. Cut them as the index does."
        )
    if data.kind is Kind.NLI and len(report.labels) < 2:
        found.append("All examples have the same label: there is nothing to tell apart.")
    if data.kind is Kind.SCORED and len({one.score for one in data.examples}) < 2:
        found.append("All examples have the same score: there is no order to learn.")
    return found


def _repeated(what: str, counts: Counter[str], report: Report) -> list[str]:
    [(text, most)] = counts.most_common(1)
    if most <= max(2, _OFTEN * report.examples):
        return []
    said = " ".join(islice(text.split(), 8))
    return [f"One {what} stands in {most:,} of {report.examples:,} examples: '{said} …'."]


def _words(texts: Sequence[str]) -> Words:
    counts = [len(text.split()) for text in texts]
    return Words(round(fmean(counts), 1), max(counts))
