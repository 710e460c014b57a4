"""A corpus on a real SQLite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database

pytest.register_assert_rewrite("corpus_behaviour")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'lockstep.db'}")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def corpora(database: Database) -> Corpora:
    return Corpora(database)
