"""The store's side of a worker process: start it, ask it, stop it."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError, StoreUnavailable
from lockstep.store.edge_errors import damaged, storage_full

_STOP_WAIT_S = 10.0
_FULL_BYTES = 64 * 2**20


class WorkerProcess:
    """One worker. Not safe between threads: `edge` holds a lock around each request."""

    def __init__(
        self,
        collection: str,
        folder: Path,
        process: subprocess.Popen[bytes],
        connection: Connection,
    ) -> None:
        self._collection = collection
        self._folder = folder
        self._process = process
        self._connection = connection

    @classmethod
    def start(
        cls, collection: str, folder: Path, *, starter: ThreadPoolExecutor
    ) -> "WorkerProcess":
        """Start a worker on the thread of `starter`; it dies with that thread."""
        return starter.submit(cls._start, collection, folder).result()

    @classmethod
    def _start(cls, collection: str, folder: Path) -> "WorkerProcess":
        ours, theirs = Pipe()
        try:
            process = subprocess.Popen(
                _command(collection, folder, theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the parent's
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError as error:
            ours.close()
            raise StoreUnavailable(
                f"The engine's process for collection '{collection}' does not start: {error}."
            ) from error
        finally:
            theirs.close()
        return cls(collection, folder, process, ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def request(self, operation: str, *arguments: Any) -> Any:
        """The worker's answer; raises its error, or StoreUnavailable where it has died."""
        try:
            self._connection.send((operation, arguments))
            succeeded, result, last = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died(operation) from error
        except BaseException:
            self.kill()  # the reply is still on its way: the next request would read it
            raise
        if last:
            self._end(_STOP_WAIT_S)  # now, so that the next call does not find it half gone
        if succeeded:
            return result
        raise result

    def stop(self) -> None:
        """Close the shard and end the process; raises what the last flush raises."""
        try:
            if self.alive():
                self.request("close")
        finally:
            self._end(_STOP_WAIT_S)

    def kill(self) -> None:
        self._end(0)

    def interrupt(self) -> None:
        """End the process while another thread waits for it, which that thread finds out."""
        self._process.kill()

    def _end(self, wait_s: float) -> None:
        self._connection.close()
        if wait_s:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
        self._process.kill()
        self._process.wait()

    def _died(self, operation: str) -> LockstepError:
        self._end(_STOP_WAIT_S)
        code = self._process.returncode
        if code == -signal.SIGBUS:  # a mapped file could not grow, or is shorter than it was
            if shutil.disk_usage(self._folder.parent).free < _FULL_BYTES:
                return storage_full(self._collection, operation)
            return damaged(self._collection, f"has lost a part of a file ({operation})")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return StoreUnavailable(
            f"The engine's process for collection '{self._collection}' ended during {operation} "
            f"({how}).",
            next_step="Try again: the next call opens the collection anew.",
        )


def _command(collection: str, folder: Path, pipe: int) -> list[str]:
    options = {"pipe": pipe, "parent": os.getpid(), "collection": collection, "folder": folder}
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-P", "-m", "lockstep.store.edge_worker", *flags]
