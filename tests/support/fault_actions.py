"""What the processes do that are frozen, have a wrong clock, or lose their database."""

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.ingest import ingest
from lockstep.errors import LockstepError
from lockstep.failpoints import arm
from lockstep.index.leases import Leases
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import State
from lockstep_indexer.build.follow import bring_up_to_date
from lockstep_indexer.build.reindex import reindex

SHORT_LEASE_S = 1.0


def with_short_leases(workspace: Workspace) -> None:
    """Leases that run out soon, for tests that wait for it."""
    for leases in {id(each): each for each in _leases(workspace)}.values():
        leases._ttl_s = SHORT_LEASE_S


def _leases(workspace: Workspace) -> list[Leases]:
    return [workspace.leases, workspace.rollouts.leases]


def follow_and_freeze(root: Path, corpus: str, point: str, said: Connection) -> None:
    """Apply what is new, and freeze at a failpoint until somebody sends SIGCONT; says how it ended.

    What is said is the name of an error, or "done".
    """

    def freeze(name: str) -> None:
        if name == point:
            arm(None)
            said.send("frozen")
            os.kill(os.getpid(), signal.SIGSTOP)

    with open_workspace(root) as workspace:
        with_short_leases(workspace)
        arm(freeze)
        try:
            bring_up_to_date(workspace, corpus)
        except LockstepError as error:
            said.send(type(error).__name__)
        else:
            said.send("done")


def operate(root: Path, corpus: str, shift_s: float, turns: int, said: Connection) -> None:
    """Promote and roll back in turn by a clock that is wrong by `shift_s`; says each outcome."""
    _shift_clock(shift_s)
    with open_workspace(root) as workspace:
        for turn in range(turns):
            try:
                if turn % 2 == 0:
                    candidates = workspace.catalog.in_state(corpus, State.CANDIDATE, State.RETIRED)
                    number = candidates[turn % len(candidates)].number
                    live = workspace.rollouts.promote(corpus, number).live.number
                else:
                    live = workspace.rollouts.rollback(corpus).live.number
            except LockstepError as error:
                said.send((type(error).__name__, str(error)))
            else:
                said.send(("done", live))


def build_by_clock(root: Path, corpus: str, ref: str, shift_s: float, said: Connection) -> None:
    """Reindex by a clock that is wrong; says how it ended."""
    _shift_clock(shift_s)
    with open_workspace(root) as workspace:
        try:
            reindex(workspace, corpus, workspace.models.resolve(ref), SpecOptions())
        except LockstepError as error:
            said.send((type(error).__name__, str(error)))
        else:
            said.send(("done", ""))


def _shift_clock(shift_s: float) -> None:
    honest = time.time
    time.time = lambda: honest() + shift_s


def promote_and_wait_at(
    root: Path, corpus: str, number: int, point: str, heard: Connection, said: Connection
) -> None:
    """Promote, but wait at a failpoint until something is heard; says how it ended."""

    def wait(name: str) -> None:
        if name == point:
            arm(None)
            said.send("waiting")
            heard.recv()

    with open_workspace(root) as workspace:
        arm(wait)
        try:
            workspace.rollouts.promote(corpus, number)
        except LockstepError as error:
            said.send(type(error).__name__)
        else:
            said.send("done")


def ingest_saying(url_of: Path, corpus: str, file: Path, said: Connection) -> None:
    """Ingest a file in small batches; says how many documents are written after each."""
    with open_workspace(url_of) as workspace:
        report = ingest(
            workspace.corpora,
            corpus,
            [file],
            batch_documents=50,
            progress=lambda progress: said.send(progress.documents),
        )
        said.send(("done", report.added + report.unchanged))
