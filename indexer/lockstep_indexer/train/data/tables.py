"""Examples from files with named columns: pairs, tuples, scored, NLI, hard negatives."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.corpus.documents import shown
from lockstep.corpus.rows import Fields
from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.columns import EXPECTED, GRADE, GROUP, Columns
from lockstep_indexer.train.data.examples import Entailment, Example, Kind, TrainingData, is_text
from lockstep_indexer.train.data.records import identity, read_records, wrong
from lockstep_indexer.train.data.row_files import lineage_of

STS_MAX = 5.0
_LABELS = {str(number): label for number, label in enumerate(Entailment)}
_LABELS |= {label.value: label for label in Entailment}
_NO_LABEL = ("-", "-1")  # where those who labelled did not agree


def read_table(path: Path, kind: Kind | None = None) -> TrainingData:
    """The examples of one file; without a kind, of the one that its columns tell.

    Raises InvalidInput naming file, line and field.
    """
    table: _Table | None = None
    examples: list[Example] = []
    for line, fields in read_records(path):
        if table is None:
            table = _Table.of(path, line, fields, kind)
        examples.extend(table.examples(line, fields))
    if table is None or not examples:
        raise InvalidInput(f"'{path}' has no examples; expected at least one.")
    notes = list(table.notes)
    if table.kind is Kind.SCORED:
        examples, scaled = _scaled(path, examples)
        notes += scaled
    file = {**identity(path), "examples": len(examples)}
    if (made_by := lineage_of(path, file["sha256"])) is not None:
        file["made_by"] = made_by
    return TrainingData(table.kind, examples, {"files": [file], "notes": notes})


@dataclass
class _Table:
    """One file, whose first record has told its columns."""

    path: Path
    kind: Kind
    columns: Columns
    is_told: bool  # rather than found
    unlabelled: int = 0

    @classmethod
    def of(cls, path: Path, line: int, fields: Fields, kind: Kind | None) -> "_Table":
        columns = Columns.of(fields)
        names = ", ".join(fields) or "none"
        if columns is None:
            expected = EXPECTED[kind] if kind else f"for pairs {EXPECTED[Kind.PAIRS]}"
            raise wrong(path, line, f"it has the columns {names}; expected {expected}")
        if kind is None and columns.kinds()[0] is Kind.NLI:
            label = fields.get(columns.label)
            if columns.label_may_be_score(label):
                raise wrong(
                    path,
                    line,
                    f"'{columns.label}' is {label!r}, beside '{columns.first}' and "
                    f"'{columns.second}': that may be a label of NLI or a score",
                    next_step="Say which: --kind nli or --kind scored",
                )
        if kind is not None and kind not in columns.kinds():
            raise wrong(
                path,
                line,
                f"it holds {columns.kinds()[0]} (columns {names}), and {kind} was asked for; "
                f"expected {EXPECTED[kind]}",
            )
        return cls(path, kind or columns.kinds()[0], columns, is_told=kind is not None)

    @property
    def notes(self) -> Iterator[str]:
        if self.unlabelled:
            yield f"Left out: {self.unlabelled:,} examples without a label that people agreed on."

    def examples(self, line: int, fields: Fields) -> list[Example]:
        """What one record holds: one example, or one for each of its positives."""
        self._check_columns(line, fields)
        group = next((fields[name] for name in GROUP if fields.get(name) is not None), None)
        made = _MAKERS[self.kind](self, line, fields)
        return [
            replace(one, group=passage_group(one.passage) if group is None else str(group))
            for one in made
        ]

    def pairs(self, line: int, fields: Fields) -> Iterator[Example]:
        query = self.text(line, fields, self.columns.first)
        grade = self._grade(line, fields)
        for positive in self.texts(line, fields, self.columns.second):
            self._check_different(line, self.columns.first, query, self.columns.second, positive)
            yield Example((query, positive), score=grade)

    def tuples(self, line: int, fields: Fields) -> Iterator[Example]:
        negatives = [
            (name, text)
            for name in self.columns.negatives
            for text in self.texts(line, fields, name)
        ]
        for pair in self.pairs(line, fields):
            for name, negative in negatives:
                for other, text in (
                    (self.columns.first, pair.query),
                    (self.columns.second, pair.passage),
                ):
                    self._check_different(line, other, text, name, negative)
            yield Example((*pair.texts, *(text for _, text in negatives)))

    def scored(self, line: int, fields: Fields) -> Iterator[Example]:
        name = self.columns.score or self.columns.label
        value = self._number(line, fields, name)
        if not 0 <= value <= STS_MAX:
            raise self.wrong(
                line, f"'{name}' is {value:g}; expected 0 to 1, or 0 to {STS_MAX:g} as STS has it"
            )
        yield Example(self._two(line, fields), score=value)

    def labelled(self, line: int, fields: Fields) -> Iterator[Example]:
        name = self.columns.label
        value = str(_whole(self.required(line, fields, name))).strip().lower()
        if value in _NO_LABEL:
            self.unlabelled += 1
            return
        if value not in _LABELS:
            raise self.wrong(
                line,
                f"'{name}' is '{shown(value)}'; expected entailment, neutral or contradiction, "
                "or 0, 1, 2 in this order",
            )
        yield Example(self._two(line, fields), label=_LABELS[value])

    def text(self, line: int, fields: Fields, name: str) -> str:
        value = self.required(line, fields, name)
        if isinstance(value, list) and len(value) == 1:
            [value] = value
        return self._checked(line, name, value)

    def texts(self, line: int, fields: Fields, name: str) -> list[str]:
        """One text, or a list of at least one."""
        value = self.required(line, fields, name)
        values = value if isinstance(value, list) else [value]
        if not values:
            raise self.wrong(line, f"'{name}' is an empty list; expected at least one text")
        return [self._checked(line, name, one) for one in values]

    def required(self, line: int, fields: Fields, name: str) -> Any:
        if (value := fields.get(name)) is None:
            raise self.wrong(line, f"it has no '{name}', or an empty one")
        return value

    def wrong(self, line: int, what: str) -> InvalidInput:
        return wrong(self.path, line, what)

    def _two(self, line: int, fields: Fields) -> tuple[str, str]:
        first, second = self.columns.first, self.columns.second
        return self.text(line, fields, first), self.text(line, fields, second)

    def _number(self, line: int, fields: Fields, name: str) -> float:
        value = self.required(line, fields, name)
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise self.wrong(line, f"'{name}' is {shown(repr(value))}; expected a number") from None

    def _grade(self, line: int, fields: Fields) -> float | None:
        return self._number(line, fields, GRADE) if fields.get(GRADE) is not None else None

    def _checked(self, line: int, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(
                line, f"'{name}' is {shown(repr(value))}, {type(value).__name__}; expected text"
            )
        if not value.strip():
            raise self.wrong(line, f"'{name}' is empty; expected text")
        if not is_text(value):
            raise self.wrong(line, f"'{name}' has a NUL or a lone surrogate; expected Unicode text")
        return value

    def _check_different(
        self, line: int, name: str, text: str, other_name: str, other: str
    ) -> None:
        if text.strip() == other.strip():
            raise self.wrong(
                line,
                f"'{name}' and '{other_name}' are the same text, '{shown(text)}'; a model learns "
                "nothing, or something wrong, from that",
            )

    def _check_columns(self, line: int, fields: Fields) -> None:
        """Every record says the same: JSON Lines may mix what they hold."""
        if fields.keys() == set(self.columns.names):
            return
        columns = Columns.of(fields)
        kinds = columns.kinds() if columns else ()
        agrees = self.kind in (kinds if self.is_told else kinds[:1])
        if kinds and not agrees and not self._is_cell_missing(fields):
            raise self.wrong(
                line,
                f"it holds {kinds[0]} ({', '.join(fields)}), and the lines before it {self.kind} "
                f"({', '.join(self.columns.names)}); expected one kind in a file",
            )

    def _is_cell_missing(self, fields: Fields) -> bool:
        """Whether the record has no column of its own: what it lacks is said by name."""
        return fields.keys() <= set(self.columns.names)


_MAKERS: dict[Kind, Callable[[_Table, int, Fields], Iterator[Example]]] = {
    Kind.PAIRS: _Table.pairs,
    Kind.TUPLES: _Table.tuples,
    Kind.HARD_NEGATIVES: _Table.tuples,
    Kind.SCORED: _Table.scored,
    Kind.NLI: _Table.labelled,
}


def passage_group(passage: str) -> str:
    """The group of a passage whose document is unknown."""
    return hashlib.sha256(passage.strip().encode()).hexdigest()[:16]


def _scaled(path: Path, examples: list[Example]) -> tuple[list[Example], list[str]]:
    """Scores from 0 to 1; where one is above 1, all are STS's from 0 to 5."""
    if max(one.score or 0.0 for one in examples) <= 1:
        return examples, []
    note = f"'{path}': scores are read as 0 to {STS_MAX:g} and divided by {STS_MAX:g}."
    return [replace(one, score=(one.score or 0.0) / STS_MAX) for one in examples], [note]


def _whole(value: object) -> object:
    """1.0 as 1: tables with gaps hold whole numbers as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
