"""Documents, and records of any other shape, from Parquet."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lockstep.corpus.rows import (
    Fields,
    Record,
    Row,
    check_columns,
    different_columns,
    documents_of,
    too_long,
    with_parsed_metadata,
)
from lockstep.errors import InvalidDocument, InvalidInput

_ROWS_AT_ONCE = 256


def read_parquet(path: Path, *, start_line: int, max_document_bytes: int) -> Iterator[Row]:
    """One row per record from number `start_line` on; null is no value.

    `metadata` is a struct, a map, or JSON as text. Dates and times become ISO 8601 text.
    """

    def prepared(fields: Fields) -> Fields:
        if len(str(fields.get("text", "")).encode()) > max_document_bytes:
            raise too_long("The text", max_document_bytes)
        return with_parsed_metadata(fields)

    return documents_of(parquet_records(path, start_line=start_line, check=check_columns), prepared)


def parquet_records(
    path: Path,
    *,
    start_line: int = 1,
    check: Callable[[Path, list[str]], list[str]] = different_columns,
) -> Iterator[Record]:
    """One record per row from number `start_line` on; null is no value.

    `check` is given the names of the columns, and raises where they cannot be what is wanted.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            check(path, list(file.schema_arrow.names))
            yield from _records(path, file, start_line)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"'{path}' cannot be read as Parquet: {error}.") from error


def _records(path: Path, file: Any, start_line: int) -> Iterator[Record]:
    size, total = path.stat().st_size, file.metadata.num_rows
    number = 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
        for index in range(batch.num_rows):
            number += 1
            if number >= start_line:
                yield Record(number, _fields(batch, index), size * number // total)


def _fields(batch: Any, index: int) -> Fields | InvalidDocument:
    try:
        [record] = batch.slice(index, 1).to_pylist(maps_as_pydicts="strict")
    except UnicodeDecodeError:  # Parquet does not check its strings
        return InvalidDocument("It is not UTF-8.")
    return {name: _plain(value) for name, value in record.items() if value is not None}


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
