"""Lock files: the kernel gives them up when their holder dies, however it dies."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lockstep.errors import CollectionInUse, StoreUnavailable

# An owner that was killed takes a moment to vanish, and its worker with it.
ORPHAN_WAIT_S = 1.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Owner:
    """Who has a collection open, in words for the process that is refused."""

    pid: int
    command: str
    since: str  # HH:MM:SS, local time


def lock_path(folder: Path) -> Path:
    """The lock file of a collection's folder: beside it, so that the folder can be replaced."""
    return folder.with_name(folder.name + ".lock")


def acquire(path: Path, *, wait_s: float) -> int | None:
    """Lock the file and return its descriptor, or None where another holder kept it."""
    deadline = time.monotonic() + wait_s
    while True:
        if (descriptor := _try_acquire(path)) is not None:
            return descriptor
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_S)


def release(descriptor: int) -> None:
    # Unlock in words: a process forked meanwhile holds a copy of the descriptor.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def write_owner(descriptor: int, owner: Owner) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(owner)).encode(), 0)


def in_use(collection: str, path: Path) -> CollectionInUse:
    """The error that names who holds the lock file of a collection."""
    return CollectionInUse(
        f"Index '{collection}' is open in {_holder(path)}.",
        next_step="Search through that process (its HTTP API), or stop it.",
    )


@contextmanager
def exclusive(path: Path, *, wait_s: float) -> Iterator[None]:
    """Hold the lock file; raises StoreUnavailable where it does not come free in time."""
    descriptor = acquire(path, wait_s=wait_s)
    if descriptor is None:
        raise StoreUnavailable(
            f"'{path}' has been locked by another process for {wait_s:g} s.",
            next_step="Look for a stopped or hanging lockstep process.",
        )
    try:
        yield
    finally:
        release(descriptor)


def _try_acquire(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    # The holder before us may have deleted the file: then ours is a lock on nothing.
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None


def _holder(path: Path) -> str:
    try:
        owner = Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return "another process"
    return f"process {owner.pid} ({owner.command}, since {owner.since})"
