"""Who does something: the user of a process, or the key of a request."""

import os
from pathlib import Path

from lockstep.actor import actor, key_name
from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.index.catalog import IndexCatalog


def test_a_process_does_it_in_its_users_name_and_a_request_in_its_keys(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'lockstep.db'}")
    database.migrate()
    Corpora(database).create("docs")
    catalog = IndexCatalog(database)
    catalog.record("docs", "promote", "done", to_version=1)
    token = key_name.set("night-shift")
    try:
        catalog.record("docs", "rollback", "done", to_version=1)
    finally:
        key_name.reset(token)

    by_key, by_process = catalog.history("docs")
    assert by_key.actor == "key night-shift"
    assert by_process.actor == actor()
    assert by_process.actor.endswith(f", process {os.getpid()}")
    database.close()
