"""The corpus on a real PostgreSQL server."""

import threading
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from corpus_behaviour import CorpusBehaviour
from postgresql_server import fresh_database
from sqlalchemy import select, text

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Document
from lockstep.corpus.schema import corpora as tables
from lockstep.corpus.schema import documents
from lockstep.errors import DatabaseUnavailable
from lockstep.failpoints import arm, reached

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


class TestTheOrderOfCommits:
    """Numbers are taken in the order of commits: a follower that has seen one missed none."""

    def test_a_follower_never_passes_a_write_that_commits_later(self, corpora: Corpora) -> None:
        assert _missed_by_a_follower(corpora, "docs") == set()

    def test_a_sequence_in_its_place_would_lose_one(
        self, corpora: Corpora, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The test above can fail: with numbers from a sequence it does."""
        with database.writing() as connection:
            connection.execute(text("CREATE SEQUENCE numbers"))
        monkeypatch.setattr(Corpora, "write", _write_by_sequence)
        assert _missed_by_a_follower(corpora, "docs") == {"slow"}


def _missed_by_a_follower(corpora: Corpora, name: str) -> set[str]:
    """What a follower lacks after two writers at once, of whom the first commits last if it can."""
    corpora.create(name)
    took_a_number, commit = threading.Event(), threading.Event()

    def hold_the_slow_one(point: str) -> None:
        if point == "before the commit" and threading.current_thread().name == "slow":
            took_a_number.set()
            commit.wait()

    arm(hold_the_slow_one)
    slow, quick = (
        threading.Thread(target=corpora.write, args=(name, [Document(who, who)]), name=who)
        for who in ("slow", "quick")
    )
    try:
        slow.start()
        assert took_a_number.wait(30)
        quick.start()
        quick.join(1.0)  # it cannot end before the slow one commits; with a sequence it does
        seen = corpora.changes(name, 0)
    finally:
        commit.set()
        slow.join()
        quick.join()
        arm(None)
    seen += corpora.changes(name, seen[-1].seq if seen else 0)
    return {"slow", "quick"} - {change.document_id for change in seen}


def _write_by_sequence(self: Corpora, name: str, upserts: Sequence[Document]) -> None:
    """How a change log must not be written: no lock, and numbers that are not commit-ordered."""
    [document] = upserts
    with self._database.writing() as connection:
        number = connection.execute(text("SELECT nextval('numbers')")).scalar_one()
        row = {"id": document.id, "seq": number, "content_hash": document.content_hash}
        row |= {"title": "", "text": document.text, "metadata": "{}"}
        corpus = select(tables.c.id).where(tables.c.name == name).scalar_subquery()
        connection.execute(documents.insert().values(corpus_id=corpus, **row))
        reached("before the commit")


def test_a_database_without_tables_says_so(empty: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="no Lockstep tables"):
        Corpora(empty).names()


def test_a_server_that_does_not_answer_says_so() -> None:
    database = Database("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable, match="does not answer") as caught:
        Corpora(database).names()
    assert "secret" not in str(caught.value)
