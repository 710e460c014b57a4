"""The API keys of a database: made, listed and revoked by commands, read by servers."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lockstep.actor import actor
from lockstep.audit import audit
from lockstep.corpus.api_key import LOCAL, ApiKey, Json, Scope, listed, new_key
from lockstep.corpus.database import Database
from lockstep.corpus.schema import api_keys
from lockstep.errors import InvalidInput, KeyExists, KeyNotFound

MAX_KEYS = 10_000  # in use: every server holds all of them in memory


@dataclass(frozen=True)
class KeysInUse:
    """Every key that is not revoked, and the state of the table that they were read from."""

    keys: Sequence[ApiKey]
    state: tuple[int, int]  # keys ever made, keys revoked: both only grow

    @property
    def any_ever(self) -> bool:
        return self.state[0] > 0


class ApiKeys:
    """The keys of one database; methods raise DatabaseUnavailable.

    `check_filter` raises InvalidFilter for a filter that could not be searched with.
    """

    def __init__(self, database: Database, check_filter: Callable[[Json], object]) -> None:
        self._database = database
        self._check_filter = check_filter

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        corpora: Collection[str] | None = None,
        filter: Json | None = None,
        rate_per_s: float | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns it and the text to hand out, which is nowhere else from here on.

        The corpora need not exist yet. Raises InvalidInput, InvalidFilter or KeyExists.
        """
        key, presented = new_key(
            name, scopes, corpora=corpora, filter=filter, rate_per_s=rate_per_s
        )
        if name == LOCAL:
            raise InvalidInput(f"'{LOCAL}' is the name of the key that servers make for commands.")
        if filter is not None:
            self._check_filter(filter)
            _require_condition(name, filter)
        try:
            with self._database.writing() as connection:
                in_use = connection.scalars(_IN_USE.with_only_columns(api_keys.c.name)).all()
                if name in in_use:
                    raise _exists(name)
                if len(in_use) >= MAX_KEYS:
                    raise InvalidInput(f"{MAX_KEYS:,} keys are in use, which is the most.")
                connection.execute(insert(api_keys).values(_row_of(key)))
        except IntegrityError as error:  # another process was faster
            raise _exists(name) from error
        audit("key create", "done", target=f"{name} ({listed(key.scopes)})")
        return key, presented

    def revoke(self, name: str) -> ApiKey:
        """End a key: servers refuse it within two seconds. Raises KeyNotFound."""
        now = time.time()
        with self._database.writing() as connection:
            row = connection.execute(_IN_USE.where(api_keys.c.name == name)).first()
            if row is None:
                raise KeyNotFound(
                    f"No key in use is named '{name[:80]}'.",
                    next_step="List them: lockstep key list",
                )
            revoked = {"revoked_at": now, "revoked_by": actor()}
            connection.execute(update(api_keys).where(api_keys.c.id == row.id).values(revoked))
        audit("key revoke", "done", target=name)
        return _key_of(row)

    def list(self) -> Sequence[ApiKey]:
        """Every key that ever was, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at))
            return [_key_of(row) for row in rows]

    def in_use(self, known: KeysInUse | None = None) -> KeysInUse:
        """The keys that are not revoked; `known` itself where nothing has changed since."""
        with self._database.reading() as connection:
            made, revoked = connection.execute(_STATE).one()
            if known is not None and known.state == (made, revoked):
                return known
            rows = connection.execute(_IN_USE)
            return KeysInUse([_key_of(row) for row in rows], (made, revoked))


_IN_USE = select(api_keys).where(api_keys.c.revoked_at.is_(None))
_STATE = select(func.count(), func.count(api_keys.c.revoked_at)).select_from(api_keys)


def _require_condition(name: str, filter: Json) -> None:
    """A filter without a condition matches everything: nobody means that."""
    open_ends: list[Any] = [filter]
    while open_ends:
        part = open_ends.pop()
        if isinstance(part, dict):
            if {"key", "has_id", "is_empty", "is_null", "nested"} & part.keys():
                return
            open_ends.extend(part.values())
        elif isinstance(part, list):
            open_ends.extend(part)
    raise InvalidInput(
        f"The filter of key '{name}' has no condition: it would match every document.",
        next_step='Give one, such as {"must": [{"key": "tenant", "match": {"value": "a"}}]}',
    )


def _exists(name: str) -> KeyExists:
    return KeyExists(
        f"A key named '{name}' is in use.",
        next_step=f"Choose another name, or end that one: lockstep key revoke {name}",
    )


def _row_of(key: ApiKey) -> Json:
    return {
        "id": key.id,
        "name": key.name,
        "secret_hash": key.secret_hash,
        "scopes": json.dumps(sorted(key.scopes)),
        "corpora": None if key.corpora is None else json.dumps(sorted(key.corpora)),
        "filter": None if key.filter is None else json.dumps(key.filter),
        "rate_per_s": key.rate_per_s,
        "created_at": key.created_at,
        "created_by": key.created_by,
    }


def _key_of(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(map(Scope, json.loads(row.scopes))),
        secret_hash=row.secret_hash,
        corpora=None if row.corpora is None else frozenset(json.loads(row.corpora)),
        filter=None if row.filter is None else json.loads(row.filter),
        rate_per_s=row.rate_per_s,
        created_at=row.created_at,
        created_by=row.created_by,
        revoked_at=row.revoked_at,
    )
