"""Reading training data: examples of any kind, from any file, and where they come from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.documents import Documents
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.data.judged import is_judged, read_judged
from lockstep_indexer.train.data.tables import read_table


def read_training_data(
    paths: Sequence[Path],
    *,
    kind: Kind | None = None,
    split: str = "train",
    queries: Path | None = None,
    documents: Documents | None = None,
) -> TrainingData:
    """The examples of all files, which must be of one kind: the one asked for, or the one found.

    BEIR folders give their `split`; a qrels file outside of one needs `queries`, and `documents`
    to look its passages up in. The lineage names each file with its SHA-256, and what was done to
    the examples. Raises InvalidInput naming file, line and field.
    """
    if not paths:
        raise InvalidInput("There is no file of training data; expected at least one.")
    parts = [_read(path, kind, split, queries, documents) for path in paths]
    found = {part.kind: path for part, path in zip(reversed(parts), reversed(paths), strict=True)}
    if len(found) > 1:
        said = ", ".join(f"'{path}' holds {one}" for one, path in reversed(found.items()))
        raise InvalidInput(
            f"The files are of more than one kind: {said}.",
            next_step="Train on one kind at a time, or name the one to read all as: --kind KIND",
        )
    examples, notes = _evened([one for part in parts for one in part.examples])
    lineage: Json = {
        "files": [file for part in parts for file in part.lineage["files"]],
        "notes": list(
            dict.fromkeys([*(n for part in parts for n in part.lineage["notes"]), *notes])
        ),
    }
    return TrainingData(parts[0].kind, examples, lineage)


def _read(
    path: Path, kind: Kind | None, split: str, queries: Path | None, documents: Documents | None
) -> TrainingData:
    if not path.exists():
        raise InvalidInput(f"There is no file '{path}'.")
    if kind is Kind.QRELS or (kind is None and is_judged(path)):
        return read_judged(path, split=split, queries=queries, documents=documents)
    if path.is_dir():
        raise InvalidInput(f"'{path}' is a folder; expected a file of {kind}.")
    return read_table(path, kind)


def _evened(examples: Sequence[Example]) -> tuple[Sequence[Example], list[str]]:
    """As many negatives for each query: those of the one that has the fewest."""
    counts = {len(one.negatives) for one in examples}
    if len(counts) <= 1:
        return examples, []
    least = min(counts)
    note = f"Examples have {least} to {max(counts)} negatives; the first {least} of each are used."
    return [replace(one, texts=one.texts[: 2 + least]) for one in examples], [note]
