"""A repair in a process of its own, which tests kill."""

import os
import signal
from pathlib import Path

from lockstep import failpoints
from lockstep.bootstrap import open_workspace


def run_repair(root: Path, corpus: str, number: int, die: str, turn: int) -> None:
    """Repair an index version; kill -9 when the failpoint `die` is reached for the nth time."""
    times = 0

    def deadly(name: str) -> None:
        nonlocal times
        times += name == die
        if name == die and times == turn:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_workspace(root) as workspace:
        failpoints.arm(deadly)
        workspace.repairer.repair(corpus, number, samples=5)
