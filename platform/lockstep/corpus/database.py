"""The database: connections, transactions, migrations, and its errors in Lockstep's words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import ArgumentError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from lockstep.corpus import migrating
from lockstep.corpus.database_errors import make_folder, translated
from lockstep.errors import InvalidSetting

BUSY_TIMEOUT_S = 30
_WRITES = {"lockstep_writes": True}

# With synchronous=FULL a commit returns after the fsync of the log: an acknowledged write survives
# a power cut. NORMAL would only survive a crash of the process.
_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY")


class Database:
    """One SQLite file or one PostgreSQL database; safe to use from several threads.

    Nothing is opened before the first transaction. Raises InvalidSetting for any other URL.
    """

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._engine = _engine(self._url)
        self.name = _shown(self._url)

    def migrate(self) -> None:
        """Create or update the tables; any number of processes may do so at once.

        Raises InvalidSetting where a newer Lockstep has already updated them further.
        """
        if self.is_sqlite:
            make_folder(Path(str(self._url.database)).parent, for_database=self.name)
        with self.reading() as connection:
            if migrating.is_current(connection):
                return
        with self.writing() as connection:
            migrating.upgrade(connection)

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database from its first read on."""
        with translated(self.name), self._engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or not at all.

        SQLite has one writer at a time: the block starts once it is this one's turn.
        """
        with translated(self.name), self._engine.connect() as connection:
            connection = connection.execution_options(**_WRITES)
            with connection.begin():
                yield connection

    def insert(self, table: Table) -> sqlite_dialect.Insert | postgresql.Insert:
        """An INSERT of this database's dialect, which offers `on_conflict_do_update`."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Close every connection that no transaction holds."""
        self._engine.dispose()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: what fails to be a port may be half of a password.
        raise _unusable("The text given") from None
    if parsed.host and "@" in parsed.host:
        raise InvalidSetting(
            "The database URL holds more than one '@'.",
            next_step="Percent-encode the password in it: %40 is '@', %2F is '/', %3A is ':'.",
        )
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    in_memory = parsed.database in (None, "", ":memory:") or "mode" in parsed.query
    if parsed.drivername == "postgresql+psycopg" or (
        parsed.drivername == "sqlite" and not in_memory
    ):
        return parsed
    raise _unusable(f"'{_shown(parsed)}'")


def _shown(url: URL) -> str:
    """A URL without its secrets; the driver takes passwords from its query as well."""
    query = {key: "***" if "pass" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _unusable(what: str) -> InvalidSetting:
    return InvalidSetting(
        f"{what} is not a database URL that Lockstep can use; "
        "expected sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
    )


def _engine(url: URL) -> Engine:
    try:
        if url.drivername == "sqlite":
            engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, **_ENGINE)
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        return create_engine(url, pool_pre_ping=True, connect_args=_PATIENCE, **_ENGINE)
    except ModuleNotFoundError as error:
        raise InvalidSetting(
            "PostgreSQL needs the driver 'psycopg', which is not installed.",
            next_step="Run `pip install 'lockstep[postgres]'`.",
        ) from error


# A server that is cut off must not hold its callers for the kernel's two hours. Seconds, and the
# last one milliseconds.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_ENGINE: dict[str, Any] = {
    # More than the worker threads of a server, so that none waits for a connection.
    "pool_size": 8,
    "max_overflow": 56,
    # What people wrote and asked stays out of messages about failed statements.
    "hide_parameters": True,
}


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 opens no transactions; _begin_sqlite does
    _use_wal(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to a write-ahead log, if it has none: readers and a writer at once."""
    # SQLite does not wait where two processes switch a new file at once, whatever its timeout.
    for attempt in Retrying(
        retry=retry_if_exception(_is_busy),
        stop=stop_after_delay(BUSY_TIMEOUT_S),
        wait=wait_random(0, 0.05),
        reraise=True,
    ):
        with attempt:
            connection.execute("PRAGMA journal_mode=WAL")


def _is_busy(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer: SQLite
    # refuses it at once. So writers queue at BEGIN.
    writes = connection.get_execution_options().get("lockstep_writes", False)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
