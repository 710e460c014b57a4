"""Trainings under way: a folder each, named by what is trained, so that a killed one goes on."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lockstep.errors import InvalidInput, LeaseHeld
from lockstep.models.manifest import Json, canonical_json
from lockstep_indexer.train.saving import saving

FOLDER = "training"  # in the workspace's data folder
KEPT_S = 14 * 24 * 3600.0  # an interrupted training that nobody goes on with
_LOCK, _FIELDS = "lock", "run.json"


@dataclass(frozen=True)
class Interrupted:
    """A training that was not finished, and that the same command would go on with."""

    folder: Path
    corpus: str
    name: str
    size: int  # bytes
    idle_s: float  # since it last wrote something

    def to_json(self) -> Json:
        return {**asdict(self), "folder": str(self.folder)}


class Run:
    """A training's folder: its checkpoints, its result, and figures that are taken once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.result = folder / "result"

    @property
    def is_resumed(self) -> bool:
        return self.checkpoints.is_dir() or self.result.is_dir()

    def remembered(self, name: str) -> Any:
        """What was remembered under a name; None where nothing was, or not to its end."""
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def remember(self, name: str, value: Any) -> None:
        path = self.folder / f"{name}.json"
        partial = path.with_suffix(".partial")
        with saving(self.folder):
            partial.write_text(json.dumps(value, default=str), encoding="utf-8")
            partial.replace(path)


@contextmanager
def open_run(data: Path, fields: Json) -> Iterator[Run]:
    """The run of exactly these fields, which no other process has meanwhile.

    Its folder goes when the block succeeds, or finds that the same again cannot; it stays for what
    may go on. Raises LeaseHeld.
    """
    digest = hashlib.sha256(canonical_json(fields).encode()).hexdigest()
    folder = data / FOLDER / digest[:16]
    with saving(folder):
        lock = _claimed(folder)
    try:
        with saving(folder):
            (folder / _FIELDS).write_text(json.dumps(fields, indent=2), encoding="utf-8")
        try:
            yield Run(folder)
        except InvalidInput:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def interrupted(data: Path, corpus: str | None = None) -> list[Interrupted]:
    """The trainings, of one corpus or of all, that no process is at; those left longest first."""
    found = [
        one
        for path in (data / FOLDER).glob(f"*/{_FIELDS}")
        if (one := _interrupted(path.parent)) is not None and corpus in (None, one.corpus)
    ]
    return sorted(found, key=lambda one: -one.idle_s)


def drop_interrupted(data: Path, corpus: str, *, dry_run: bool = False) -> list[Interrupted]:
    """Remove the corpus's trainings that nobody went on with for KEPT_S seconds; says which."""
    old = [one for one in interrupted(data, corpus) if one.idle_s > KEPT_S]
    return [one for one in old if dry_run or _dropped(one.folder)]


def _interrupted(folder: Path) -> Interrupted | None:
    try:
        fields = json.loads((folder / _FIELDS).read_text(encoding="utf-8"))
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    except (OSError, ValueError):  # it ends just now, or was killed as it began
        return None
    lock = _free(folder)
    if lock is None:
        return None
    os.close(lock)
    idle_s = max(0.0, time.time() - max(file.st_mtime for file in files))
    size = sum(file.st_size for file in files)
    return Interrupted(folder, str(fields["corpus"]), str(fields["name"]), size, idle_s)


def _dropped(folder: Path) -> bool:
    lock = _free(folder)
    if lock is None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
    return True


def _claimed(folder: Path) -> int:
    """A descriptor that holds the folder's lock. Raises LeaseHeld."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # whoever had the folder is done, and has removed it
        os.close(descriptor)
        if (lock := _free(folder)) is not None:
            return lock
        if (folder / _LOCK).exists():
            raise LeaseHeld(
                f"Another process runs this very training, in '{folder}'.",
                next_step="Wait for it, or stop it and run the same command: it goes on from "
                "there.",
            )


def _free(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where another has it, or there is none.

    The kernel lets go of it when the process ends, however it does.
    """
    path = folder / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):  # and not one that was removed
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
