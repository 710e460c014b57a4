"""Records of training files, one at a time, whatever the format; and what a file is known by."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lockstep.corpus.csv_rows import csv_records
from lockstep.corpus.jsonl import jsonl_records
from lockstep.corpus.parquet import parquet_records
from lockstep.corpus.rows import Fields, Record
from lockstep.errors import InvalidDocument, InvalidInput
from lockstep.models.manifest import Json

MAX_RECORD_BYTES = 16 << 20

_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": lambda path: jsonl_records(path, max_bytes=MAX_RECORD_BYTES),
    ".csv": lambda path: csv_records(path, max_bytes=MAX_RECORD_BYTES),
    ".parquet": parquet_records,
}
FORMATS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")


def is_table(path: Path) -> bool:
    """Whether the file's name says that it holds records with named fields."""
    return path.name.lower().endswith(FORMATS)


def read_records(path: Path) -> Iterator[tuple[int, Fields]]:
    """Each record with its line (in Parquet its row) from 1; raises InvalidInput naming it.

    Names of fields are in lower case, with "_" for "-" and space.
    """
    if not is_table(path):
        raise InvalidInput(f"'{path}' has an unknown format; expected {', '.join(FORMATS)}.")
    name = path.name.lower().removesuffix(".gz")
    reader = next(reader for suffix, reader in _READERS.items() if name.endswith(suffix))
    found = False
    for record in reader(path):
        found = True
        if isinstance(record.fields, InvalidDocument):
            raise wrong(
                path, record.line, record.fields.message[0].lower() + record.fields.message[1:]
            )
        yield record.line, {_plain_name(name): value for name, value in record.fields.items()}
    if not found:
        raise InvalidInput(f"'{path}' is empty.", next_step="Give a file with examples.")


def wrong(path: Path, line: int, what: str, *, next_step: str = "") -> InvalidInput:
    """An error that names the file and the line."""
    return InvalidInput(f"'{path}', line {line}: {what.rstrip('.')}.", next_step=next_step)


def identity(path: Path) -> Json:
    """A file in the lineage: its name and the SHA-256 of its bytes."""
    with path.open("rb") as file:
        return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _plain_name(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
