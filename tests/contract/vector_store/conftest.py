"""One suite over every engine: what the port promises, each adapter keeps.

Runs on the embedded engine, on the client's in-memory engine, on the stand-in for a server over
HTTP, and on a real server where LOCKSTEP_TEST_QDRANT_URL names one.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from points import SCHEMA
from qdrant_stand_in import StandIn, running_stand_in
from vector_stores import ENGINES, fresh_name, open_store, tidied

from lockstep.store.port import VectorStore


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    with running_stand_in() as server:
        yield server


@pytest.fixture(params=ENGINES)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, stand_in: StandIn
) -> Iterator[VectorStore]:
    with closing(open_store(request.param, tmp_path, stand_in)) as opened, tidied(opened):
        yield opened


@pytest.fixture
def collection(store: VectorStore) -> str:
    name = fresh_name()
    store.create(name, SCHEMA, {})
    return name
