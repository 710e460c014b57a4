"""Documents, and records of any other shape, from JSON Lines."""

from collections.abc import Iterator
from pathlib import Path

from lockstep.corpus.line_stream import LineStream
from lockstep.corpus.rows import Fields, Record, Row, documents_of, parse_json, too_long
from lockstep.errors import InvalidDocument


def read_jsonl(path: Path, *, start_line: int, max_document_bytes: int) -> Iterator[Row]:
    """One row per line from `start_line` on; blank lines give none."""
    return documents_of(jsonl_records(path, start_line=start_line, max_bytes=max_document_bytes))


def jsonl_records(path: Path, *, start_line: int = 1, max_bytes: int) -> Iterator[Record]:
    """One record per line from `start_line` on; blank lines give none."""
    stream = LineStream(path, limit=max_bytes)
    for line in stream:
        if stream.line < start_line or (line is not None and not line.strip()):
            continue
        yield Record(stream.line, _outcome(line, max_bytes), stream.offset)


def _outcome(line: bytes | None, max_bytes: int) -> Fields | InvalidDocument:
    try:
        if line is None:
            raise too_long("The line", max_bytes)
        return _fields(line)
    except InvalidDocument as error:
        return error


def _fields(line: bytes) -> Fields:
    try:
        value = parse_json(line.decode())
    except UnicodeDecodeError as error:
        raise InvalidDocument(f"It is not UTF-8: {error.reason} at byte {error.start}.") from error
    if not isinstance(value, dict):
        raise InvalidDocument(f"It is a JSON {_JSON_NAMES[type(value)]}; expected an object.")
    return value


_JSON_NAMES = {
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
