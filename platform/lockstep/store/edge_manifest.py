"""The embedded engine's list of collections and aliases: one file, replaced in one step.

A reader takes no lock: it sees the file before a change or after it, never in between. A writer
holds `manifest.lock` from reading to replacing, so no change is lost between processes.
"""

import copy
import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockstep.errors import ManifestDamaged, StorageFull
from lockstep.failpoints import reached
from lockstep.store.edge_lock import exclusive
from lockstep.store.port import CollectionSchema, Json

FORMAT = 1
_LOCK_WAIT_S = 30.0


@dataclass(frozen=True)
class Entry:
    """A collection: `id` is also in the marker of its folder, so the two can be told to belong."""

    id: str
    schema: CollectionSchema
    metadata: Json


@dataclass(frozen=True)
class Manifest:
    collections: Mapping[str, Entry] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def with_entry(self, name: str, entry: Entry) -> "Manifest":
        return replace(self, collections={**self.collections, name: entry})

    def without(self, name: str) -> "Manifest":
        rest = {key: value for key, value in self.collections.items() if key != name}
        return replace(self, collections=rest)

    def with_alias(self, alias: str, collection: str) -> "Manifest":
        return replace(self, aliases={**self.aliases, alias: collection})


class ManifestFile:
    """Reads and replaces the manifest of one root folder; safe between threads and processes."""

    def __init__(self, root: Path) -> None:
        self.path = root / "manifest.json"
        self.previous = root / "manifest.previous.json"
        self._lock_path = root / "manifest.lock"
        self._folders = root / "collections"
        self._cached: tuple[tuple[int, ...], Manifest] | None = None

    def read(self) -> Manifest:
        """The manifest as it is now; parsed again only when the file has changed."""
        try:
            stamp = _stamp(self.path.stat())
        except FileNotFoundError:
            return self._absent()
        cached = self._cached
        if cached is not None and cached[0] == stamp:
            return cached[1]
        with self.path.open("rb") as file:
            manifest = self._parse(file.read())
            self._cached = (_stamp(os.fstat(file.fileno())), manifest)
        return manifest

    def change(self, edit: Callable[[Manifest], Manifest]) -> None:
        """Replace the manifest by its edited form; returns once that survives a power cut."""
        with exclusive(self._lock_path, wait_s=_LOCK_WAIT_S):
            before = self.read()
            after = edit(before)
            if after == before and self.path.exists():
                return
            try:
                if self.path.exists():
                    _replace(self.previous, self.path.read_bytes())
                _replace(self.path, _serialize(after))
                sync_folder(self.path.parent)
            except OSError as error:
                raise _write_error(self.path, error) from error

    def _absent(self) -> Manifest:
        if self.previous.exists() or (self._folders.is_dir() and any(self._folders.iterdir())):
            raise self._damaged("is missing, though there are collections beside it")
        return Manifest()

    def _parse(self, data: bytes) -> Manifest:
        try:
            document = json.loads(data)
            content = document["content"]
            version, checksum = document["format"], document["checksum"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("is not whole") from error
        if version != FORMAT:
            raise self._damaged(f"has format {version!r}, expected {FORMAT}")
        if checksum != _checksum(content):
            raise self._damaged("does not match its checksum")
        return _from_json(content)

    def _damaged(self, what: str) -> ManifestDamaged:
        return ManifestDamaged(
            f"The manifest '{self.path}' {what}.",
            next_step=f"Put the one before it back (cp '{self.previous}' '{self.path}') and check "
            "`lockstep status`, or rebuild the indexes from the corpus with `lockstep reindex`.",
        )


def sync_folder(folder: Path) -> None:
    """Return once the names in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stamp(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")  # one writer at a time: the caller holds the lock
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reached("inside the manifest")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _write_error(path: Path, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(
            f"No space is left to write '{path}'.", next_step="Free some space, then try again."
        )
    return error


def _serialize(manifest: Manifest) -> bytes:
    content = {
        "collections": {name: _entry_json(entry) for name, entry in manifest.collections.items()},
        "aliases": dict(manifest.aliases),
    }
    document = {"format": FORMAT, "checksum": _checksum(content), "content": content}
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _entry_json(entry: Entry) -> Json:
    return {"id": entry.id, "schema": entry.schema.to_json(), "metadata": entry.metadata}


def _from_json(content: Any) -> Manifest:
    collections = {
        name: Entry(entry["id"], CollectionSchema(**entry["schema"]), entry["metadata"])
        for name, entry in content["collections"].items()
    }
    return Manifest(collections, content["aliases"])


def _checksum(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def metadata_of(manifest: Manifest) -> dict[str, Json]:
    """Every collection's metadata, as the caller's own copies."""
    return {name: copy.deepcopy(entry.metadata) for name, entry in manifest.collections.items()}
