"""The one place where the errors of a database become Lockstep's."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import exc

from lockstep.errors import DatabaseUnavailable, IntegrityError, LockstepError, StorageFull

_FULL = ("database or disk is full", "No space left on device")
_DAMAGED = ("file is not a database", "database disk image is malformed")
_NOT_MIGRATED = ("no such table", "UndefinedTable")
_DISK_FULL_STATE = "53100"  # PostgreSQL's SQLSTATE disk_full


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


def _known(database: str, error: exc.DBAPIError) -> LockstepError | None:
    """The Lockstep error that says what happened; None for a mistake in a statement."""
    text = f"{type(error.orig).__name__}: {error.orig}"
    if getattr(error.orig, "sqlstate", None) == _DISK_FULL_STATE or _any(_FULL, text):
        return _full(database)
    if _any(_DAMAGED, text):
        return IntegrityError(f"The database '{database}' is damaged: {error.orig}.")
    if "database is locked" in text:
        return DatabaseUnavailable(
            f"Another process is writing to '{database}' and has not finished in time.",
            next_step="Try again once it has finished.",
        )
    if _any(_NOT_MIGRATED, text):
        return DatabaseUnavailable(
            f"The database '{database}' has no Lockstep tables yet.",
            next_step="Run `lockstep init`.",
        )
    if isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        detail = " ".join(str(error.orig).split())
        return DatabaseUnavailable(f"The database '{database}' does not answer: {detail}.")
    return None


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


def _full(database: str) -> StorageFull:
    return StorageFull(
        f"No space is left for the database '{database}'; nothing of this write was kept.",
        next_step="Free some space and run the same command again.",
    )


def _any(parts: tuple[str, ...], text: str) -> bool:
    return any(part in text for part in parts)
