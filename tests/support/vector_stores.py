"""The vector stores that the contract suite runs on."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live_qdrant import LIVE_GRPC_PORT, LIVE_URL
from qdrant_client import QdrantClient
from qdrant_stand_in import StandIn

from lockstep.errors import StoreUnavailable
from lockstep.store.edge import EdgeStore
from lockstep.store.port import VectorStore
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

_OURS = f"test-{uuid.uuid4().hex[:6]}-"  # this process's
ENGINES = ["edge", "memory", "stand-in", *(["live"] if LIVE_URL else [])]


def open_store(engine: str, folder: Path, stand_in: StandIn) -> VectorStore:
    if engine == "edge":
        return EdgeStore(folder / "vectors")
    if engine == "memory":
        return QdrantStore(QdrantClient(":memory:"))
    if engine == "stand-in":
        return connect(ServerOptions(stand_in.url, grpc_port=0))
    return connect(ServerOptions(LIVE_URL, grpc_port=LIVE_GRPC_PORT))


def fresh_name() -> str:
    return f"{_OURS}{uuid.uuid4().hex[:12]}"


@contextmanager
def tidied(store: VectorStore) -> Iterator[VectorStore]:
    """Drops what is made meanwhile: other tests, and other processes, may use the same server."""
    before = set(store.collections())
    yield store
    try:
        made = [name for name in store.collections() if name.startswith(_OURS)]
    except StoreUnavailable:
        return  # a test closed it
    kept = before.union(store.aliases().values())
    for name in made:
        if name not in kept:
            store.drop(name)
