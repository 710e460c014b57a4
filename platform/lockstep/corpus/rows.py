"""One row of an input file: its fields, and the document that they make or why they make none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.corpus.documents import Document, shown
from lockstep.errors import InvalidDocument, InvalidInput

DEFAULT_MAX_DOCUMENT_BYTES = 1 << 20


Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """The fields at one place of a file, whatever they are to be made into."""

    line: int  # from 1; in Parquet the row number
    fields: Fields | InvalidDocument  # or why the place cannot be read
    offset: int = 0  # bytes of the file, as it is stored, that have been read so far


@dataclass(frozen=True, slots=True)
class Row:
    """What a reader found at one place of a file."""

    line: int  # from 1; in Parquet the row number
    outcome: Document | InvalidDocument
    offset: int = 0  # bytes of the file, as it is stored, that have been read so far


def documents_of(
    records: Iterator[Record], prepared: Callable[[Fields], Fields] = lambda fields: fields
) -> Iterator[Row]:
    """Each record as a document or as the reason why it is none; `prepared` may raise it too."""
    for record in records:
        outcome: Document | InvalidDocument
        try:
            if isinstance(record.fields, InvalidDocument):
                raise record.fields
            outcome = document_from_fields(prepared(record.fields))
        except InvalidDocument as error:
            outcome = error
        yield Row(record.line, outcome, record.offset)


def document_from_fields(fields: Fields) -> Document:
    """A document from `id` (or `_id`), `text`, `title`, `metadata`; other fields join the metadata.

    Raises InvalidDocument.
    """
    document_id = _id(fields)
    if (text := fields.pop("text", None)) is None:
        raise InvalidDocument(f"Document '{shown(document_id)}' has no 'text'.")
    title = fields.pop("title", None)
    metadata = fields.pop("metadata", None)
    return Document(
        id=document_id,
        text=text,
        title="" if title is None else title,
        metadata=_merged(document_id, {} if metadata is None else metadata, fields),
    )


def check_columns(path: Path, names: list[str]) -> list[str]:
    """The names of a table's columns; raises InvalidInput where they cannot hold documents."""
    if not names:
        raise InvalidInput(f"'{path}' is empty.", next_step="Give a file with documents.")
    different_columns(path, names)
    if "text" not in names or not {"id", "_id"} & set(names):
        raise InvalidInput(
            f"'{path}' has the columns {', '.join(names)}; expected 'id' (or '_id') and 'text'."
        )
    return names


def different_columns(path: Path, names: list[str]) -> list[str]:
    """The names of a table's columns; raises InvalidInput where two are the same."""
    if len(set(names)) < len(names):
        raise InvalidInput(f"'{path}' has two columns of one name; columns: {', '.join(names)}.")
    return names


def with_parsed_metadata(fields: Fields) -> Fields:
    """The fields of a table, where metadata is JSON as text."""
    if isinstance(fields.get("metadata"), str):
        fields["metadata"] = parse_json(fields["metadata"])
    return fields


def too_long(what: str, max_document_bytes: int) -> InvalidDocument:
    return InvalidDocument(f"{what} has more than {max_document_bytes:,} bytes.")


def parse_json(text: str) -> Any:
    """JSON as its standard has it: NaN and Infinity are not part of it. Raises InvalidDocument."""
    try:
        return _JSON.decode(text)
    except RecursionError as error:
        raise InvalidDocument("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise InvalidDocument(f"It is not JSON: {error}.") from error


def _id(fields: dict[str, Any]) -> str:
    value = fields.pop("id" if fields.get("id") is not None else "_id", None)
    if value is None:
        raise InvalidDocument("A document has no 'id' (or '_id').")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidDocument(
            f"A document id is {shown(repr(value))}; expected text or an integer."
        )
    return str(value)


def _merged(document_id: str, metadata: Any, others: dict[str, Any]) -> Any:
    if not others or not isinstance(metadata, dict):
        return metadata  # where it is no object, Document says so
    both = [name for name in others if name in metadata and metadata[name] != others[name]]
    if both:
        raise InvalidDocument(
            f"Document '{shown(document_id)}' has '{shown(both[0])}' both as a field and in its "
            "metadata, with different values."
        )
    return {**metadata, **others}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)
