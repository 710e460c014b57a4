"""Applying one batch of writes to a change log."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lockstep.corpus.documents import Document, check_id, shown
from lockstep.corpus.schema import corpora, documents
from lockstep.errors import InvalidInput

_IDS_AT_ONCE = 500
_CONTENT = ("seq", "content_hash", "title", "text", "metadata")


@dataclass(frozen=True)
class WriteResult:
    """What a batch did to the corpus."""

    added: int
    changed: int
    unchanged: int
    deleted: int
    missing: int  # ids to delete that were not there
    head_seq: int


@dataclass(frozen=True)
class Batch:
    """Writes to apply together: each id once."""

    upserts: dict[str, Document]
    deletes: list[str]

    @classmethod
    def of(cls, upserts: Sequence[Document], deletes: Sequence[str]) -> "Batch":
        wanted = {document.id: document for document in upserts}
        unwanted = list(dict.fromkeys(deletes))
        for document_id in unwanted:
            check_id(document_id)
            if document_id in wanted:
                raise InvalidInput(
                    f"Document '{shown(document_id)}' is both upserted and deleted in one batch; "
                    "expected one of the two."
                )
        return cls(wanted, unwanted)


def upsert_statement(insert: sqlite.Insert | postgresql.Insert) -> Any:
    """An INSERT into documents that replaces the content of those that are there."""
    new = {name: insert.excluded[name] for name in _CONTENT}
    return insert.on_conflict_do_update(index_elements=["corpus_id", "id"], set_=new)


def apply(connection: Connection, corpus: Row[Any], batch: Batch, upsert: Any) -> WriteResult:
    """Write what the batch changes; the caller holds the lock of the corpus."""
    hashes = _hashes(connection, corpus.id, [*batch.upserts, *batch.deletes])
    to_write = [
        document
        for document in batch.upserts.values()
        if hashes.get(document.id) != document.content_hash
    ]
    to_delete = [document_id for document_id in batch.deletes if hashes.get(document_id)]
    added = sum(hashes.get(document.id) is None for document in to_write)
    head_seq = corpus.head_seq
    if to_write or to_delete:
        growth = len(to_write) + len(to_delete)
        head_seq = _advance(connection, corpus.id, growth, live=added - len(to_delete))
        rows = _rows(corpus.id, head_seq - growth + 1, to_write, to_delete)
        connection.execute(upsert, list(rows))
    return WriteResult(
        added=added,
        changed=len(to_write) - added,
        unchanged=len(batch.upserts) - len(to_write),
        deleted=len(to_delete),
        missing=len(batch.deletes) - len(to_delete),
        head_seq=head_seq,
    )


def _hashes(connection: Connection, corpus_id: int, ids: Sequence[str]) -> dict[str, str | None]:
    """The content hash of every id that the log knows; None for a tombstone."""
    found: dict[str, str | None] = {}
    remaining = iter(ids)
    while chunk := list(islice(remaining, _IDS_AT_ONCE)):
        statement = select(documents.c.id, documents.c.content_hash).where(
            documents.c.corpus_id == corpus_id, documents.c.id.in_(chunk)
        )
        found.update((row.id, row.content_hash) for row in connection.execute(statement))
    return found


def _advance(connection: Connection, corpus_id: int, growth: int, *, live: int) -> int:
    """Take `growth` numbers; the last of them is the new head."""
    statement = (
        update(corpora)
        .where(corpora.c.id == corpus_id)
        .values(
            head_seq=corpora.c.head_seq + growth, live_documents=corpora.c.live_documents + live
        )
        .returning(corpora.c.head_seq)
    )
    return int(connection.execute(statement).scalar_one())


def _rows(
    corpus_id: int, first_seq: int, to_write: list[Document], to_delete: list[str]
) -> Iterator[dict[str, Any]]:
    numbers = count(first_seq)
    for document in to_write:
        yield {
            "corpus_id": corpus_id,
            "id": document.id,
            "seq": next(numbers),
            "content_hash": document.content_hash,
            "title": document.title,
            "text": document.text,
            "metadata": json.dumps(document.metadata, ensure_ascii=False),
        }
    tombstone = dict.fromkeys(_CONTENT)
    for document_id in to_delete:
        yield tombstone | {"corpus_id": corpus_id, "id": document_id, "seq": next(numbers)}
