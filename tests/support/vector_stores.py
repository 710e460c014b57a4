"""The vector stores that the contract suite runs on."""

import uuid
from pathlib import Path

from live_qdrant import LIVE_GRPC_PORT, LIVE_URL
from qdrant_client import QdrantClient
from qdrant_stand_in import StandIn

from lockstep.errors import StoreUnavailable
from lockstep.store.edge import EdgeStore
from lockstep.store.port import VectorStore
from lockstep.store.qdrant import QdrantStore, connect
from lockstep.store.qdrant_options import ServerOptions

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
    return f"test-{uuid.uuid4().hex[:12]}"


def remove_all(store: VectorStore) -> None:
    try:
        names = [name for name in store.collections() if name.startswith("test-")]
    except StoreUnavailable:
        return  # a test closed it
    targets = store.aliases().values()
    for name in names:
        if name not in targets:
            store.drop(name)
