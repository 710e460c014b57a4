"""Reading the rows of a change log."""

import json
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    LargeBinary,
    Row,
    Select,
    cast,
    func,
    select,
)

from lockstep.corpus.documents import Change, Document
from lockstep.corpus.schema import documents


def live(corpus_id: int) -> Select[Any]:
    """The rows of every live document."""
    return select(documents).where(
        documents.c.corpus_id == corpus_id, documents.c.content_hash.is_not(None)
    )


def changes_between(corpus_id: int, after: int, last: int) -> Select[Any]:
    """The rows with after < seq <= last, in order of seq."""
    return (
        select(documents)
        .where(documents.c.corpus_id == corpus_id)
        .where(documents.c.seq > after, documents.c.seq <= last)
        .order_by(documents.c.seq)
    )


def cut_by_size(
    connection: Connection, corpus_id: int, after: int, *, limit: int, max_bytes: int
) -> int:
    """The last seq of a page: asks for the sizes first, so that only the page is ever loaded."""
    size = _size(connection, documents.c.text) + _size(connection, documents.c.metadata)
    statement = (
        select(documents.c.seq, size)
        .where(documents.c.corpus_id == corpus_id, documents.c.seq > after)
        .order_by(documents.c.seq)
        .limit(limit)
    )
    last, total = after, 0
    for seq, row_bytes in connection.execute(statement):
        total += row_bytes
        if total > max_bytes and last > after:
            break
        last = seq
    return last


def streamed(
    connection: Connection, statement: Select[Any], *, rows_at_once: int
) -> CursorResult[Any]:
    """The rows of a statement, a few at a time; close it before the transaction ends."""
    return connection.execute(statement, execution_options={"yield_per": rows_at_once})


def document_of(row: Row[Any]) -> Document:
    """The document of a live row."""
    return Document(row.id, row.text, row.title, json.loads(row.metadata))


def change_of(row: Row[Any]) -> Change:
    """A live row as its document, a tombstone as a deletion."""
    deleted = row.content_hash is None
    return Change(row.seq, row.id, None if deleted else document_of(row))


def _size(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[int]:
    if connection.dialect.name == "sqlite":  # octet_length needs SQLite 3.43
        return func.coalesce(func.length(cast(column, LargeBinary)), 0)
    return func.coalesce(func.octet_length(column), 0)
