"""A folder of the workspace for what an evaluation builds and throws away."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockstep.bootstrap import open_store
from lockstep.claimed_folder import abandoned, claimed_folder, sweep
from lockstep.settings import Settings
from lockstep.store.port import VectorStore
from lockstep_indexer.build.reclaim import folder_bytes, used_bytes

FOLDER = "evaluation"


@dataclass(frozen=True)
class Scratch:
    """A folder, and an embedded vector store in it, whatever engine the workspace uses."""

    settings: Settings  # as if the folder were a workspace
    store: VectorStore

    @property
    def folder(self) -> Path:
        return self.settings.root

    def size(self, collection: str) -> int:
        """The bytes that a collection takes on disk."""
        return used_bytes(self.settings, collection) or 0


@contextmanager
def scratch(settings: Settings) -> Iterator[Scratch]:
    """Gone at the end of the block, however it ends; a killed run's goes with the next one."""
    with claimed_folder(settings.data / FOLDER) as folder:
        inside = settings.model_copy(update={"root": folder, "store_url": ""})
        with closing(open_store(inside, "lockstep evaluate")) as store:
            yield Scratch(inside, store)


def left_behind(settings: Settings) -> int:
    """The bytes that killed evaluations left."""
    return sum(folder_bytes(path) for path in abandoned(settings.data / FOLDER))


def clear(settings: Settings, *, dry_run: bool) -> int:
    """Remove what killed evaluations left; its bytes."""
    size = left_behind(settings)
    if not dry_run:
        sweep(settings.data / FOLDER)
    return size
