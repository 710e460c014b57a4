"""Adds one model from several processes.

One process under the fork server, which has imported the libraries, forks once for each of them,
so that each starts at once.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from actions import fork_server

from lockstep.corpus.database import Database
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.registry import ModelRegistry

PROCESSES = 4
# The first add of a process takes about half a second.
DELAYS_S = [0.04 * step for step in range(1, 16)]


def said_by(action: Callable[[Path, Path], None], folder: Path, model: Path) -> list[str]:
    """What the processes of `together` or `killed` say, and the libraries in them."""
    said = folder / "said"
    process = fork_server().Process(target=_saying, args=(action, folder, model, said))
    process.start()
    process.join()
    assert process.exitcode == 0
    return said.read_text().split()


def _saying(action: Callable[[Path, Path], None], folder: Path, model: Path, said: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    action(folder, model)


def _start(folder: Path, model: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        database = Database(f"sqlite:///{folder}/catalog.db")
        added = ModelRegistry(database, ArtefactStore(str(folder / "artefacts"))).add("tiny", model)
        os.write(1, f"{added.ref}\n".encode())
    finally:
        os._exit(0)


def together(folder: Path, model: Path) -> None:
    """Four processes add the model at once."""
    for child in [_start(folder, model) for _ in range(PROCESSES)]:
        os.waitpid(child, 0)


def killed(folder: Path, model: Path) -> None:
    """Processes are killed while they add the model."""
    for delay in DELAYS_S:
        child = _start(folder, model)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
