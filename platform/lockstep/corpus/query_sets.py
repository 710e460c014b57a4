"""Query sets: named queries with judgments of documents (qrels), by which versions are measured."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from lockstep.corpus.database import Database
from lockstep.corpus.documents import shown
from lockstep.corpus.schema import corpora, documents, judged_queries, judgments, query_sets
from lockstep.errors import CorpusNotFound, InvalidInput, QuerySetNotFound

SHOWN_UNKNOWN = 10
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class QuerySet:
    """Queries, and what people said of documents as answers to them."""

    name: str
    queries: Mapping[str, str]  # query id -> text
    judgments: Mapping[str, Mapping[str, int]]  # query id -> document id -> relevance, from 0

    def __post_init__(self) -> None:
        check_set_name(self.name)
        if not self.queries:
            raise InvalidInput(f"Query set '{self.name}' has no judged query.")
        if strangers := set(self.judgments) - set(self.queries):
            raise InvalidInput(
                f"Query set '{self.name}' judges query '{shown(min(strangers))}', "
                "whose text it lacks."
            )


@dataclass(frozen=True)
class QuerySetInfo:
    """A query set in figures."""

    name: str
    queries: int
    judgments: int
    created_at: float  # seconds since 1970


@dataclass(frozen=True)
class Imported:
    """What an import kept, and which judgments are of documents that the corpus lacks now."""

    info: QuerySetInfo
    replaced: bool
    unknown: int  # judgments that count for nothing until their documents are there
    unknown_ids: Sequence[str]  # some of those documents


class QuerySets:
    """The query sets of every corpus. Methods raise CorpusNotFound, DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(self, corpus: str, query_set: QuerySet) -> Imported:
        """Keep a set; one of the same name gives way to it in the same transaction."""
        now = time.time()
        with self._database.writing() as connection:
            corpus_id = _corpus_id(connection, corpus)
            replaced = _drop(connection, corpus_id, query_set.name)
            row = {"corpus_id": corpus_id, "name": query_set.name, "created_at": now}
            made = insert(query_sets).values(row).returning(query_sets.c.id)
            set_id = connection.execute(made).scalar_one()
            for chunk in _chunks(_query_rows(query_set, set_id)):
                connection.execute(insert(judged_queries), chunk)
            for chunk in _chunks(_judgment_rows(query_set, set_id)):
                connection.execute(insert(judgments), chunk)
            unknown = _unknown(connection, corpus_id, set_id)
            info = _info(connection, set_id)
        count = sum(unknown.values())
        return Imported(info, replaced, count, list(islice(unknown, SHOWN_UNKNOWN)))

    def names(self, corpus: str) -> list[str]:
        """The names of a corpus's sets, in order."""
        return [info.name for info in self.list(corpus)]

    def list(self, corpus: str) -> "list[QuerySetInfo]":
        """The sets of a corpus, by name."""
        with self._database.reading() as connection:
            corpus_id = _corpus_id(connection, corpus)
            statement = select(query_sets.c.id).where(query_sets.c.corpus_id == corpus_id)
            ids = connection.scalars(statement.order_by(query_sets.c.name)).all()
            return [_info(connection, set_id) for set_id in ids]

    def get(self, corpus: str, name: str | None = None) -> QuerySet:
        """One set; without a name the newest. Raises QuerySetNotFound."""
        with self._database.reading() as connection:
            found = _found(connection, corpus, _corpus_id(connection, corpus), name)
            queries = connection.execute(
                select(judged_queries.c.id, judged_queries.c.text)
                .where(judged_queries.c.set_id == found.id)
                .order_by(judged_queries.c.id)
            )
            texts = {row.id: row.text for row in queries}
            judged: dict[str, dict[str, int]] = {query_id: {} for query_id in texts}
            for row in connection.execute(select(judgments).where(judgments.c.set_id == found.id)):
                judged[row.query_id][row.document_id] = row.relevance
        return QuerySet(found.name, texts, judged)

    def drop(self, corpus: str, name: str) -> None:
        """Forget a set. Raises QuerySetNotFound."""
        with self._database.writing() as connection:
            corpus_id = _corpus_id(connection, corpus)
            _drop(connection, corpus_id, _found(connection, corpus, corpus_id, name).name)


