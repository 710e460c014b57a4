"""The database's transactions, and its failures in Lockstep's words, on real SQLite files."""

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from lockstep.corpus import database as module
from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Document
from lockstep.corpus.schema import corpora as table
from lockstep.errors import (
    DatabaseUnavailable,
    IntegrityError,
    InvalidSetting,
    StorageFull,
)


def file_of(database: Database) -> Path:
    return Path(database.name.removeprefix("sqlite:///"))


def stop_growing(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA max_page_count=40")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+asyncpg://",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="expected sqlite:///FILE or postgresql"):
        Database(url)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in Database("postgresql://me:secret@host/name").name
    with pytest.raises(InvalidSetting) as caught:
        Database("mysql://me:secret@host/name")
    assert "secret" not in str(caught.value)


def test_migrating_makes_the_folder(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'some' / 'where' / 'lockstep.db'}")
    database.migrate()
    database.close()
    assert (tmp_path / "some" / "where" / "lockstep.db").exists()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match="cannot be created"):
        Database(f"sqlite:///{tmp_path / 'file' / 'lockstep.db'}").migrate()


def test_acknowledged_writes_are_synced(database: Database) -> None:
    with database.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert values == ["wal", 2, 1, 30_000]


def test_a_writer_waits_for_the_one_before(database: Database) -> None:
    corpora = Corpora(database)
    corpora.create("docs")
    write = threading.Thread(target=corpora.write, args=("docs", [Document("a", "text")]))
    with database.writing() as connection:
        write.start()
        connection.execute(table.update().values(head_seq=10))
        write.join(0.2)
        assert write.is_alive()
    write.join()
    assert corpora.head_seq("docs") == 11


def test_a_lock_that_is_not_given_up_says_so(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    impatient = Database(database.name)
    with (
        database.writing(),
        pytest.raises(DatabaseUnavailable, match="Another process is writing"),
    ):
        Corpora(impatient).create("docs")
    impatient.close()


def test_a_full_disk_says_so_and_keeps_what_was_there(database: Database) -> None:
    corpora = Corpora(database)
    corpora.create("docs")
    corpora.write("docs", [Document("a", "text")])
    event.listen(database._engine, "begin", stop_growing)
    big = [Document(str(n), "x" * 4000) for n in range(100)]
    with pytest.raises(StorageFull, match="No space is left"):
        corpora.write("docs", big)
    assert (corpora.head_seq("docs"), corpora.count("docs")) == (1, 1)
    assert corpora.write("docs", [Document("b", "text")]).head_seq == 2


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "lockstep.db").write_bytes(b"anything else " * 1000)
    with pytest.raises(IntegrityError, match="damaged"):
        Database(f"sqlite:///{tmp_path / 'lockstep.db'}").migrate()


def test_a_database_without_tables_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="no Lockstep tables") as caught:
        Corpora(Database(f"sqlite:///{tmp_path / 'lockstep.db'}")).names()
    assert "lockstep init" in caught.value.next_step


def test_a_database_of_a_newer_lockstep_is_left_alone(database: Database) -> None:
    with sqlite3.connect(file_of(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(InvalidSetting, match=r"newer Lockstep has migrated .* to '9999'"):
        database.migrate()


def test_a_mistake_in_a_statement_is_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError, match="no such column"), database.reading() as connection:
        connection.exec_driver_sql("SELECT colour FROM corpora")
