"""Measures of a ranking, by ir-measures: values per query, and means over the queries."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import InvalidInput
from lockstep.gates.statistics import Values
from lockstep.search.request import MAX_WINDOW

# Names as people write them, and as ir-measures does. F1 is made of the two before it.
_NAMES = {"nDCG": "nDCG", "MRR": "RR", "MAP": "AP", "Recall": "R", "Precision": "P", "F1": ""}
_WRITTEN = re.compile(r"([A-Za-z0-9]+)@([0-9]{1,9})")
_ALIASES = {name.lower(): name for name in _NAMES} | {
    ours.lower(): name for name, ours in _NAMES.items() if ours
}

Judgments = Mapping[str, Mapping[str, int]]  # query id -> document id -> grade
Run = Mapping[str, Sequence[str]]  # query id -> document ids, best first


@dataclass(frozen=True)
class Measure:
    """A measure of the first k documents; 1 is best. Raises InvalidInput.

    nDCG weighs documents by their grade; for the others each of grade 1 or more is relevant.
    """

    name: str
    k: int

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            raise _unknown(f"{self.name}@{self.k}")
        if not 1 <= self.k <= MAX_WINDOW:
            raise InvalidInput(
                f"The measure {self.name}@{self.k} looks at {self.k} documents; a search gives 1 "
                f"to {MAX_WINDOW}."
            )

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"

    @classmethod
    def parse(cls, text: str) -> "Measure":
        """nDCG@10, and so on; capitals do not matter, and R, P, RR and AP are known too."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or found[1].lower() not in _ALIASES:
            raise _unknown(text)
        return cls(_ALIASES[found[1].lower()], int(found[2]))


NDCG = Measure("nDCG", 10)
SHOWN = (
    NDCG,
    *(Measure(name, 10) for name in ("MRR", "MAP", "Recall", "Precision", "F1")),
    Measure("Recall", 100),
)
CUTS = (1, 3, 5, 10, 100)
ALL = tuple(Measure(name, k) for name in _NAMES for k in CUTS)


def figures(judgments: Judgments, run: Run, measures: Iterable[Measure]) -> dict[Measure, Values]:
    """Each measure of every judged query, (n,) in the order of their ids.

    A query that found nothing has 0. The mean of a row is the macro average.
    """
    ids = sorted(judgments)
    wanted = list(dict.fromkeys(measures))
    found = _calculated(judgments, run, {part for one in wanted for part in _parts(one)})
    return {one: _values(one, found, ids) for one in wanted}


def _parts(measure: Measure) -> tuple[Measure, ...]:
    """What the library is asked for."""
    if measure.name != "F1":
        return (measure,)
    return Measure("Precision", measure.k), Measure("Recall", measure.k)


def _values(
    measure: Measure, found: Mapping[Measure, Mapping[str, float]], ids: Sequence[str]
) -> Values:
    rows = [np.array([found[part].get(key, 0.0) for key in ids]) for part in _parts(measure)]
    if measure.name != "F1":
        return rows[0]
    precision, recall = rows
    both = precision + recall  # the harmonic mean, per query
    f1: Values = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return f1


def _calculated(
    judgments: Judgments, run: Run, measures: Iterable[Measure]
) -> dict[Measure, dict[str, float]]:
    import ir_measures  # takes a while to load

    names: dict[Any, Measure] = {
        ir_measures.parse_measure(f"{_NAMES[one.name]}@{one.k}"): one for one in measures
    }
    # Scores that say nothing but the order: the library puts equal ones in an order of its own.
    scored = {
        query: {document: float(-rank) for rank, document in enumerate(ranking)}
        for query, ranking in run.items()
        if query in judgments and ranking
    }
    found: dict[Measure, dict[str, float]] = {one: {} for one in names.values()}
    qrels = {query: dict(judged) for query, judged in judgments.items()}
    for metric in ir_measures.iter_calc(list(names), qrels, scored):
        found[names[metric.measure]][metric.query_id] = metric.value
    return found


def _unknown(text: str) -> InvalidInput:
    return InvalidInput(
        f"'{text}' is no measure; expected one of {', '.join(_NAMES)}, then @ and how many "
        "documents it looks at.",
        next_step=f"For example: --measure {NDCG}",
    )
