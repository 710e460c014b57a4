"""The folder of an embedded collection: the engine's shard, and a marker that says whose it is.

The engine opens what is left of a shard in silence, so the marker names the collection's id and
the segments that must be there.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from lockstep.store.edge_errors import damaged
from lockstep.store.edge_manifest import sync_folder


class CollectionFolder:
    def __init__(self, collection: str, path: Path) -> None:
        self.collection = collection
        self.path = path
        self.shard = path / "shard"
        self._marker = path / "marker.json"

    def clear(self) -> None:
        """Leave an empty folder where a killed create or drop may have left another."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.shard.mkdir(parents=True)

    def mark(self, entry_id: str, *, segments: bool) -> None:
        """Write the marker; without segments where they are about to change."""
        names = self._segments() if segments else None
        temporary = self._marker.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump({"id": entry_id, "segments": names}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._marker)
        sync_folder(self.path)
        sync_folder(self.path.parent)

    def verify(self, entry_id: str) -> None:
        """Raise CollectionDamaged where the folder is not the one that was created."""
        marker = self._read_marker()
        if marker.get("id") != entry_id:
            raise damaged(self.collection, f"is not what lies in '{self.path}'")
        there = self._segments()
        lost = set(marker.get("segments") or []) - set(there)
        if lost or not there:
            raise damaged(self.collection, f"has lost {len(lost) or 'all'} of its segments")

    def _read_marker(self) -> dict[str, Any]:
        try:
            marker = json.loads(self._marker.read_bytes())
        except FileNotFoundError as error:
            raise damaged(self.collection, f"has lost its folder '{self.path}'") from error
        except ValueError as error:
            raise damaged(self.collection, f"has a broken marker '{self._marker}'") from error
        return marker if isinstance(marker, dict) else {}

    def _segments(self) -> list[str]:
        folder = self.shard / "segments"
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())

    def used_bytes(self) -> int:
        """What the folder takes on the device, sparse files counted as they are."""
        files = (file.stat() for file in self.path.rglob("*") if file.is_file())
        return sum(stat.st_blocks * 512 for stat in files)
