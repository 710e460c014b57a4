"""What integration tests share."""

from collections.abc import Iterator

import pytest
from postgresql_server import binaries, running

pytest.register_assert_rewrite("corpus_behaviour")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL is installed (Debian: `apt install postgresql`)")
    with running(folder) as url:
        yield url
