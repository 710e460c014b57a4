"""Adds one model from several processes; the tests run this file in a process of its own.

    adding_processes.py together FOLDER MODEL     four processes add the model at once
    adding_processes.py killed FOLDER MODEL       processes are killed while they add the model

It imports the libraries once and forks, so that each process starts at once.
"""

import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

from lockstep.corpus.database import Database
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.registry import ModelRegistry

PROCESSES = 4
# The first add of a process takes about half a second.
DELAYS_S = [0.02 * step for step in range(1, 31)]


def open_registry(folder: Path) -> ModelRegistry:
    database = Database(f"sqlite:///{folder}/catalog.db")
    return ModelRegistry(database, ArtefactStore(str(folder / "artefacts")))


def start(folder: Path, model: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        added = open_registry(folder).add("tiny", model)
        sys.stdout.write(f"{added.ref}\n")
        sys.stdout.flush()
    finally:
        os._exit(0)


def together(folder: Path, model: Path) -> None:
    for child in [start(folder, model) for _ in range(PROCESSES)]:
        os.waitpid(child, 0)


def killed(folder: Path, model: Path) -> None:
    for delay in DELAYS_S:
        child = start(folder, model)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    import_module("sentence_transformers")  # before the fork, so that it costs its seconds once
    {"together": together, "killed": killed}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
