"""Corpora and their change logs: the system of record.

A log is compacted: each document stands in it once, at the `seq` of its last change, deleted ones
as tombstones. Whoever applies all changes after the `seq` they have seen holds the corpus.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Select, select

from lockstep.audit import audit
from lockstep.corpus import batches, sampling
from lockstep.corpus.batches import WriteResult
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Change, Document, check_id, shown
from lockstep.corpus.log_rows import (
    change_of,
    changes_between,
    cut_by_size,
    document_of,
    live,
    streamed,
)
from lockstep.corpus.schema import corpora, documents
from lockstep.errors import CorpusNotFound, DocumentNotFound, InvalidInput
from lockstep.failpoints import reached

NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,62}"
_NAME = re.compile(NAME_PATTERN)
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class CorpusInfo:
    """A corpus in figures."""

    name: str
    head_seq: int  # of the last change; 0 before the first
    documents: int  # live ones
    created_at: float  # seconds since 1970


class Corpora:
    """Every corpus of one database.

    Methods raise CorpusNotFound for a name that names none, DatabaseUnavailable and StorageFull.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str) -> None:
        """Make sure that the corpus exists; raises InvalidInput for a name that none can have."""
        check_name(name)
        row = {"name": name, "head_seq": 0, "live_documents": 0, "created_at": time.time()}
        statement = self._database.insert(corpora).values(row).on_conflict_do_nothing()
        with self._database.writing() as connection:
            created = connection.execute(statement).rowcount == 1
        if created:
            audit("create corpus", "done", corpus=name)

    def names(self) -> list[str]:
        with self._database.reading() as connection:
            return _names(connection)

    def exists(self, name: str) -> bool:
        with self._database.reading() as connection:
            return connection.scalar(_corpus(name)) is not None

    def info(self, name: str) -> CorpusInfo:
        with self._database.reading() as connection:
            row = _found(connection, name, _corpus(name))
            return CorpusInfo(row.name, row.head_seq, row.live_documents, row.created_at)

    def head_seq(self, name: str) -> int:
        """The seq of the last change; 0 before the first."""
        return self.info(name).head_seq

    def count(self, name: str) -> int:
        """The number of live documents."""
        return self.info(name).documents

    def write(
        self, name: str, upserts: Sequence[Document] = (), deletes: Sequence[str] = ()
    ) -> WriteResult:
        """Apply a batch in one transaction; once this returns, it is durable.

        Of an id that comes twice, the last one counts. Documents that are already there with the
        same content write nothing. Raises InvalidInput where an id is both upserted and deleted.
        """
        batch = batches.Batch.of(upserts, deletes)
        with self._database.writing() as connection:
            # The row lock: the next writer reads hashes and takes numbers after this commit.
            corpus = _found(connection, name, _corpus(name).with_for_update())
            upsert = batches.upsert_statement(self._database.insert(documents))
            result = batches.apply(connection, corpus, batch, upsert)
            reached("before the commit")
        reached("after the commit")
        if result.deleted:
            audit("delete documents", "done", corpus=name, target=f"{result.deleted} documents")
        return result

    def changes(
        self, name: str, after: int, *, limit: int = 512, max_bytes: int = 16 << 20
    ) -> list[Change]:
        """The first changes with seq > `after`, ascending; an empty list at the head of the log.

        At most `limit`, and no more than fit into `max_bytes`, but at least one.
        """
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            last = cut_by_size(connection, corpus.id, after, limit=limit, max_bytes=max_bytes)
            rows = connection.execute(changes_between(corpus.id, after, last))
            return [change_of(row) for row in rows]

    def changes_of(self, name: str, document_ids: Sequence[str]) -> list[Change]:
        """The last change of each of these documents, ascending; unknown ids are left out."""
        found: list[Change] = []
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            for start in range(0, len(document_ids), _ROWS_AT_ONCE):
                ids = document_ids[start : start + _ROWS_AT_ONCE]
                statement = select(documents).where(
                    documents.c.corpus_id == corpus.id, documents.c.id.in_(ids)
                )
                found.extend(map(change_of, connection.execute(statement)))
        return sorted(found, key=lambda change: change.seq)

    def get(self, name: str, document_id: str) -> Document:
        """One live document; raises DocumentNotFound."""
        check_id(document_id)
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            row = connection.execute(live(corpus.id).where(documents.c.id == document_id)).first()
        if row is None:
            raise DocumentNotFound(f"Corpus '{name}' has no document '{shown(document_id)}'.")
        return document_of(row)

    def fingerprints(self, name: str) -> Iterator[tuple[str, str | None, int]]:
        """(id, content hash, seq) of every document, by ascending id, of one moment.

        The hash of a deleted document is None. Ids ascend as Python's strings do. The moment lasts
        until the iterator is closed or done.
        """
        columns = (documents.c.id, documents.c.content_hash, documents.c.seq)
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            statement = (
                select(*columns).where(documents.c.corpus_id == corpus.id).order_by(documents.c.id)
            )
            with streamed(connection, statement, rows_at_once=_ROWS_AT_ONCE) as rows:
                for row in rows:
                    yield row.id, row.content_hash, row.seq

    def present(self, name: str, document_ids: Sequence[str]) -> set[str]:
        """Those of the ids that name live documents."""
        found: set[str] = set()
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            for start in range(0, len(document_ids), _ROWS_AT_ONCE):
                ids = document_ids[start : start + _ROWS_AT_ONCE]
                statement = live(corpus.id).with_only_columns(documents.c.id)
                found.update(connection.scalars(statement.where(documents.c.id.in_(ids))))
        return found

    def seqs(self, name: str, document_ids: Sequence[str]) -> dict[str, int]:
        """The seq of each document's last change, tombstones included."""
        found: dict[str, int] = {}
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            for start in range(0, len(document_ids), _ROWS_AT_ONCE):
                ids = document_ids[start : start + _ROWS_AT_ONCE]
                statement = select(documents.c.id, documents.c.seq).where(
                    documents.c.corpus_id == corpus.id, documents.c.id.in_(ids)
                )
                found.update((row.id, row.seq) for row in connection.execute(statement))
        return found

    def sample(self, name: str, count: int, seed: int) -> list[Document]:
        """`count` live documents, or all where there are fewer; the same ones for the same seed.

        Documents that follow a long gap in the log are likelier to be taken than others.
        """
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            return sampling.sample(connection, corpus, count, seed)

    def spread(self, name: str, count: int) -> Iterator[Document]:
        """About `count` live documents spread evenly over the log; all where there are fewer."""
        with self._database.reading() as connection:
            corpus = _found(connection, name, _corpus(name))
            yield from sampling.spread(connection, corpus, count)


def check_name(name: str) -> None:
    """Raise InvalidInput where no corpus can have this name."""
    if not _NAME.fullmatch(name) or "--" in name:
        raise InvalidInput(
            f"'{shown(name)}' cannot name a corpus; expected 1 to 63 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit, without '--'."
        )


def _corpus(name: str) -> Select[tuple[int, str, int, int, float]]:
    return select(corpora).where(corpora.c.name == name)


def _names(connection: Connection) -> list[str]:
    return sorted(connection.scalars(select(corpora.c.name)))


def _found(
    connection: Connection, name: str, statement: Select[tuple[int, str, int, int, float]]
) -> Row[tuple[int, str, int, int, float]]:
    if (row := connection.execute(statement).first()) is not None:
        return row
    known = ", ".join(f"'{other}'" for other in _names(connection)) or "none yet"
    raise CorpusNotFound(
        f"There is no corpus '{shown(name)}'; known: {known}.",
        next_step=f"Create it with `lockstep ingest {shown(name)} FILE`.",
    )
