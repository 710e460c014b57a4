"""The small corpus, for tests that only read it."""

from collections.abc import Iterator

import pytest
from small_corpus import small_corpus

from lockstep.bootstrap import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with small_corpus(tmp_path_factory.mktemp("small")) as opened:
        yield opened
