"""A folder to work in for a while, which outlives no process for long."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def claimed_folder(root: Path) -> Iterator[Path]:
    """An empty folder in `root`, gone at the end of the block.

    What killed processes left behind is removed on the way: the kernel gives up their locks.
    """
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    lock, path = _claim(root)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(root: Path) -> None:
    """Remove the folders whose processes are gone: nobody holds their lock."""
    for path in _folders(root):
        if (lock := _locked(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def abandoned(root: Path) -> list[Path]:
    """The folders that `sweep` would remove."""
    found = []
    for path in _folders(root):
        if (lock := _locked(path)) is not None:
            found.append(path)
            os.close(lock)
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(root.iterdir()) if root.is_dir() else []


def _claim(root: Path) -> tuple[int, Path]:
    """A new folder, locked for as long as this process lives."""
    while True:
        path = root / uuid4().hex
        path.mkdir()
        if (lock := _locked(path)) is not None:
            return lock, path


def _locked(path: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where that is another process's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
