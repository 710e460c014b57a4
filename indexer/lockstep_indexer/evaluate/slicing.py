"""The queries in parts: by length, by the length of what answers them, by a metadata field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lockstep.corpus.documents import Document, shown
from lockstep.errors import InvalidInput
from lockstep.search.hits import group_value
from lockstep_indexer.evaluate.collection import Asked
from lockstep_indexer.evaluate.measures import Measure
from lockstep_indexer.evaluate.results import ModelResult, SliceRow, Slices
from lockstep_indexer.evaluate.ways import Way

QUERY_LENGTH, DOCUMENT_LENGTH = "length of the query", "length of the relevant documents"
_PARTS = 3
_MOST_VALUES = 20  # of a field; the rest are put together
OTHERS = "all others"
NO_VALUE = "no value"


@dataclass(frozen=True)
class Partition:
    """The numbers of the queries in each part, from 0 in the order of their ids."""

    by: str
    parts: Mapping[str, Sequence[int]]


def partitions(
    asked: Asked, documents: Mapping[str, Document], fields: Sequence[str]
) -> list[Partition]:
    """By both lengths, then by each field of the relevant documents that are there.

    Lengths are cut so that each part has about a third of the queries: what is long depends on the
    collection and its script. Raises InvalidInput for a field that none of the documents has.
    """
    answers = {
        query: [documents[one] for one in ids if one in documents]
        for query, ids in asked.relevant.items()
    }
    queries = [float(len(text)) for text in asked.queries.values()]
    texts = [
        float(round(np.mean([len(d.title) + len(d.text) for d in answers[query]])))
        for query in asked.queries
    ]
    found = [_by_length(QUERY_LENGTH, queries), _by_length(DOCUMENT_LENGTH, texts)]
    return [*found, *(_by_field(field, asked, answers) for field in fields)]


def sliced(
    partition: Partition, models: Sequence[ModelResult], way: Way, measure: Measure
) -> Slices:
    """The mean of each model on each part."""
    rows = {m.ref: m.results[way].figures[measure] for m in models if way in m.results}
    return Slices(
        partition.by,
        way,
        [
            SliceRow(
                label, len(part), {ref: float(v[list(part)].mean()) for ref, v in rows.items()}
            )
            for label, part in partition.parts.items()
        ],
    )


def _by_length(by: str, lengths: Sequence[float]) -> Partition:
    cuts = np.unique(np.quantile(lengths, np.linspace(0, 1, _PARTS + 1), method="nearest"))
    parts = {}
    for low, high in pairwise([-1.0, *(cuts[1:] if len(cuts) > 1 else cuts)]):
        chosen = [n for n, length in enumerate(lengths) if low < length <= high]
        least = min(lengths[n] for n in chosen)
        span = f"{least:,.0f} to {high:,.0f}" if least < high else f"{high:,.0f}"
        parts[f"{span} characters"] = chosen
    return Partition(by, parts)


def _by_field(field: str, asked: Asked, answers: Mapping[str, Sequence[Document]]) -> Partition:
    """A query counts for every value that one of its relevant documents has."""
    parts: dict[str, list[int]] = {}
    for number, query in enumerate(asked.queries):
        values = {group_value(document.metadata, field) for document in answers[query]}
        for label in {NO_VALUE if value is None else str(value) for value in values}:
            parts.setdefault(label, []).append(number)
    if not set(parts) - {NO_VALUE}:
        raise _unknown(field, answers)
    order = sorted(parts, key=lambda label: (label == NO_VALUE, -len(parts[label]), label))
    shown_parts = {label: parts[label] for label in order[:_MOST_VALUES]}
    if rest := order[_MOST_VALUES:]:
        shown_parts[OTHERS] = sorted({n for label in rest for n in parts[label]})
    return Partition(field, shown_parts)


def _unknown(field: str, answers: Mapping[str, Sequence[Document]]) -> InvalidInput:
    known = sorted({key for some in answers.values() for d in some for key in d.metadata})
    return InvalidInput(
        f"None of the relevant documents has the metadata field '{shown(field)}'; they have "
        f"{', '.join(map(shown, known[:20])) or 'none at all'}.",
        next_step="Name one of those: --slice FIELD" if known else "Leave --slice out.",
    )
