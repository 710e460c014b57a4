"""The vector stores that a test of several processes can run on: one fixture, `engine`.

    from engines import Engine, engine        # in a test module or a conftest

    def test_something(engine: Engine, tmp_path: Path) -> None:
        root = engine.root(tmp_path / "ws", batch_documents=16)

The embedded engine always; the stand-in for a Qdrant server; and the server that
LOCKSTEP_TEST_QDRANT_URL names. Tests on that server take turns, and each begins and ends without
the collections of its corpus.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from live_qdrant import LIVE_GRPC_PORT, LIVE_URL, turn_on_live_qdrant
from qdrant_stand_in import running_stand_in
from workspaces import CORPUS, new_root

EMBEDDED, STAND_IN, LIVE = "embedded", "stand-in", "live"
SERVERS = (STAND_IN, *((LIVE,) if LIVE_URL else ()))
ENGINES = (EMBEDDED, *SERVERS)
# For tests that have nothing to gain from the stand-in.
REAL = (EMBEDDED, *((LIVE,) if LIVE_URL else ()))


@dataclass(frozen=True)
class Engine:
    """A vector store for a workspace, as the settings that name it."""

    name: str
    settings: dict[str, str | int] = field(default_factory=dict)

    @property
    def is_server(self) -> bool:
        """Whether several processes may have one collection open."""
        return self.name != EMBEDDED

    def root(self, folder: Path, **settings: int | str) -> Path:
        """An initialised workspace folder on this engine."""
        return new_root(folder, **self.settings, **settings)


@contextmanager
def running_engine(name: str) -> Iterator[Engine]:
    """The engine of this name, fresh, until the block ends."""
    if name == EMBEDDED:
        yield Engine(name)
    elif name == STAND_IN:
        with running_stand_in() as server:
            yield _engine(name, server.url, 0)
    else:
        with turn_on_live_qdrant(CORPUS) as url:
            yield _engine(name, url, LIVE_GRPC_PORT)


def _engine(name: str, url: str, grpc_port: int) -> Engine:
    return Engine(name, {"store_url": url, "store_grpc_port": grpc_port})


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine in turn."""
    with running_engine(request.param) as running:
        yield running


@pytest.fixture(params=SERVERS)
def server_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every engine that several processes may write to at once."""
    with running_engine(request.param) as running:
        yield running


@pytest.fixture(params=REAL)
def real_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The embedded engine, and the live server where there is one."""
    with running_engine(request.param) as running:
        yield running
