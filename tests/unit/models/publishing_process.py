"""Publishes one artefact after the other until it is killed; a test runs this file.

publishing_process.py ARTEFACTS
"""

import hashlib
import os
import sys
from itertools import count

from lockstep.models.artefacts import ArtefactStore
from lockstep.models.manifest import FileEntry, ModelManifest


def publish(store: ArtefactStore, content: bytes) -> None:
    entry = FileEntry(hashlib.sha256(content).hexdigest(), len(content))
    names = [f"{number}/model.safetensors" for number in range(20)]
    manifest = ModelManifest(
        files=dict.fromkeys(names, entry),
        dim=1,
        max_tokens=1,
        pooling="mean",
        normalised=True,
        similarity="cosine",
    )
    with store.staging() as staged:
        for name in names:
            path = staged / "files" / name
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        store.publish(staged / "files", manifest)


if __name__ == "__main__":
    store = ArtefactStore(sys.argv[1])
    for number in count():
        publish(store, os.urandom(1000) + bytes(number))
