"""What integration tests share."""

import os
from collections.abc import Iterator

import pytest
from postgresql_server import binaries, running

pytest.register_assert_rewrite("corpus_behaviour")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests, or of the one to use."""
    if url := os.environ.get("LOCKSTEP_TEST_POSTGRESQL_URL"):
        yield url
        return
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL is installed (Debian: `apt install postgresql`)")
    with running(folder) as url:
        yield url
