"""What a server keeps running behind its routes: the workspace, its follower, trials, upkeep."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from lockstep.api.key_ring import KeyRing
from lockstep.api.latest import Latest
from lockstep.bootstrap import Workspace, assemble
from lockstep.corpus.log_writer import LogWriter
from lockstep.errors import CollectionInUse, LockstepError, Unavailable
from lockstep.index.follower import Follower
from lockstep.index.generation import Generation
from lockstep.index.rollouts import Swap
from lockstep.index.trial_watch import TrialWatch
from lockstep.index.upkeep import Upkeep
from lockstep.search.shadow import Quiet, Shadow
from lockstep.search.traffic import Traffic
from lockstep.settings import Settings

logger = logging.getLogger(__name__)

# A command may have an index open for a moment; a process that keeps it longer is a server.
IN_USE_WAIT_S = 5.0
# A promoted index may still be open in the command that built it, and its model must be loaded.
TAKEOVER_WAIT_S = 60.0
_POLL_S = 0.1
MAX_WAITING = 64


@dataclass(frozen=True)
class Running:
    """An open workspace, and the threads that follow its aliases, change logs and trials."""

    workspace: Workspace
    follower: Follower
    traffic: Traffic
    keys: KeyRing
    # Writers that wait have threads of their own, so that they never hold up searches.
    waiters: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(MAX_WAITING))
    # The corpora of the workspace; whoever only looks must not wait for a silent database.
    names: Latest[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", Latest(self.workspace.corpora.names))

    def generation(self, corpus: str) -> Generation | None:
        """The generation that answers the searches of a corpus, if one is loaded."""
        loaded = self.workspace.serving.loaded()
        return next((g for g in loaded if g.version.corpus == corpus), None)

    def take_over(self, swap: Swap) -> Generation:
        """Answer from the version that a promotion or rollback has made live.

        Raises Unavailable where this server cannot, and goes on answering from the one before.
        """
        self.follower.wake()
        serving = self.workspace.serving
        deadline = time.monotonic() + TAKEOVER_WAIT_S
        while True:
            generation = serving.refresh(swap.corpus, prepare=self.follower.apply)
            if generation.collection == self.workspace.store.aliases().get(swap.corpus):
                return generation  # this swap's version, or that of a later swap
            failure = serving.failure(swap.corpus)
            if (failure is not None and not failure.in_use) or time.monotonic() > deadline:
                raise _not_taken_over(swap, generation, failure.message if failure else "")
            time.sleep(_POLL_S)


def _not_taken_over(swap: Swap, generation: Generation, reason: str) -> Unavailable:
    return Unavailable(
        f"{swap.live.collection} is live now, but this server goes on answering from "
        f"{generation.collection}: {reason or 'it took too long to load'}",
        next_step="Mend that and promote it again, or roll back; /readyz says how it stands.",
    )


@contextmanager
def run_parts(settings: Settings) -> Iterator[Running]:
    """Open the workspace and follow it until the block ends.

    Raises CollectionInUse where another server has the embedded index open.
    """
    with assemble(settings, command="lockstep serve") as workspace:
        _load_generations(workspace)
        follower = workspace.follower()
        with ExitStack() as stack:
            keys = KeyRing(workspace.keys.in_use)
            keys.start()
            stack.callback(keys.stop)
            if (local_key := settings.resolved_local_key()) is not None:
                keys.admit_commands(local_key)
            follower.start()
            stack.callback(follower.stop)
            traffic = _traffic(workspace, follower)
            upkeep = Upkeep(workspace.serving)
            for part in (traffic.log, traffic.shadow, traffic.watch, upkeep):
                part.start()
                stack.callback(part.stop)
            yield Running(workspace, follower, traffic, keys)


def _traffic(workspace: Workspace, follower: Follower) -> Traffic:
    quiet = Quiet()
    return Traffic(
        serving=workspace.serving,
        store=workspace.store,
        watch=TrialWatch(workspace.trials, workspace.serving, follower.apply),
        shadow=Shadow(workspace.store, quiet, workspace.rerankers),
        quiet=quiet,
        log=LogWriter(workspace.query_log),
        rerankers=workspace.rerankers,
    )


def _load_generations(workspace: Workspace) -> None:
    """Load what is live. A corpus in trouble keeps no other from being served; /readyz tells."""
    for corpus in sorted(served_corpora(workspace)):
        try:
            _load(workspace, corpus)
        except CollectionInUse:
            raise
        except LockstepError as error:
            logger.error("cannot serve '%s': %s", corpus, error)


def _load(workspace: Workspace, corpus: str) -> None:
    deadline = time.monotonic() + IN_USE_WAIT_S
    while True:
        try:
            workspace.serving.refresh(corpus)
            return
        except CollectionInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def served_corpora(workspace: Workspace) -> dict[str, str]:
    """The live collection of every corpus of this workspace that has one."""
    known = set(workspace.corpora.names())
    return {corpus: name for corpus, name in workspace.store.aliases().items() if corpus in known}


async def _running(request: Request) -> Running:
    running: Running = request.app.state.running
    return running


RunningDep = Annotated[Running, Depends(_running)]
