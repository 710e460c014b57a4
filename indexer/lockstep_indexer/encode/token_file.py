"""The file of the token cache: an SQLite database in a folder of its own."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

# Whoever waits longer for another process goes on without the cache.
BUSY_TIMEOUT_S = 10

PAGE_BYTES = 4096

_NAME = re.compile(r"v(\d+)-(\d+)\.db")  # layout and number; other files are somebody else's
_LAYOUT = 1  # of the tables; files of another layout are left alone until gc finds them

# A commit outlives the process and not a power cut, after which only the last ones are missing.
# Pages that are freed can be given back to the disk, and damaged ones are told rather than read.
_PRAGMAS = (
    f"page_size={PAGE_BYTES}",
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    "cell_size_check=ON",
    f"journal_size_limit={64 << 20}",
)

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS families "
    "(id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT UNIQUE NOT NULL, used_at REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS uses "
    "(family INTEGER NOT NULL, model TEXT NOT NULL, PRIMARY KEY (family, model)) WITHOUT ROWID",
    "PRAGMA user_version=1",
)


class TokenFile:
    """One database of a folder; nothing but it is in use. Raises sqlite3.Error throughout."""

    def __init__(self, path: Path, max_bytes: int | None) -> None:
        """Without a limit it is only read, and nothing of it changes."""
        self.path = path
        read_only = max_bytes is None
        self.connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro" if read_only else path,
            uri=read_only,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self.connection.text_factory = _text
        try:
            if max_bytes is not None:
                self._prepare()
                self.limit(max_bytes)
        except sqlite3.Error:
            self.connection.close()
            raise

    def limit(self, max_bytes: int) -> None:
        """From then on the file grows to so much, or what it has already; SQLITE_FULL after."""
        self.connection.execute(f"PRAGMA max_page_count={max(1, max_bytes // PAGE_BYTES)}")

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        self.connection.execute(f"BEGIN {kind}")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # which a full disk has rolled back already
                self.connection.execute("ROLLBACK")
            raise

    def drop(self, family: int) -> None:
        """Within a transaction. The pages are used again, or given back by `shrink`."""
        self.connection.execute(f"DROP TABLE IF EXISTS {table(family)}")
        for statement in ("DELETE FROM uses WHERE family = ?", "DELETE FROM families WHERE id = ?"):
            self.connection.execute(statement, (family,))

    def shrink(self) -> None:
        """Give free pages back to the disk."""
        self.connection.executescript("PRAGMA incremental_vacuum")  # `execute` frees one page
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def used_bytes(self) -> int:
        """Of the pages that hold something."""
        pages, free = (
            int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count")
        )
        return (pages - free) * PAGE_BYTES

    def _prepare(self) -> None:
        for pragma in _PRAGMAS:
            self._configure(pragma)
        if not self.connection.execute("PRAGMA user_version").fetchone()[0]:
            with self.transaction():
                for statement in _SCHEMA:
                    self.connection.execute(statement)

    @retry(
        retry=retry_if_exception(lambda error: _code(error) == sqlite3.SQLITE_BUSY),
        stop=stop_after_delay(BUSY_TIMEOUT_S),
        wait=wait_random(0, 0.05),
        reraise=True,
    )
    def _configure(self, pragma: str) -> None:
        """SQLite does not wait by itself where two processes make the same new file."""
        self.connection.execute(f"PRAGMA {pragma}").fetchall()


def _text(stored: bytes) -> str:
    """Damaged text is no reason to do without the rest."""
    return stored.decode(errors="replace")


def table(family: int) -> str:
    """A table for each family: dropping it touches few pages, deleting its rows all of them."""
    return f"records_{family}"


def newest_path(folder: Path) -> Path | None:
    ours = [path for path in files(folder) if _numbers(path)[0] == _LAYOUT]
    return max(ours, key=_numbers, default=None)


def files(folder: Path) -> list[Path]:
    """The databases of token caches, of whichever layout."""
    return [path for path in folder.glob("v*.db") if _NAME.fullmatch(path.name)]


def _numbers(path: Path) -> tuple[int, int]:
    layout, number = path.stem.removeprefix("v").split("-")
    return int(layout), int(number)


def following_path(folder: Path, path: Path | None) -> Path:
    """The name after this one, or the first.

    A damaged file is not replaced under its own name, which other processes may still be using:
    SQLite would take their write-ahead log for that of the new one.
    """
    number = 0 if path is None else _numbers(path)[1]
    return folder / f"v{_LAYOUT}-{number + 1:05}.db"


def delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def is_damaged(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: Exception) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
