"""Documents from Parquet."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lockstep.corpus.documents import Document
from lockstep.corpus.rows import Row, check_columns, document_from_fields, parse_json, too_long
from lockstep.errors import InvalidDocument, InvalidInput

_ROWS_AT_ONCE = 256


def read_parquet(path: Path, *, start_line: int, max_document_bytes: int) -> Iterator[Row]:
    """One row per record from number `start_line` on; null is no value.

    `metadata` is a struct, a map, or JSON as text. Dates and times become ISO 8601 text.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            check_columns(path, list(file.schema_arrow.names))
            yield from _rows(path, file, start_line, max_document_bytes)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"'{path}' cannot be read as Parquet: {error}.") from error


def _rows(path: Path, file: Any, start_line: int, max_document_bytes: int) -> Iterator[Row]:
    size, total = path.stat().st_size, file.metadata.num_rows
    number = 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
        for index in range(batch.num_rows):
            number += 1
            if number >= start_line:
                outcome = _outcome(batch, index, max_document_bytes)
                yield Row(number, outcome, size * number // total)


def _outcome(batch: Any, index: int, max_document_bytes: int) -> Document | InvalidDocument:
    try:
        return document_from_fields(_fields(batch, index, max_document_bytes))
    except InvalidDocument as error:
        return error
    except UnicodeDecodeError:  # Parquet does not check its strings
        return InvalidDocument("It is not UTF-8.")


def _fields(batch: Any, index: int, max_document_bytes: int) -> dict[str, Any]:
    [record] = batch.slice(index, 1).to_pylist(maps_as_pydicts="strict")
    fields = {name: _plain(value) for name, value in record.items() if value is not None}
    if len(str(fields.get("text", "")).encode()) > max_document_bytes:
        raise too_long("The text", max_document_bytes)
    if isinstance(fields.get("metadata"), str):
        fields["metadata"] = parse_json(fields["metadata"])
    return fields


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
