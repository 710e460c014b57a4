"""API keys on a real PostgreSQL server, where writers do not queue as they do on SQLite."""

import threading
from functools import partial

from postgresql_server import fresh_database

from lockstep.corpus.api_key import Scope
from lockstep.corpus.api_keys import ApiKeys
from lockstep.corpus.database import Database
from lockstep.errors import KeyExists
from lockstep.store.filters import prefixed


def test_of_many_that_make_a_name_at_once_one_wins_and_it_can_be_ended(postgresql: str) -> None:
    with fresh_database(postgresql, "lockstep-keys") as url:
        database = Database(url)
        database.migrate()
        keys = ApiKeys(database, partial(prefixed, prefix="metadata."))
        start, outcomes = threading.Barrier(8), list[str]()

        def make() -> None:
            start.wait()
            try:
                keys.create("shop", [Scope.SEARCH], corpora=["docs"], rate_per_s=0.5)
                outcomes.append("made")
            except KeyExists:
                outcomes.append("exists")

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["exists"] * 7 + ["made"]
        known = keys.in_use()
        assert keys.in_use(known) is known
        keys.revoke("shop")
        assert (keys.in_use(known).keys, keys.in_use().any_ever) == ([], True)
        keys.create("shop", [Scope.WRITE])
        assert len(keys.list()) == 2
        database.close()
