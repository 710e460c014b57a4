"""The query log: sampled searches as they come, and what was clicked of their answers.

The words of a query are kept with a digest by which equal queries are found. Redacted, only the
digest is kept, and made with a random key of 256 bits that lies in a file and never in the
database: without it nobody can try out short queries until a digest agrees. Servers that share a
database share that file, or equal queries of theirs look different.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, func, insert, select

from lockstep.corpus.database import Database
from lockstep.corpus.documents import shown
from lockstep.corpus.schema import clicks, corpora, searches
from lockstep.errors import InvalidInput, InvalidSetting, SearchNotFound
from lockstep.settings import QueryLogSettings

_KEY_BYTES = 32
_LONGEST_KEY_BYTES = 64  # of BLAKE2b
_FORGET_AT_ONCE = 500
_DAY_S = 86_400.0


def new_search_id() -> str:
    """An id that cannot be guessed: who has it has seen the answer."""
    return uuid4().hex


@dataclass(frozen=True)
class LoggedSearch:
    """One search that was answered."""

    id: str
    corpus: str
    query: str | None  # None: redacted, or kept for its clicks alone
    mode: str
    number: int  # of the index version that answered; of the live one where interleaved
    arm: str  # live, candidate, interleaved
    documents: Sequence[str]  # as shown, best first
    took_ms: float
    trial_id: int | None = None
    teams: Sequence[str] | None = None  # whose each document is, where interleaved
    at: float = field(default_factory=time.time)  # seconds since 1970


@dataclass(frozen=True)
class Shown:
    """What one interleaved search showed, and which of it was clicked."""

    documents: Sequence[str]
    teams: Sequence[str]
    clicked: frozenset[str]


class QueryLog:
    """The searches that one database keeps. Nothing here decides which ones are kept."""

    def __init__(self, database: Database, settings: QueryLogSettings, key_file: Path) -> None:
        self._database = database
        self.settings = settings
        self._key_file = key_file
        self._key: bytes | None = None
        self._made_at, self._made = time.time(), time.monotonic()

    def require_key(self) -> None:
        """Have the key at hand, where searches are redacted. Raises InvalidSetting."""
        if self.settings.redact and self._key is None:
            self._key = _read_or_make_key(self._key_file)

    def write(self, entries: Sequence[LoggedSearch]) -> None:
        """Keep searches, in one transaction; those of corpora that are gone are left out."""
        with self._database.writing() as connection:
            names = {entry.corpus for entry in entries}
            found = select(corpora.c.name, corpora.c.id).where(corpora.c.name.in_(names))
            ids = {row.name: row.id for row in connection.execute(found)}
            rows = [self._row(entry, ids[entry.corpus]) for entry in entries if entry.corpus in ids]
            if rows:
                connection.execute(insert(searches), rows)

    def get(self, corpus: str, search_id: str) -> LoggedSearch:
        """One search that was kept. Raises SearchNotFound."""
        with self._database.reading() as connection:
            return _found(connection, corpus, search_id)

    def click(self, corpus: str, search_id: str, document_id: str) -> None:
        """Keep that somebody chose a document of an answer; the same again changes nothing.

        Raises SearchNotFound, or InvalidInput where the answer did not hold the document.
        """
        with self._database.writing() as connection:
            search = _found(connection, corpus, search_id)
            if document_id not in search.documents:
                raise InvalidInput(
                    f"Document '{shown(document_id)}' was not in the answer to search {search_id}; "
                    f"it held {len(search.documents)} documents.",
                    next_step="Send the document_id of a hit, and the search_id of its answer.",
                )
            row = {"search_id": search_id, "document_id": document_id, "at": time.time()}
            connection.execute(self._database.insert(clicks).values(row).on_conflict_do_nothing())

    def sample(self, corpus: str, count: int) -> list[str]:
        """Up to `count` different queries, none of them redacted.

        A query comes the likelier the more often it was asked. As the ids of searches are random,
        taking the least of them is a fair draw, and the same one until searches come or go.
        """
        statement = (
            select(searches.c.query)
            .join(corpora)
            .where(corpora.c.name == corpus, searches.c.query.is_not(None))
            .group_by(searches.c.query)
            .order_by(func.min(searches.c.id))
            .limit(count)
        )
        with self._database.reading() as connection:
            return [query for query in connection.scalars(statement) if query is not None]

    def count(self, corpus: str) -> int:
        """How many searches of a corpus are kept."""
        statement = select(func.count()).select_from(searches).join(corpora)
        with self._database.reading() as connection:
            return connection.execute(statement.where(corpora.c.name == corpus)).scalar_one()

    def interleaved(self, trial_id: int) -> list[Shown]:
        """The interleaved searches of a trial that were clicked at least once."""
        statement = (
            select(searches.c.id, searches.c.ranking, clicks.c.document_id)
            .join_from(searches, clicks)
            .where(searches.c.trial_id == trial_id, searches.c.arm == "interleaved")
        )
        rankings: dict[str, Any] = {}
        clicked: dict[str, set[str]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(statement):
                rankings[row.id] = row.ranking
                clicked.setdefault(row.id, set()).add(row.document_id)
        parsed = {search_id: json.loads(ranking) for search_id, ranking in rankings.items()}
        return [
            Shown(ranking["documents"], ranking["teams"], frozenset(clicked[search_id]))
            for search_id, ranking in parsed.items()
        ]

    def forget_old(self) -> int:
        """Delete what is older than the settings allow, clicks too; returns how many searches.

        A clock that jumps ahead while this process runs makes nothing old.
        """
        now = min(time.time(), self._made_at + time.monotonic() - self._made)
        before = now - self.settings.days * _DAY_S
        forgotten = 0
        while True:  # a few at a time: no writer waits long
            with self._database.writing() as connection:
                old = select(searches.c.id).where(searches.c.at < before).limit(_FORGET_AT_ONCE)
                ids = connection.scalars(old).all()
                if ids:
                    connection.execute(delete(clicks).where(clicks.c.search_id.in_(ids)))
                    connection.execute(delete(searches).where(searches.c.id.in_(ids)))
            forgotten += len(ids)
            if len(ids) < _FORGET_AT_ONCE:
                return forgotten

    def digest(self, query: str) -> str:
        """A digest of a query, keyed where redacted; upper case and space make no difference."""
        self.require_key()
        plain = " ".join(query.casefold().split())
        return hashlib.blake2b(
            plain.encode(errors="replace"), key=self._key or b"", digest_size=32
        ).hexdigest()

    def _row(self, entry: LoggedSearch, corpus_id: int) -> dict[str, Any]:
        ranking: dict[str, Any] = {"documents": list(entry.documents)}
        if entry.teams is not None:
            ranking["teams"] = list(entry.teams)
        query = entry.query
        return {
            "id": entry.id,
            "corpus_id": corpus_id,
            "at": entry.at,
            "query": None if self.settings.redact or query is None else _storable(query),
            "query_digest": "" if query is None else self.digest(query),
            "mode": entry.mode,
            "number": entry.number,
            "trial_id": entry.trial_id,
            "arm": entry.arm,
            "ranking": json.dumps(ranking),
            "took_ms": entry.took_ms,
        }


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and neither database a lone surrogate."""
    return text.replace("\x00", " ").encode(errors="replace").decode()


