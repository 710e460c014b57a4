"""How a Qdrant server is reached, and how its collections are laid out."""

import math
import warnings
from dataclasses import dataclass

from qdrant_client import QdrantClient

# How long a build waits for a server that has gone: a restart that loads large collections.
PATIENCE_S = 600.0


@dataclass(frozen=True)
class ServerOptions:
    """What a store on a Qdrant server needs to know; docs/production-engines.md explains each.

    `grpc_port` 0: everything over HTTP. `timeout_s` holds for one request of a build;
    `search_timeout_s` for a search, retries included; `patience_s` for how long writes are tried
    again while the server does not answer.
    """

    url: str = "http://127.0.0.1:6333"
    api_key: str | None = None
    grpc_port: int = 6334
    timeout_s: int = 60
    search_timeout_s: float = 5.0
    patience_s: float = PATIENCE_S
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1
    on_disk: bool = False

    def client(self) -> QdrantClient:
        """A client whose requests take as long as those of a build may."""
        return self._client(self.timeout_s)

    def search_client(self) -> QdrantClient:
        """A client whose requests give up when a search has to."""
        # The client counts in whole seconds; the deadline itself is kept by the store.
        return self._client(math.ceil(self.search_timeout_s))

    def _client(self, timeout_s: int) -> QdrantClient:
        with warnings.catch_warnings():
            # A key over plain http is the user's choice, on a private network say.
            warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
            return QdrantClient(
                url=self.url,
                api_key=self.api_key,
                timeout=timeout_s,
                prefer_grpc=self.grpc_port > 0,
                grpc_port=self.grpc_port or 6334,
                check_compatibility=False,
            )
