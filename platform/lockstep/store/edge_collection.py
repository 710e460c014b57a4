"""One embedded collection as its store sees it: closed, or open in a worker process."""

import os
import threading
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lockstep.errors import CollectionExists, CollectionInUse, CollectionNotFound
from lockstep.store import edge_lock
from lockstep.store.deadline import left_s, out_of_time
from lockstep.store.edge_manifest import Entry, Manifest, ManifestFile
from lockstep.store.edge_process import WorkerProcess
from lockstep.store.port import CollectionSchema, Json

# Smaller collections are optimised in a moment, without a copy.
BESIDE_POINTS = 5_000
# Of what was written while a copy was optimised, this much may be left for when writers wait.
_FEW = 4
_WRITES = frozenset({"upsert", "delete"})


class EdgeCollection:
    """Opens at the first call and stays open until `release`. One request at a time."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        manifest: ManifestFile,
        starter: ThreadPoolExecutor,
        command: str,
    ) -> None:
        self.name = name
        self.folder = folder
        self._manifest = manifest
        self._starter = starter
        self._command = command
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        # The engine answers nothing while it optimises, so a second worker does that, on a copy.
        self._optimizing = threading.Lock()
        self._writing = threading.RLock()
        self._optimizer: WorkerProcess | None = None
        self._unseen: deque[tuple[str, Any]] | None = None  # writes that the copy lacks
        self._schema: CollectionSchema | None = None

    def schema(self) -> CollectionSchema:
        """The schema, without a look at the manifest once the collection has been open."""
        return self._schema or self._entry().schema

    def call(self, operation: str, *arguments: Any) -> Any:
        if operation not in _WRITES:
            return self._request(operation, *arguments)
        with self._writing:
            result = self._request(operation, *arguments)
            if self._unseen is not None:
                self._unseen.append((operation, arguments))
        return result

    def _request(self, operation: str, *arguments: Any) -> Any:
        """Raises Unavailable where the deadline passes while others ask."""
        seconds = left_s()
        if not seconds or not self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            raise out_of_time("ask the engine")
        try:
            return self._opened().request(operation, *arguments)
        finally:
            self._lock.release()

    def optimize(self) -> None:
        """Optimise, beside searches and writes where it would take long.

        Raises StoreUnavailable where the collection is released meanwhile.
        """
        with self._optimizing:
            if self.call("readiness")[0] < BESIDE_POINTS:
                self.call("optimize")
            else:
                self._optimize_beside()

    def _optimize_beside(self) -> None:
        """A copy is optimised, learns what was written meanwhile, and takes the shard's place."""
        entry = self._entry()
        worker = WorkerProcess.start(self.name, self.folder, starter=self._starter)
        try:
            with self._writing:
                self.call("flush")
                self._optimizer, self._unseen = worker, deque()
                worker.request("copy", entry.id, entry.schema)
            worker.request("optimize_copy")
            while len(self._unseen) > _FEW:
                self._repeat(worker)
            with self._writing:
                while self._unseen:
                    self._repeat(worker)
                worker.stop()
                self.call("use_copy")
        finally:
            self._optimizer = self._unseen = None
            worker.kill()

    def _repeat(self, worker: WorkerProcess) -> None:
        if self._unseen:
            operation, arguments = self._unseen.popleft()
            worker.request(operation, *arguments)

    def create(self, schema: CollectionSchema, metadata: Json) -> None:
        entry = Entry(uuid.uuid4().hex, schema, metadata)
        with self._lock:
            self._require_absent(self._manifest.read())
            # The folder first: what a kill leaves is a folder without an entry, swept later.
            worker = self._start_to_create()
            try:
                self._require_absent(self._manifest.read())
                worker.request("create", entry.id, schema)
                self._manifest.change(lambda manifest: self._added(manifest, entry))
            except BaseException:
                worker.kill()
                raise
            self._worker, self._schema = worker, schema

    def drop(self, edit: Callable[[Manifest], Manifest], remove: Callable[[], None]) -> None:
        """Close it, then take it out of the manifest, then remove its files."""
        self._stop_optimizing()
        with self._lock:
            self._stop()
            self._schema = None
            path = edge_lock.lock_path(self.folder)
            descriptor = edge_lock.acquire(path, wait_s=edge_lock.ORPHAN_WAIT_S)
            if descriptor is None:
                raise edge_lock.in_use(self.name, path)
            try:
                self._manifest.change(edit)
                remove()
            finally:
                edge_lock.release(descriptor)

    def release(self) -> None:
        self._stop_optimizing()
        with self._lock:
            self._stop()

    def _stop_optimizing(self) -> None:
        if (worker := self._optimizer) is not None:
            worker.interrupt()
            with self._optimizing:
                pass  # its thread has seen it and let go

    def worker_pid(self) -> int | None:
        """The process that has the collection open now."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive() else None

    def _opened(self) -> WorkerProcess:
        if self._worker is not None and self._worker.alive():
            return self._worker
        self._stop()
        self._entry()  # do not start a process for a collection that is not there
        worker = self._start()
        try:
            entry = self._entry()  # again, now that nobody else can drop or create it
            worker.request("open", entry.id, entry.schema, self._optimizer is not None)
        except BaseException:
            worker.kill()
            raise
        self._worker, self._schema = worker, entry.schema
        return worker

    def _start(self) -> WorkerProcess:
        worker = WorkerProcess.start(self.name, self.folder, starter=self._starter)
        try:
            worker.request("lock", os.getpid(), self._command)
        except BaseException:
            worker.kill()
            raise
        return worker

    def _start_to_create(self) -> WorkerProcess:
        try:
            return self._start()
        except CollectionInUse:
            self._require_absent(self._manifest.read())  # the holder may have just created it
            raise

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _entry(self) -> Entry:
        entry = self._manifest.read().collections.get(self.name)
        if entry is None:
            raise CollectionNotFound(f"There is no collection '{self.name}'.")
        return entry

    def _added(self, manifest: Manifest, entry: Entry) -> Manifest:
        self._require_absent(manifest)
        return manifest.with_entry(self.name, entry)

    def _require_absent(self, manifest: Manifest) -> None:
        if self.name in manifest.collections:
            raise CollectionExists(f"Collection '{self.name}' exists already.")