def _found(connection: Connection, corpus: str, search_id: str) -> LoggedSearch:
    statement = select(searches).join(corpora).where(corpora.c.name == corpus)
    known = _storable(search_id)
    row = connection.execute(statement.where(searches.c.id == known)).first()
    if row is None:
        raise SearchNotFound(
            f"No search '{shown(known)}' of corpus '{corpus}' is kept.",
            next_step="Send the search_id of an answer; it is null where the search was not "
            "logged (query_log.share in lockstep.toml), and forgotten after query_log.days.",
        )
    return _logged(corpus, row)


def _logged(corpus: str, row: Row[Any]) -> LoggedSearch:
    ranking = json.loads(row.ranking)
    return LoggedSearch(
        id=row.id,
        corpus=corpus,
        query=row.query,
        mode=row.mode,
        number=row.number,
        arm=row.arm,
        documents=ranking["documents"],
        took_ms=row.took_ms,
        trial_id=row.trial_id,
        teams=ranking.get("teams"),
        at=row.at,
    )


def _read_or_make_key(path: Path) -> bytes:
    try:
        _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise InvalidSetting(
            f"query_log.redact needs a key, and {path} can neither be read nor made: {error}.",
            next_step="Set query_log.key_path to a file that this server may read "
            "(head -c 32 /dev/urandom > FILE), or query_log.redact to false.",
        ) from error
    if not _KEY_BYTES <= len(key) <= _LONGEST_KEY_BYTES:
        raise InvalidSetting(
            f"The key in {path} has {len(key)} bytes; expected {_KEY_BYTES} to "
            f"{_LONGEST_KEY_BYTES}.",
            next_step="Make another: head -c 32 /dev/urandom > FILE",
        )
    return key


def _make_key(path: Path) -> None:
    """Make the key where there is none; of two processes that do so at once, the first wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
