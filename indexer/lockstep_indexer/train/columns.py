"""Training examples as the columns that a loss reads."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import datasets

from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.examples import Entailment, Example, Kind, TrainingData
from lockstep_indexer.train.settings import Loss

ANCHOR, POSITIVE = "anchor", "positive"
LABEL, SCORE = "label", "score"

_SUITABLE = {
    Kind.SCORED: (Loss.COSENT, Loss.DISTILL),
    Kind.NLI: (
        Loss.RANKING,
        Loss.CACHED_RANKING,
        Loss.GIST,
        Loss.CACHED_GIST,
        Loss.TRIPLET,
        Loss.DISTILL,
    ),
}
# The library's losses of these take a row for each negative.
_OF_ONE_NEGATIVE = (Loss.TRIPLET, Loss.MARGIN_MSE, Loss.GIST, Loss.CACHED_GIST)
_OF_RETRIEVAL = tuple(loss for loss in Loss if loss is not Loss.COSENT)


def loss_for(kind: Kind, wanted: Loss | None) -> Loss:
    """The loss that suits a kind of data, or the one wanted. Raises InvalidInput if it cannot."""
    if wanted is None:
        return Loss.COSENT if kind is Kind.SCORED else Loss.RANKING
    suitable = _SUITABLE.get(kind, _OF_RETRIEVAL)
    if wanted not in suitable:
        raise InvalidInput(
            f"The loss '{wanted}' does not learn from {kind} data; expected {', '.join(suitable)}.",
            next_step="Leave --loss out to take the usual one.",
        )
    return wanted


def tables(data: TrainingData, loss: Loss) -> dict[str, datasets.Dataset]:
    """What a loss trains on, without labels of a teacher. One table has one number of columns.

    Raises InvalidInput where the examples have not got what the loss needs.
    """
    if data.kind is Kind.SCORED:
        return {"scored": _scored(data.examples, labelled=loss is Loss.COSENT)}
    rows = list(_entailments(data.examples) if data.kind is Kind.NLI else _texts(data.examples))
    if loss in _OF_ONE_NEGATIVE:
        plain = [row for row in rows if len(row) == 2 and loss.needs_guide]
        rows = plain + [(*row[:2], negative) for row in rows for negative in row[2:]]
        if not rows:
            raise InvalidInput(
                f"The loss '{loss}' needs negatives, and the {data.kind} data has none.",
                next_step="Mine some first, or leave --loss out.",
            )
    by_width: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for row in rows:
        by_width[len(row)].append(row)
    if not by_width:
        raise InvalidInput(
            f"The {data.kind} data has no positive pair; expected texts that belong together.",
            next_step="Check the labels.",
        )
    return {f"{data.kind}-{width}": _table(found) for width, found in sorted(by_width.items())}


def mean_batch(table: datasets.Dataset, batch_size: int) -> float:
    """How many rows a batch has on average, where none may repeat a text of another.

    A text that stands in so many rows takes so many batches.
    """
    often = Counter(text for name in text_columns(table) for text in table[name])
    batches = max(-(-len(table) // batch_size), often.most_common(1)[0][1])
    return len(table) / batches


def text_columns(table: datasets.Dataset) -> list[str]:
    return [name for name in table.column_names if name not in (LABEL, SCORE)]


def _table(rows: Sequence[tuple[str, ...]]) -> datasets.Dataset:
    names = [ANCHOR, POSITIVE, *(f"negative_{n}" for n in range(1, len(rows[0]) - 1))]
    columns = zip(*rows, strict=True)
    return datasets.Dataset.from_dict(
        {name: list(values) for name, values in zip(names, columns, strict=True)}
    )


def _texts(examples: Sequence[Example]) -> Iterator[tuple[str, ...]]:
    """Judged passages of grade 0 are no answers."""
    for example in examples:
        if example.score is None or example.score > 0:
            yield example.texts


def _scored(examples: Sequence[Example], *, labelled: bool) -> datasets.Dataset:
    """The first text as a query and the second as a passage: so the model encodes them in use."""
    columns: dict[str, list[Any]] = {
        ANCHOR: [example.query for example in examples],
        POSITIVE: [example.passage for example in examples],
    }
    if labelled:
        columns[SCORE] = [float(example.score or 0.0) for example in examples]
    return datasets.Dataset.from_dict(columns)


def _entailments(examples: Sequence[Example]) -> Iterator[tuple[str, ...]]:
    """A premise and what follows from it; a contradiction of the premise is a hard negative."""
    contradictions: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.label is Entailment.CONTRADICTION:
            contradictions[example.query].append(example.passage)
    for example in examples:
        if example.label is Entailment.ENTAILMENT:
            yield (*example.texts[:2], *contradictions[example.query][:1])
