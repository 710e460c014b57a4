"""The process that owns one embedded collection: the engine never lets go of Python's lock.

Started by `edge_process` with one end of a pipe; ends with its parent, whatever ends that.
"""

import argparse
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError, StoreUnavailable
from lockstep.store import edge_lock
from lockstep.store.edge_errors import storage_full, translated
from lockstep.store.edge_folder import CollectionFolder
from lockstep.store.edge_lock import ORPHAN_WAIT_S, Owner
from lockstep.store.edge_reader import ShardReader
from lockstep.store.edge_shard import Shard
from lockstep.store.port import CollectionSchema, Question

# The engine maps its files: a write that finds the device full kills the process (SIGBUS) instead
# of failing. So writes stop while there is still room for what it may allocate in one step.
RESERVE_BYTES = 64 * 2**20
_PR_SET_PDEATHSIG = 1
# Searches come first while a copy is optimised.
_BESIDE_NICE = 10


class Worker:
    """Answers the requests of one store about one collection."""

    def __init__(self, collection: str, path: Path) -> None:
        self.collection = collection
        self._folder = CollectionFolder(collection, path)
        self._entry_id = ""
        self._shard: Shard | None = None

    def answer(self, operation: str, arguments: Sequence[Any]) -> Any:
        own: dict[str, Callable[..., Any]] = {
            "lock": self._lock,
            "create": self._create,
            "open": self._open,
            "upsert": self._upsert,
            "optimize": self._optimize,
            "copy": self._copy,
            "optimize_copy": self._optimize_copy,
            "use_copy": self._use_copy,
            "ask": self._ask,
            "close": self._close,
        }
        if operation in own:
            return own[operation](*arguments)
        return getattr(self._opened(), operation)(*arguments)

    def _lock(self, parent: int, command: str) -> None:
        path = edge_lock.lock_path(self._folder.path)
        descriptor = edge_lock.acquire(path, wait_s=ORPHAN_WAIT_S)
        if descriptor is None:
            raise edge_lock.in_use(self.collection, path)
        owner = Owner(parent, command, time.strftime("%H:%M:%S"))
        edge_lock.write_owner(descriptor, owner)  # held until this process ends

    def _create(self, entry_id: str, schema: CollectionSchema) -> None:
        self._require_space("create", RESERVE_BYTES)
        self._folder.clear()
        self._shard = Shard.create(str(self._folder.shard), schema)
        self._entry_id = entry_id
        self._folder.mark(entry_id, segments=True)

    def _open(self, entry_id: str, schema: CollectionSchema, keep_copy: bool) -> None:
        self._folder.verify(entry_id)
        if not keep_copy:  # a killed process left it
            self._folder.remove_copy()
        self._shard = Shard.load(str(self._folder.shard), schema)
        self._entry_id = entry_id

    def _upsert(self, points: Any) -> None:
        self._require_space("upsert", RESERVE_BYTES + 4 * points.vector_bytes)
        self._opened().upsert(points)

    def _optimize(self) -> None:
        self._require_space("optimize", RESERVE_BYTES + self._folder.used_bytes())
        self._folder.mark(self._entry_id, segments=False)
        self._opened().optimize()
        self._folder.mark(self._entry_id, segments=True)

    def _copy(self, entry_id: str, schema: CollectionSchema) -> None:
        """In a second process, while nothing is written: own a copy of the shard."""
        os.nice(_BESIDE_NICE)
        self._folder.verify(entry_id)
        self._require_space("optimize", RESERVE_BYTES + 2 * self._folder.used_bytes())
        self._folder.make_copy()
        self._shard = Shard.load(str(self._folder.copy), schema)

    def _optimize_copy(self) -> None:
        self._opened().optimize()

    def _use_copy(self) -> None:
        """In the first process, once the second has closed the copy: go on with it."""
        old = self._opened()
        self._shard = Shard.load(str(self._folder.copy), old.schema)
        self._folder.use_copy(self._entry_id)
        old.close()
        self._folder.remove_copy()

    def _ask(self, question: Question[Any]) -> Any:
        return question(ShardReader(self.collection, self._opened()))

    def _close(self) -> None:
        if self._shard is not None:
            self._shard.close()

    def _opened(self) -> Shard:
        if self._shard is None:
            raise StoreUnavailable(f"Collection '{self.collection}' has not been opened.")
        return self._shard

    def _require_space(self, operation: str, needed: int) -> None:
        if shutil.disk_usage(self._folder.path.parent).free < needed:
            raise storage_full(self.collection, operation)


def serve(connection: Connection, worker: Worker) -> None:
    """Answer requests until the parent closes its end, or until the engine panics."""
    while True:
        try:
            operation, arguments = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        last = operation == "close"
        try:
            succeeded, result = True, worker.answer(operation, arguments)
        except LockstepError as error:
            succeeded, result = False, error
        except Exception as error:
            succeeded, result = False, translated(error, worker.collection, operation)
        except BaseException as error:  # a panic: the shard in memory cannot be trusted any more
            succeeded, result, last = False, translated(error, worker.collection, operation), True
        try:
            connection.send((succeeded, result, last))
        except BrokenPipeError:
            return
        if last:
            return


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="lockstep.store.edge_worker")
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    _follow_parent(options.parent)
    with Connection(options.pipe) as connection:
        serve(connection, Worker(options.collection, options.folder))
    return 0


def _follow_parent(parent: int) -> None:
    # A stop is the parent's to handle: it may still have searches to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        # The end of the pipe is seen only between two requests; an optimize takes minutes.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent has ended")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
