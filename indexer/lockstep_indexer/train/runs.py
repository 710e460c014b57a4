"""Trainings under way: a folder each, named by what is trained, so that a killed one goes on."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lockstep.errors import InvalidInput, LeaseHeld
from lockstep.models.manifest import Json, canonical_json
from lockstep_indexer.train.saving import saving

FOLDER = "training"  # in the workspace's data folder
_LOCK = "lock"


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
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(fields, indent=2), encoding="utf-8")
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock, folder)
        try:
            yield Run(folder)
        except InvalidInput:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    """The kernel lets go of it when the process ends, however it does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LeaseHeld(
            f"Another process runs this very training, in '{folder}'.",
            next_step="Wait for it, or stop it and run the same command: it goes on from there.",
        ) from error
