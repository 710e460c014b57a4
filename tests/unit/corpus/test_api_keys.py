"""API keys in a real database: made once, kept as a hash, ended for good."""

import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lockstep.corpus.api_key import ApiKey, Scope, hash_of, id_in, new_key
from lockstep.corpus.api_keys import ApiKeys
from lockstep.corpus.database import Database
from lockstep.errors import InvalidFilter, InvalidInput, KeyExists, KeyNotFound, LockstepError
from lockstep.store.filters import prefixed

TENANT = {"must": [{"key": "tenant", "match": {"value": "a"}}]}


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database, partial(prefixed, prefix="metadata."))


def test_a_key_opens_and_nothing_near_it_does(keys: ApiKeys) -> None:
    made, presented = keys.create("shop", [Scope.SEARCH])
    (kept,) = keys.in_use().keys

    assert kept == made
    assert kept.is_opened_by(presented)
    assert id_in(presented) == kept.id
    for wrong in (presented[:-1], presented + "0", presented.upper(), "", f"lsk_{kept.id}_"):
        assert not kept.is_opened_by(wrong)
    assert id_in(presented + "\n") is None


def test_the_database_never_holds_a_key(keys: ApiKeys, database: Database) -> None:
    key, presented = keys.create("shop", [Scope.SEARCH])
    keys.revoke("shop")
    database.close()
    secret = presented.rpartition("_")[2]
    folder = Path(database.name.removeprefix("sqlite:///")).parent

    assert any(hash_of(presented).encode() in path.read_bytes() for path in folder.iterdir())
    assert not any(secret.encode() in path.read_bytes() for path in folder.iterdir())
    assert key.secret_hash not in repr(key)


def test_everything_about_a_key_is_kept(keys: ApiKeys) -> None:
    made, _ = keys.create(
        "tenant", [Scope.SEARCH], corpora=["docs", "faq"], filter=TENANT, rate_per_s=2.5
    )

    assert list(keys.list()) == [made]
    assert sorted(made.corpora or ()) == ["docs", "faq"]
    assert (made.filter, made.rate_per_s) == (TENANT, 2.5)
    assert "process" in made.created_by


def test_a_revoked_key_is_gone_for_good_and_its_name_free(keys: ApiKeys) -> None:
    first, _ = keys.create("shop", [Scope.SEARCH])
    with pytest.raises(KeyExists, match="'shop' is in use"):
        keys.create("shop", [Scope.WRITE])
    keys.revoke("shop")
    with pytest.raises(KeyNotFound, match="No key in use is named 'shop'"):
        keys.revoke("shop")
    second, _ = keys.create("shop", [Scope.WRITE])

    assert [key.id for key in keys.in_use().keys] == [second.id]
    assert [(key.id, key.revoked_at is None) for key in keys.list()] == [
        (first.id, False),
        (second.id, True),
    ]


def test_of_two_that_make_a_name_at_once_one_wins(keys: ApiKeys) -> None:
    outcomes: list[str] = []

    def make() -> None:
        try:
            keys.create("shop", [Scope.SEARCH])
            outcomes.append("made")
        except KeyExists:
            outcomes.append("exists")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["exists"] * 3 + ["made"]


def test_the_database_itself_keeps_a_name_from_being_used_twice(
    keys: ApiKeys, database: Database
) -> None:
    keys.create("shop", [Scope.SEARCH])
    with sqlite3.connect(database.name.removeprefix("sqlite:///")) as connection:
        copy = "INSERT INTO api_keys SELECT 'x', name, secret_hash, scopes, corpora, filter, "
        copy += "rate_per_s, created_at, created_by, NULL, NULL FROM api_keys"
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(copy)
    connection.close()


def test_what_has_not_changed_is_not_read_again(keys: ApiKeys) -> None:
    keys.create("a", [Scope.SEARCH])
    first = keys.in_use()
    assert keys.in_use(first) is first
    keys.create("b", [Scope.SEARCH])
    second = keys.in_use(first)
    assert [key.name for key in second.keys] == ["a", "b"]
    keys.revoke("a")
    assert [key.name for key in keys.in_use(second).keys] == ["b"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": "Shop!"}, "'Shop!' cannot be the name"),
    "reserved": ({"name": "local"}, "for commands"),
    "no scope": ({"scopes": []}, "has no scope"),
    "filter and write": (
        {"scopes": [Scope.SEARCH, Scope.WRITE], "filter": TENANT},
        "scopes search, write; a key with a filter can have the scope search alone",
    ),
    "filter and admin": ({"scopes": [Scope.ADMIN], "filter": TENANT}, "scope search alone"),
    "filter and metrics": (
        {"scopes": [Scope.SEARCH, Scope.METRICS], "filter": TENANT},
        "scope search alone",
    ),
    "metrics of some": ({"scopes": [Scope.METRICS], "corpora": ["docs"]}, "name them all"),
    "no corpora": ({"corpora": []}, "confined to 0 corpora"),
    "corpus name": ({"corpora": ["Docs"]}, "'Docs' cannot name a corpus"),
    "empty filter": ({"filter": {}}, "has no condition"),
    "filter of nothing": ({"filter": {"must": [{"should": []}]}}, "has no condition"),
    "rate": ({"rate_per_s": -1.0}, "a rate of -1.0"),
    "rate NaN": ({"rate_per_s": float("nan")}, "a rate of nan"),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED)
def test_a_key_that_cannot_be_meant_is_not_made(
    keys: ApiKeys, change: dict[str, Any], says: str
) -> None:
    wanted = {"name": "shop", "scopes": [Scope.SEARCH], **change}
    with pytest.raises(LockstepError, match=says):
        keys.create(**wanted)
    assert list(keys.list()) == []


def test_a_filter_that_no_engine_reads_is_not_kept(keys: ApiKeys) -> None:
    with pytest.raises(InvalidFilter, match="at must"):
        keys.create("shop", [Scope.SEARCH], filter={"must": [{"key": "tenant", "match": 1}]})


def test_admin_is_every_scope_and_no_other_is_another() -> None:
    def held(scope: Scope) -> set[Scope]:
        key, _ = new_key("k", [scope])
        return {wanted for wanted in Scope if key.may(wanted)}

    assert held(Scope.ADMIN) == set(Scope)
    for scope in (Scope.SEARCH, Scope.WRITE, Scope.METRICS):
        assert held(scope) == {scope}


def test_a_stored_key_that_breaks_the_rules_is_not_read() -> None:
    with pytest.raises(InvalidInput):
        ApiKey("0" * 12, "k", frozenset({Scope.WRITE}), "0" * 64, filter=TENANT)
