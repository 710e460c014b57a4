"""Collections in the embedded engine, each owned by a worker process of its own."""

import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from operator import methodcaller
from pathlib import Path

from lockstep.errors import (
    CollectionNotFound,
    Conflict,
    InvalidInput,
    StoreUnavailable,
)
from lockstep.store import edge_lock
from lockstep.store.checks import (
    by_count,
    canonical_id,
    check_facet,
    check_points,
)
from lockstep.store.edge_collection import EdgeCollection
from lockstep.store.edge_manifest import Manifest, ManifestFile, metadata_of, sync_folder
from lockstep.store.edge_wire import pack
from lockstep.store.filters import check_filter
from lockstep.store.payload_functions import PayloadFunction
from lockstep.store.port import (
    Answer,
    Branch,
    Candidate,
    CollectionSchema,
    FacetCount,
    Json,
    Page,
    Points,
    Question,
    Readiness,
    Record,
)

_NAME = re.compile(r"\w[\w.-]{0,199}")


class EdgeStore:
    """A VectorStore in a folder, for one machine. `command` names this process to others."""

    def __init__(self, root: Path, *, command: str = "lockstep") -> None:
        self._root = root
        self._command = command
        self._folders = root / "collections"
        self._manifest = ManifestFile(root)
        self._lock = threading.Lock()
        self._open: dict[str, EdgeCollection] = {}
        # Workers die with the thread that started them, so it is one that lives as long as we do.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="lockstep-store")
        self._process = os.getpid()
        self._closed = False

    def create(self, collection: str, schema: CollectionSchema, metadata: Json) -> None:
        created = self._collection(collection)
        self._prepare()
        self._sweep()
        created.create(schema, metadata)

    def drop(self, collection: str) -> None:
        dropped = self._collection(collection)
        if collection in self._manifest.read().collections:
            _require_no_alias(collection, self._manifest.read())
            dropped.drop(partial(_without, collection), partial(_remove, dropped.folder))
        self._sweep()

    def collections(self) -> dict[str, Json]:
        return metadata_of(self._manifest.read())

    def set_metadata(self, collection: str, metadata: Json) -> None:
        def edit(manifest: Manifest) -> Manifest:
            entry = manifest.collections[_required(collection, manifest)]
            return manifest.with_entry(collection, replace(entry, metadata=metadata))

        self._change(edit)

    def aliases(self) -> dict[str, str]:
        return dict(self._manifest.read().aliases)

    def set_alias(self, alias: str, collection: str) -> None:
        def edit(manifest: Manifest) -> Manifest:
            return manifest.with_alias(alias, _required(collection, manifest))

        self._change(edit)

    def upsert(
        self, collection: str, points: Points, *, keep_newer_than: int | None = None
    ) -> None:
        # Nobody else can have it open, so nothing newer can have come from elsewhere.
        opened = self._collection(collection)
        check_points(collection, opened.schema(), points)
        opened.call("upsert", pack(points))

    def delete(self, collection: str, filter: Json) -> None:
        check_filter(filter)
        self._collection(collection).call("delete", filter)

    def flush(self, collection: str) -> None:
        self._collection(collection).call("flush")

    def optimize(self, collection: str) -> None:
        self._collection(collection).optimize()

    def readiness(self, collection: str) -> Readiness:
        points, ready, due = self._collection(collection).call("readiness")
        return Readiness(ready, f"{points:,} points", due)

    def count(self, collection: str, filter: Json | None = None) -> int:
        _check(filter)
        count: int = self._collection(collection).call("count", filter)
        return count

    def scroll(
        self,
        collection: str,
        *,
        start_id: str | None = None,
        limit: int = 1000,
        fields: Sequence[str] | None = None,
    ) -> Page:
        start = None if start_id is None else canonical_id(start_id)
        records, next_id = self._collection(collection).call("scroll", start, limit, fields)
        return Page(records, next_id)

    def retrieve(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        with_vectors: bool = False,
        with_late: bool = False,
    ) -> list[Record]:
        wanted = [canonical_id(point_id) for point_id in ids]
        read = methodcaller("retrieve", wanted, with_vectors=with_vectors, with_late=with_late)
        return self.ask(collection, read)

    def search(
        self, collection: str, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        return self.ask(collection, methodcaller("search", list(branches), filter))

    def facet(
        self, collection: str, field: str, *, limit: int, filter: Json | None = None
    ) -> list[FacetCount]:
        _check(filter)
        opened = self._collection(collection)
        check_facet(collection, opened.schema(), field)
        found = opened.call("facet", field, limit, filter)
        return by_count([FacetCount(*each) for each in found])

    def evaluate(
        self, collection: str, ids: Sequence[str], functions: Sequence[PayloadFunction]
    ) -> list[dict[str, float]]:
        wanted = [canonical_id(point_id) for point_id in ids]
        return self.ask(collection, methodcaller("evaluate", wanted, list(functions)))

    def ask(self, collection: str, question: Question[Answer]) -> Answer:
        answer: Answer = self._collection(collection).call("ask", question)
        return answer

    def release(self, collection: str) -> None:
        self._collection(collection).release()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            opened = list(self._open.values())
        try:
            for collection in opened:
                collection.release()
        finally:
            self._starter.shutdown()

    def worker_pids(self) -> dict[str, int]:
        """The process that has each collection open, for `lockstep doctor` and for tests."""
        opened = list(self._open.values())
        return {each.name: pid for each in opened if (pid := each.worker_pid()) is not None}

    def _collection(self, name: str) -> EdgeCollection:
        if os.getpid() != self._process:
            # Locks and threads do not survive a fork, and two would read from one pipe.
            raise StoreUnavailable(
                "The vector store was opened before this process was forked.",
                next_step="Open it after the fork, or start processes by spawn.",
            )
        if (known := self._open.get(name)) is not None and not self._closed:
            return known
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"'{name}' cannot name a collection: expected letters, digits, '_', '-' and '.', "
                "200 at most."
            )
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The vector store has been closed.")
            return self._open.setdefault(name, self._new(name))

    def _new(self, name: str) -> EdgeCollection:
        return EdgeCollection(
            name,
            self._folders / name,
            manifest=self._manifest,
            starter=self._starter,
            command=self._command,
        )

    def _change(self, edit: Callable[[Manifest], Manifest]) -> None:
        self._prepare()
        self._manifest.change(edit)

    def _prepare(self) -> None:
        """Make the root folder, and an empty manifest before there can be any collection."""
        if not self._folders.is_dir() or not self._manifest.path.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root.parent)
            self._manifest.change(lambda manifest: manifest)
            self._folders.mkdir(exist_ok=True)
            sync_folder(self._root)

    def _sweep(self) -> None:
        """Remove what a killed create or drop left: folders that the manifest does not name."""
        if not self._folders.is_dir():
            return
        names = {path.name.removesuffix(".lock") for path in self._folders.iterdir()}
        for name in names - self._manifest.read().collections.keys():
            folder = self._folders / name
            descriptor = edge_lock.acquire(edge_lock.lock_path(folder), wait_s=0)
            if descriptor is None:
                continue  # it is just being created
            try:
                if name not in self._manifest.read().collections:
                    _remove(folder)
            finally:
                edge_lock.release(descriptor)


def _check(filter: Json | None) -> None:
    if filter is not None:
        check_filter(filter)


def _required(collection: str, manifest: Manifest) -> str:
    if collection not in manifest.collections:
        raise CollectionNotFound(f"There is no collection '{collection}'.")
    return collection


def _require_no_alias(collection: str, manifest: Manifest) -> None:
    named = sorted(alias for alias, target in manifest.aliases.items() if target == collection)
    if named:
        raise Conflict(
            f"Collection '{collection}' is live: alias '{named[0]}' points at it.",
            next_step="Promote another index version before dropping this one.",
        )


def _without(collection: str, manifest: Manifest) -> Manifest:
    _require_no_alias(collection, manifest)
    return manifest.without(collection)


def _remove(folder: Path) -> None:
    """Remove a collection's folder and its lock file; the caller holds the lock."""
    if folder.exists():
        shutil.rmtree(folder)
    edge_lock.lock_path(folder).unlink(missing_ok=True)
