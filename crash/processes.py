"""What runs in the processes that are killed: a worker, and the API server."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from crash import sabotage
from crash.events import Event, Outcome, failed
from crash.performing import Facts, intent, perform
from crash.plan import RANDOM, Kill, Operation, Target
from lockstep.api.server import serve
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import LockstepError, Unavailable
from lockstep.failpoints import arm
from lockstep.settings import load_settings

RECOVERY_S = 30.0
_POLL_S = 0.05


def run_worker(
    root: Path,
    corpus: str,
    operations: Sequence[Operation],
    kill: Kill,
    broken: str | None,
    connection: Connection,
) -> None:
    """Do the operations one after the other, and say so before and after each."""
    sabotage.apply(broken)
    _arm(kill)
    try:
        with open_workspace(root, command="lockstep crash worker") as workspace:
            for number, operation in enumerate(operations):
                connection.send(_done(workspace, corpus, number, operation, connection))
                if kill.target is not Target.PROCESS:
                    _await_parts(workspace, corpus)
    except BaseException as error:
        if kill.target is Target.PROCESS or not isinstance(error, Unavailable):
            connection.send(Event(-1, Outcome.BROKEN, {"error": traceback.format_exc()}))


def _done(
    workspace: Workspace,
    corpus: str,
    number: int,
    operation: Operation,
    connection: Connection,
) -> Event:
    begun: Facts = {}
    with suppress(LockstepError):  # the operation itself will run into it too
        begun = intent(workspace, corpus, operation)
    connection.send(Event(number, Outcome.BEGUN, begun))
    try:
        return Event(number, Outcome.DONE, perform(workspace, corpus, operation, begun))
    except LockstepError as error:
        return failed(number, error)


def _await_parts(workspace: Workspace, corpus: str) -> None:
    """Wait until database and store answer again: they may be being restarted."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            workspace.corpora.info(corpus)
            workspace.store.aliases()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_S)  # between two tries


def run_server(
    root: Path, log: Path, kill: Kill, broken: str | None, connection: Connection
) -> None:
    """Serve the workspace on a free port; the URL is the first thing that is said."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stderr.fileno())
    sabotage.apply(broken)
    threading.Thread(target=_end_with_harness, daemon=True).start()

    def ready(url: str) -> None:
        connection.send(url)
        _arm(kill)

    serve(load_settings(root), on_ready=ready)


def _end_with_harness() -> None:
    harness = os.getppid()
    while os.getppid() == harness:
        time.sleep(1.0)
    os._exit(1)


def _arm(kill: Kill) -> None:
    if kill.point == RANDOM:
        return
    passed = count(1)

    def die(name: str) -> None:
        if name == kill.point and next(passed) == kill.nth:
            os.kill(os.getpid(), signal.SIGKILL)

    arm(die)
