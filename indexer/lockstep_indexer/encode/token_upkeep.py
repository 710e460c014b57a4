"""Dropping what no model version and no corpus can ask for again."""

import sqlite3
from collections.abc import Iterable, Set
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lockstep_indexer.encode.token_file import TokenFile, delete, files, table

_UNWANTED = "key NOT IN (SELECT key FROM temp.wanted)"


@dataclass(frozen=True)
class Forgotten:
    """What was dropped, or would be."""

    families: int = 0
    documents: int = 0  # of the families that stay
    freed_bytes: int = 0
    damaged: bool = False  # a new, empty file takes the place of what could not be read


def forget(file: TokenFile, models: Set[str], keys: Iterable[int], *, dry_run: bool) -> Forgotten:
    """Drop the families of none of these models, and in the others all records but these."""
    with file.transaction("DEFERRED") as connection:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (key INTEGER PRIMARY KEY)")
        connection.execute("DELETE FROM temp.wanted")
        connection.executemany(
            "INSERT OR IGNORE INTO temp.wanted VALUES (?)", ((key,) for key in keys)
        )
    if dry_run:
        with file.transaction("DEFERRED") as connection:
            return _counted(connection, *_families(connection, models))
    before = file.used_bytes()
    with file.transaction() as connection:
        ours, others = _families(connection, models)
        for family in others:
            file.drop(family)
        documents = sum(_delete(connection, family) for family in ours)
    file.shrink()
    _delete_left_over(file)
    return Forgotten(len(others), documents, max(0, before - file.used_bytes()))


def look(path: Path) -> None:
    """Read a little of each family; a file that was cut short shows. Raises sqlite3.Error."""
    with closing(TokenFile(path, None).connection) as connection:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return  # empty: whoever writes next begins it
        for (family,) in connection.execute("SELECT id FROM families").fetchall():
            connection.execute(f"SELECT record FROM {table(family)} LIMIT 1").fetchall()


def _families(connection: sqlite3.Connection, models: Set[str]) -> tuple[list[int], list[int]]:
    """Those that one of the models uses, and the others."""
    ours: list[int] = []
    others: list[int] = []
    for (family,) in connection.execute("SELECT id FROM families").fetchall():
        uses = connection.execute("SELECT model FROM uses WHERE family = ?", (family,))
        (ours if any(model in models for (model,) in uses) else others).append(family)
    return ours, others


def _delete(connection: sqlite3.Connection, family: int) -> int:
    return connection.execute(f"DELETE FROM {table(family)} WHERE {_UNWANTED}").rowcount


def _counted(connection: sqlite3.Connection, ours: list[int], others: list[int]) -> Forgotten:
    unwanted = [_sums(connection, family, _UNWANTED) for family in ours]
    whole = [_sums(connection, family, "TRUE") for family in others]
    return Forgotten(
        families=len(others),
        documents=sum(documents for documents, _ in unwanted),
        freed_bytes=sum(size for _, size in unwanted + whole),
    )


def _sums(connection: sqlite3.Connection, family: int, condition: str) -> tuple[int, int]:
    """Records and their bytes."""
    sums = f"SELECT count(*), coalesce(sum(length(record)), 0) FROM {table(family)}"
    documents, size = connection.execute(f"{sums} WHERE {condition}").fetchone()
    return int(documents), int(size)


def _delete_left_over(file: TokenFile) -> None:
    """Files that were damaged, or of another layout, and that their process could not delete."""
    for path in files(file.path.parent):
        if path != file.path:
            delete(path)
