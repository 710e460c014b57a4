"""The one place where the errors of a database become Lockstep's."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import exc

from lockstep.errors import DatabaseUnavailable, IntegrityError, LockstepError, StorageFull

# SQLite's names for its result codes, and PostgreSQL's SQLSTATEs.
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "53100")
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "XX001", "XX002")
_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03")
_UNDEFINED_TABLE = "42P01"
_STATEMENT_WRONG = "SQLITE_ERROR"


@contextmanager
def translated(database: str) -> Iterator[None]:
    """Turn errors of the database engine into Lockstep's."""
    try:
        yield
    except exc.DBAPIError as error:
        known = _known(database, error)
        if known is None:
            raise
        raise known from error
    except exc.TimeoutError as error:
        raise DatabaseUnavailable(f"All connections to '{database}' are in use.") from error


def make_folder(folder: Path, *, for_database: str) -> None:
    """Create the folder of a database file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(for_database) from error
        raise DatabaseUnavailable(
            f"The folder of the database '{for_database}' cannot be created: {error}."
        ) from error


def _known(database: str, error: exc.DBAPIError) -> LockstepError | None:
    """The Lockstep error that says what happened; None for a mistake in a statement."""
    code, detail = _code(error), " ".join(str(error.orig).split())
    if code.startswith(_FULL):
        return _full(database)
    if code.startswith(_DAMAGED):
        return IntegrityError(f"The database '{database}' is damaged: {detail}.")
    if code.startswith(_LOCKED):
        return DatabaseUnavailable(
            f"Another process is writing to '{database}' and has not finished in time.",
            next_step="Try again once it has finished.",
        )
    if code == _UNDEFINED_TABLE or (code == _STATEMENT_WRONG and "no such table" in detail):
        return DatabaseUnavailable(
            f"The database '{database}' has no Lockstep tables yet.",
            next_step="Run `lockstep init`.",
        )
    outage = isinstance(error, (exc.OperationalError, exc.InterfaceError))
    if outage and code != _STATEMENT_WRONG:
        return DatabaseUnavailable(f"The database '{database}' does not answer: {detail}.")
    return None


def _code(error: exc.DBAPIError) -> str:
    return str(
        getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    )


def _full(database: str) -> StorageFull:
    return StorageFull(
        f"No space is left for the database '{database}'; nothing of this write was kept.",
        next_step="Free some space and run the same command again.",
    )
