"""Documents, and records of any other shape, from CSV with a header."""

import csv
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from lockstep.corpus.line_stream import LineStream
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

# A quote that is never closed swallows the lines after it: reading ends at this many times the
# size of the largest document, instead of taking what comes next for rows.
_RUNAWAY_FACTOR = 16


def read_csv(path: Path, *, start_line: int, max_document_bytes: int) -> Iterator[Row]:
    """One row per record from `start_line` on; `Row.line` is where the record begins.

    An empty cell outside `id`, `text` and `title` is no value. `metadata` holds JSON.
    """
    records = csv_records(
        path, start_line=start_line, max_bytes=max_document_bytes, check=check_columns
    )
    return documents_of(records, with_parsed_metadata)


def csv_records(
    path: Path,
    *,
    start_line: int = 1,
    max_bytes: int,
    check: Callable[[Path, list[str]], list[str]] = different_columns,
) -> Iterator[Record]:
    """One record per record of the file from `start_line` on; an empty cell is no value.

    `check` is given the names of the columns, and raises where they cannot be what is wanted.
    """
    runaway = _RUNAWAY_FACTOR * max_bytes
    csv.field_size_limit(runaway)  # of the whole process; its default is 128 KiB
    stream = LineStream(path, limit=runaway)
    with closing(_decoded(path, stream, runaway)) as lines:
        records = csv.reader(lines, strict=True)
        header = check(path, _header(path, records))
        while True:
            line = stream.line + 1
            values: list[str] | InvalidDocument
            try:
                values = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                _stop_at_runaway(path, line, error, runaway)
                values = InvalidDocument(f"It is not CSV: {error}.")
            if line >= start_line and values:
                yield Record(line, _outcome(header, values, max_bytes), stream.offset)


def _decoded(path: Path, stream: LineStream, runaway: int) -> Generator[str]:
    for line in stream:
        if line is None:
            raise _runaway(path, stream.line, runaway)
        # A record may span lines, so a broken one is refused only once it is complete.
        yield line.decode(errors="surrogateescape")


def _header(path: Path, records: Any) -> list[str]:
    try:
        return [name.strip() for name in next(records, [])]
    except csv.Error as error:
        raise InvalidInput(f"The header of '{path}' is not CSV: {error}.") from error


def _outcome(
    header: list[str], values: list[str] | InvalidDocument, max_bytes: int
) -> Fields | InvalidDocument:
    if isinstance(values, InvalidDocument):
        return values
    try:
        return _fields(header, values, max_bytes)
    except InvalidDocument as error:
        return error


def _fields(header: list[str], values: list[str], max_bytes: int) -> Fields:
    try:
        size = sum(len(value.encode()) for value in values)
    except UnicodeEncodeError as error:
        raise InvalidDocument("It is not UTF-8.") from error
    if size > max_bytes:
        raise too_long("The record", max_bytes)
    if len(values) != len(header):
        raise InvalidDocument(f"It has {len(values)} cells; the header has {len(header)}.")
    return {name: cell for name, cell in zip(header, values, strict=True) if cell}


def _stop_at_runaway(path: Path, line: int, error: csv.Error, runaway: int) -> None:
    if "field limit" in str(error):
        raise _runaway(path, line, runaway) from error


def _runaway(path: Path, line: int, runaway: int) -> InvalidInput:
    return InvalidInput(
        f"'{path}', line {line}: a cell or line goes on for more than {runaway:,} bytes; "
        "expected a shorter one.",
        next_step="Look for a quote that is never closed.",
    )
