"""The corpus on a real PostgreSQL server."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest
from corpus_behaviour import CorpusBehaviour
from postgresql_server import fresh_database

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.errors import DatabaseUnavailable

_NUMBERS = count()


@pytest.fixture
def empty(postgresql: str) -> Iterator[Database]:
    """A database without tables."""
    with fresh_database(postgresql, f"lockstep-{next(_NUMBERS)}") as url:
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def database(empty: Database) -> Database:
    empty.migrate()
    return empty


@pytest.fixture
def corpora(database: Database) -> Corpora:
    return Corpora(database)


class TestOnPostgresql(CorpusBehaviour):
    """Everything that a corpus does on every database."""


def test_several_may_migrate_at_once(empty: Database) -> None:
    failures: list[BaseException] = []

    def migrate() -> None:
        try:
            empty.migrate()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Corpora(empty).names() == []


def test_a_database_without_tables_says_so(empty: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="no Lockstep tables"):
        Corpora(empty).names()


def test_a_server_that_does_not_answer_says_so() -> None:
    database = Database("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable, match="does not answer") as caught:
        Corpora(database).names()
    assert "secret" not in str(caught.value)