def check_set_name(name: str) -> None:
    """Raise InvalidInput where no query set can have this name."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{shown(name)}' cannot name a query set; expected 1 to 63 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit.",
            next_step="Give it a name: --name NAME",
        )


def _corpus_id(connection: Connection, corpus: str) -> int:
    row = connection.execute(select(corpora.c.id).where(corpora.c.name == corpus)).first()
    if row is None:
        raise CorpusNotFound(f"There is no corpus '{shown(corpus)}'.")
    return int(row.id)


def _found(connection: Connection, corpus: str, corpus_id: int, name: str | None) -> Row[Any]:
    statement = select(query_sets).where(query_sets.c.corpus_id == corpus_id)
    if name is not None:
        statement = statement.where(query_sets.c.name == name)
    newest = statement.order_by(query_sets.c.created_at.desc(), query_sets.c.id.desc()).limit(1)
    if (row := connection.execute(newest).first()) is not None:
        return row
    names = select(query_sets.c.name).where(query_sets.c.corpus_id == corpus_id)
    known = ", ".join(sorted(connection.scalars(names))) or "none yet"
    what = f"no query set '{shown(name)}'" if name is not None else "no query set"
    raise QuerySetNotFound(
        f"Corpus '{corpus}' has {what}; it has {known}.",
        next_step=f"Import one: lockstep qrels import {corpus} PATH",
    )


def _drop(connection: Connection, corpus_id: int, name: str) -> bool:
    """Delete a set where there is one; whether there was."""
    set_id = connection.scalar(
        select(query_sets.c.id).where(
            query_sets.c.corpus_id == corpus_id, query_sets.c.name == name
        )
    )
    if set_id is None:
        return False
    connection.execute(delete(judgments).where(judgments.c.set_id == set_id))
    connection.execute(delete(judged_queries).where(judged_queries.c.set_id == set_id))
    connection.execute(delete(query_sets).where(query_sets.c.id == set_id))
    return True


def _info(connection: Connection, set_id: int) -> QuerySetInfo:
    row = connection.execute(select(query_sets).where(query_sets.c.id == set_id)).one()
    return QuerySetInfo(
        name=row.name,
        queries=_count(connection, judged_queries, set_id),
        judgments=_count(connection, judgments, set_id),
        created_at=row.created_at,
    )


def _count(connection: Connection, table: Any, set_id: int) -> int:
    statement = select(func.count()).select_from(table).where(table.c.set_id == set_id)
    return int(connection.execute(statement).scalar_one())


def _unknown(connection: Connection, corpus_id: int, set_id: int) -> dict[str, int]:
    """Judged documents that the corpus lacks, with the number of their judgments."""
    there = (documents.c.corpus_id == corpus_id) & (documents.c.id == judgments.c.document_id)
    rows = connection.execute(
        select(judgments.c.document_id, func.count().label("count"))
        .outerjoin_from(judgments, documents, there & documents.c.content_hash.is_not(None))
        .where(judgments.c.set_id == set_id, documents.c.id.is_(None))
        .group_by(judgments.c.document_id)
        .order_by(judgments.c.document_id)
    )
    return {row.document_id: row[1] for row in rows}


def _query_rows(query_set: QuerySet, set_id: int) -> Iterator[dict[str, Any]]:
    for query_id, text in query_set.queries.items():
        yield {"set_id": set_id, "id": query_id, "text": text}


def _judgment_rows(query_set: QuerySet, set_id: int) -> Iterator[dict[str, Any]]:
    for query_id, judged in query_set.judgments.items():
        for document_id, relevance in judged.items():
            yield {
                "set_id": set_id,
                "query_id": query_id,
                "document_id": document_id,
                "relevance": relevance,
            }


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _ROWS_AT_ONCE)):
        yield chunk
