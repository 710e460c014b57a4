"""Documents from JSON Lines."""

from collections.abc import Iterator
from pathlib import Path

from lockstep.corpus.documents import Document
from lockstep.corpus.line_stream import LineStream
from lockstep.corpus.rows import Row, document_from_fields, parse_json, too_long
from lockstep.errors import InvalidDocument


def read_jsonl(path: Path, *, start_line: int, max_document_bytes: int) -> Iterator[Row]:
    """One row per line from `start_line` on; blank lines give none."""
    stream = LineStream(path, limit=max_document_bytes)
    for line in stream:
        if stream.line < start_line or (line is not None and not line.strip()):
            continue
        outcome = _outcome(line, max_document_bytes)
        yield Row(stream.line, outcome, stream.offset)


def _outcome(line: bytes | None, max_document_bytes: int) -> Document | InvalidDocument:
    try:
        if line is None:
            raise too_long("The line", max_document_bytes)
        return document_from_fields(_fields(line))
    except InvalidDocument as error:
        return error


def _fields(line: bytes) -> dict[str, object]:
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
