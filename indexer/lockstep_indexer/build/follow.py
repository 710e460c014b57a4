"""Brings the index versions that follow a corpus's change log up to date, right here."""

import time
from dataclasses import dataclass

from lockstep.bootstrap import Workspace
from lockstep.errors import CollectionInUse, LeaseHeld, NoLiveIndex
from lockstep.index.applier import Progress
from lockstep.index.generation import Generation
from lockstep.index.versions import FOLLOWING, IndexVersion
from lockstep_indexer.build.reindex import Listener

# A server applies new changes within a second; a probe holds a version for longer.
WAIT_S = 5.0
POLL_S = 0.1


@dataclass(frozen=True)
class Followed:
    """What became of one index version."""

    version: IndexVersion
    progress: Progress | None = None  # None: there was nothing to apply, or another does it
    left_to: str = ""  # names the process that has it open and so applies the changes itself
    lag: int = 0  # changes that are not applied yet


def bring_up_to_date(
    workspace: Workspace, corpus: str, *, listener: Listener | None = None
) -> list[Followed]:
    """Apply the log's new changes to the live version, then to the retired ones.

    A version that another process has open (a server) is left to that process. An empty list
    where nothing is live.
    """
    try:
        live = workspace.rollouts.live(corpus)
    except NoLiveIndex:
        return []
    versions = workspace.catalog.in_state(corpus, *FOLLOWING)
    return [
        _follow(workspace, version, listener or Listener())
        for version in sorted(versions, key=lambda version: version.number != live.number)
    ]


def _follow(workspace: Workspace, version: IndexVersion, listener: Listener) -> Followed:
    deadline, left_to = time.monotonic() + WAIT_S, ""
    while lag := workspace.applier.lag(version.corpus, version.number):
        if not left_to:
            listener.stage(f"updating index {version.label}")
        try:
            workspace.store.count(version.collection)  # refused where a server has it open
            # Loaded before the lease is taken: nobody who could apply sooner has to wait for it.
            generation = Generation.load(version, workspace.encoders)
            with workspace.leases.hold(version.collection) as lease:
                progress = workspace.applier.apply(generation, lease, report=listener.progress)
            return Followed(version, progress, lag=progress.head_seq - progress.applied_seq)
        except (CollectionInUse, LeaseHeld) as error:
            left_to = error.message
            if time.monotonic() > deadline:
                return Followed(version, left_to=left_to, lag=lag)
            time.sleep(POLL_S)
    return Followed(version, left_to=left_to)
