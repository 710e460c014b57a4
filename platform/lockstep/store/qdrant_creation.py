"""How a collection comes to be on a Qdrant server."""

from qdrant_client import QdrantClient, models

from lockstep.errors import StoreUnavailable
from lockstep.store.port import CollectionSchema
from lockstep.store.qdrant_errors import ENGINE_ERRORS, is_existing
from lockstep.store.qdrant_options import ServerOptions
from lockstep.store.qdrant_requests import sparse_vectors_config, vectors_config

# Older ones take a conditional upsert, and forget the condition.
_OLDEST_SERVER = (1, 16)


def require_version(version: str) -> None:
    """Raises StoreUnavailable where the server is too old."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < _OLDEST_SERVER:
        raise StoreUnavailable(
            f"The Qdrant server is version {version}; expected 1.16 or newer.",
            next_step="Upgrade the Qdrant server.",
        )


class Creation:
    """The creation of one collection, which may take several attempts."""

    def __init__(
        self,
        client: QdrantClient,
        schema: CollectionSchema,
        metadata: dict[str, str],
        options: ServerOptions,
    ) -> None:
        self._client = client
        self._schema = schema
        self._metadata = metadata
        self._options = options
        self._attempts = 0

    def attempt(self, name: str) -> None:
        """Create it; fine where an earlier attempt did, and its answer was lost."""
        self._attempts += 1
        try:
            self._create(name)
        except ENGINE_ERRORS as error:
            if self._attempts == 1 or not is_existing(error) or not self._is_ours(name):
                raise

    def _is_ours(self, name: str) -> bool:
        return self._client.get_collection(name).config.metadata == self._metadata

    def _create(self, name: str) -> None:
        options = self._options
        self._client.create_collection(
            name,
            vectors_config=vectors_config(self._schema, on_disk=options.on_disk),
            sparse_vectors_config=sparse_vectors_config(on_disk=options.on_disk),
            shard_number=options.shards,
            replication_factor=options.replicas,
            write_consistency_factor=options.write_consistency,
            on_disk_payload=options.on_disk,
            # No graph while points are loaded; `optimize` builds it in one go.
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
            metadata=self._metadata,
        )
