"""Families of token records, and what is read from and written to them in one transaction each."""

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lockstep_indexer.encode.token_file import TokenFile, table


@dataclass(frozen=True)
class Family:
    """Records that one tokenizer and one way of cutting documents made."""

    digest: str
    model: str  # digest of the model version that asks for them


def enter(file: TokenFile, family: Family) -> None:
    """Note that the model version uses this family now."""
    with file.transaction() as connection:
        _entered(connection, family)


def read(file: TokenFile, family: Family, keys: Sequence[int]) -> dict[int, object]:
    with file.transaction("DEFERRED") as connection:  # which sees no family half dropped
        number = _number(connection, family)
        if number is None:
            return {}
        return dict(
            connection.execute(
                f"SELECT key, record FROM {table(number)} "
                "WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps(keys),),
            )
        )


def store(file: TokenFile, family: Family, rows: Sequence[tuple[int, bytes]]) -> None:
    with file.transaction() as connection:
        number = _entered(connection, family)
        connection.executemany(f"INSERT OR REPLACE INTO {table(number)} VALUES (?, ?)", rows)


def drop_oldest(file: TokenFile, *, before: float) -> bool:
    """Drop the family that was not used for the longest time; False where all were since then."""
    with file.transaction() as connection:
        oldest = connection.execute(
            "SELECT id FROM families WHERE used_at < ? ORDER BY used_at LIMIT 1", (before,)
        ).fetchone()
        if oldest is not None:
            file.drop(oldest[0])
    return oldest is not None


def _entered(connection: sqlite3.Connection, family: Family) -> int:
    connection.execute(
        "INSERT INTO families (digest, used_at) VALUES (?, ?) "
        "ON CONFLICT (digest) DO UPDATE SET used_at = excluded.used_at",
        (family.digest, time.time()),
    )
    number = _number(connection, family)
    if number is None:
        raise sqlite3.DatabaseError("a family is missing that was just entered")
    connection.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (number, family.model))
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table(number)} (key INTEGER NOT NULL, record BLOB NOT NULL)"
    )
    connection.execute(
        f"CREATE UNIQUE INDEX IF NOT EXISTS {table(number)}_key ON {table(number)} (key)"
    )
    return number


def _number(connection: sqlite3.Connection, family: Family) -> int | None:
    found = connection.execute("SELECT id FROM families WHERE digest = ?", (family.digest,))
    row = found.fetchone()
    return None if row is None else int(row[0])
