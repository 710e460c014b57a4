"""The folder of an embedded collection: the engine's shard, and a marker that says whose it is.

The engine opens what is left of a shard in silence, so the marker names the collection's id and
the segments that must be there. It also names the folder of the shard: a copy that was optimised
takes the shard's place by one write of the marker.
"""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

from lockstep.store.edge_errors import damaged
from lockstep.store.edge_manifest import sync_folder

# One is in use; the other is free for a copy.
_SHARDS = ("shard", "shard-copy")
_COPY_BYTES = 4 << 20


class CollectionFolder:
    def __init__(self, collection: str, path: Path) -> None:
        self.collection = collection
        self.path = path
        self.shard = path / _SHARDS[0]
        self._marker = path / "marker.json"

    @property
    def copy(self) -> Path:
        """Where a copy of the shard is made."""
        return self.path / _SHARDS[self.shard.name == _SHARDS[0]]

    def clear(self) -> None:
        """Leave an empty folder where a killed create or drop may have left another."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.shard.mkdir(parents=True)

    def make_copy(self) -> None:
        """Copy the shard, which nobody may write to meanwhile."""
        self.remove_copy()
        shutil.copytree(self.shard, self.copy, copy_function=_copy_with_holes)

    def remove_copy(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)

    def use_copy(self, entry_id: str) -> None:
        """Put the copy in the shard's place, for good; then the shard is the copy to remove."""
        self.shard = self.copy
        self.mark(entry_id, segments=True)

    def mark(self, entry_id: str, *, segments: bool) -> None:
        """Write the marker; without segments where they are about to change."""
        names = self._segments() if segments else None
        marker = {"id": entry_id, "segments": names, "shard": self.shard.name}
        temporary = self._marker.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(marker, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._marker)
        sync_folder(self.path)
        sync_folder(self.path.parent)

    def verify(self, entry_id: str) -> None:
        """Find the shard; raise CollectionDamaged where it is not the one that was created."""
        marker = self._read_marker()
        if marker.get("id") != entry_id or marker.get("shard", _SHARDS[0]) not in _SHARDS:
            raise damaged(self.collection, f"is not what lies in '{self.path}'")
        self.shard = self.path / marker.get("shard", _SHARDS[0])
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


def _copy_with_holes(source: str, target: str) -> None:
    """Copy a file, of which only what was ever written takes room: the engine reserves a lot."""
    with Path(source).open("rb") as reading, Path(target).open("wb") as writing:
        size = os.fstat(reading.fileno()).st_size
        writing.truncate(size)
        end = 0
        while (start := _next_data(reading.fileno(), end)) is not None:
            end = os.lseek(reading.fileno(), start, os.SEEK_HOLE)
            reading.seek(start)
            writing.seek(start)
            left = end - start
            while left and (read := reading.read(min(left, _COPY_BYTES))):
                writing.write(read)
                left -= len(read)


def _next_data(descriptor: int, start: int) -> int | None:
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return None
        raise
