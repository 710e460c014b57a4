"""The Qdrant server that LOCKSTEP_TEST_QDRANT_URL names, where it names one.

Over HTTP, unless LOCKSTEP_TEST_QDRANT_GRPC_PORT gives the port of its gRPC.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from qdrant_client import QdrantClient, models

LIVE_URL = os.environ.get("LOCKSTEP_TEST_QDRANT_URL", "")
LIVE_GRPC_PORT = int(os.environ.get("LOCKSTEP_TEST_QDRANT_GRPC_PORT", "0"))


@contextmanager
def turn_on_live_qdrant(corpus: str) -> Iterator[str]:
    """The server's URL, without anything of this corpus at the start and at the end.

    One test at a time, over all processes of a run: they all call their corpus the same.
    """
    with (Path(tempfile.gettempdir()) / "lockstep-live-qdrant.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _wipe(corpus)
        try:
            yield LIVE_URL
        finally:
            _wipe(corpus)


def _wipe(corpus: str) -> None:
    with closing(QdrantClient(url=LIVE_URL, check_compatibility=False)) as client:
        if any(alias.alias_name == corpus for alias in client.get_aliases().aliases):
            deletion = models.DeleteAlias(alias_name=corpus)
            client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=deletion)])
        for collection in client.get_collections().collections:
            if re.fullmatch(rf"{re.escape(corpus)}--v\d+", collection.name):
                client.delete_collection(collection.name)
