"""One life: a process is started, does operations, and is killed on the way."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

import psutil
from actions import fork_server

from crash.events import Event, Outcome
from crash.plan import RANDOM, Life, Process, Target
from crash.processes import run_server, run_worker
from crash.serving import Client
from crash.stage import Stage

# A life that takes longer hangs.
LIFE_S = 120.0
_LOOK_S = 0.005


@dataclass(frozen=True)
class Lived:
    """What a life said, and how it ended."""

    events: list[Event]
    killed: bool  # it, or a part under it
    answers: set[tuple[str, str]] = field(default_factory=set)  # by searches beside the operations


def live(stage: Stage, life: Life, chance: random.Random, *, broken: str | None) -> Lived:
    """Live a life to its end; `broken` names a sabotage."""
    killer = _Killer(stage, life, chance)
    if life.process is Process.SERVER:
        return _by_server(stage, life, killer, broken)
    return _by_worker(stage, life, killer, broken)


class _Killer:
    """Kills what the plan says once its moment has come; at a failpoint the process does it."""

    def __init__(self, stage: Stage, life: Life, chance: random.Random) -> None:
        self._stage = stage
        self._kill = life.kill
        self._immediate = chance.random() < 0.5
        self._begun = 0
        self._due: float | None = None
        self.killed = False

    def begun(self) -> None:
        """An operation has begun."""
        self._begun += 1
        if self._kill.point == RANDOM and self._begun == self._kill.after:
            self._due = time.monotonic() + self._kill.delay_s

    def look(self, process: ForkServerProcess) -> None:
        """Kill, if it is time."""
        if self.killed or self._due is None or time.monotonic() < self._due:
            return
        match self._kill.target:
            case Target.PROCESS:
                process.kill()
                self.killed = True
            case Target.DATABASE:
                self._stage.kill_database(immediate=self._immediate)
                self.killed = True
            case Target.ENGINE if self._stage.stand_in is not None:
                self._stage.kill_stand_in()
                self.killed = True
            case Target.ENGINE:
                self.killed = _kill_engine(process)


def _kill_engine(process: ForkServerProcess) -> bool:
    """Kill the processes that hold embedded collections, if there are any now."""
    killed = False
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.NoSuchProcess):
                child.kill()
                killed = True
    return killed


def _by_worker(stage: Stage, life: Life, killer: _Killer, broken: str | None) -> Lived:
    arguments = (stage.root, stage.corpus, life.operations, life.kill, broken)
    process, ours = _start(run_worker, *arguments)
    events: list[Event] = []
    for event in _heard(ours, lambda: killer.look(process)):
        events.append(event)
        if event.outcome is Outcome.BEGUN:
            killer.begun()
    events += _hanging(process)
    return Lived(events, killer.killed or process.exitcode == -9)


def _by_server(stage: Stage, life: Life, killer: _Killer, broken: str | None) -> Lived:
    log = stage.root / "server.log"
    log.unlink(missing_ok=True)
    process, ours = _start(run_server, stage.root, log, life.kill, broken)
    url = next(_heard(ours, lambda: None), None)
    if url is None:
        process.kill()
        return Lived([_broken(f"The server did not start:\n{log.read_text()[-4000:]}")], False)
    client = Client(
        url,
        stage.corpus,
        parts_may_fail=life.kill.target is not Target.PROCESS,
        begun=killer.begun,
    )
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(killer, process, over))
    watch.start()
    try:
        survived = client.run(life.operations)
    finally:
        over.set()
        watch.join()
        process.kill()
        process.join()
    # One that was to die at a random moment has died now, after its last answer.
    at_random = life.kill.target is Target.PROCESS and life.kill.point == RANDOM
    killed = killer.killed or not survived or at_random
    return Lived(client.events, killed, client.answers)


def _watch(killer: _Killer, process: ForkServerProcess, over: threading.Event) -> None:
    while not over.wait(_LOOK_S):
        killer.look(process)


def _start(target: Callable[..., None], *arguments: Any) -> tuple[ForkServerProcess, Connection]:
    """A process, and the end of a pipe on which it is heard."""
    processes = fork_server()
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()  # so that the end of the process ends the pipe
    return process, ours


def _heard(ours: Connection, look: Callable[[], None]) -> Iterator[Any]:
    """What the process says until it ends or hangs; `look` is called in between."""
    deadline = time.monotonic() + LIFE_S
    with ours, suppress(EOFError, ConnectionResetError):
        while time.monotonic() < deadline:
            look()
            if ours.poll(_LOOK_S):
                yield ours.recv()


def _hanging(process: ForkServerProcess) -> list[Event]:
    process.join(5)
    if process.exitcode is not None:
        return []
    process.kill()
    process.join()
    return [_broken(f"The process did not end within {LIFE_S:g} s.")]


def _broken(error: str) -> Event:
    return Event(-1, Outcome.BROKEN, {"error": error})
