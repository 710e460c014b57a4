"""What dropping index versions would free, and what it freed."""

from lockstep.bootstrap import Workspace
from lockstep.index.versions import IndexVersion, State
from lockstep.settings import Settings

_STAYS = frozenset({State.LIVE, State.CANDIDATE, State.DROPPED})


def droppable(workspace: Workspace, corpus: str) -> list[IndexVersion]:
    """The versions that a drop would take, unless a process is building one of them just then."""
    workspace.rollouts.reconcile(corpus)
    return [v for v in workspace.catalog.versions(corpus) if v.state not in _STAYS]


def used_bytes(settings: Settings, collection: str | None = None) -> int | None:
    """What the embedded indexes take on disk, sparse files counted as they are; None on a server.

    `collection` names one; otherwise all of them count.
    """
    if settings.store_url:
        return None
    folder = settings.data / "index" / "collections"
    files = (folder / collection if collection else folder).rglob("*")
    total = 0
    for file in files:
        try:
            status = file.lstat()
        except FileNotFoundError:  # another process just dropped it
            continue
        total += status.st_blocks * 512
    return total
