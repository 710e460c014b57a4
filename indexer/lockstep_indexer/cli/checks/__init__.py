"""What `lockstep doctor` looks at. Every check reads; none changes anything.

The one exception: a database that has no tables yet, or older ones, is brought up to date when the
workspace is opened, as by every other command. A check that fails leaves out only what needs the
part that failed.
"""

from collections.abc import Callable, Iterator
from functools import partial

from lockstep.bootstrap import Workspace, assemble, open_store
from lockstep.errors import LockstepError
from lockstep.settings import Settings
from lockstep_indexer.cli.checks import catalog, indexes, machine, processes, storage
from lockstep_indexer.cli.checks.check import Check, Level, failed, good

__all__ = ["Check", "Level", "check_all"]


def check_all(settings: Settings, command: str, corpus: str | None = None) -> Iterator[Check]:
    """Look at a workspace, part by part; `corpus` limits the indexes that are probed."""
    yield good("workspace", str(settings.root))
    yield from _guarded("packages", machine.packages)
    yield machine.disk(settings)
    yield from machine.trainings(settings)
    yield from machine.evaluations(settings)
    yield from machine.token_cache(settings)
    found = list(_guarded("database", partial(storage.database, settings)))
    yield from found
    if any(check.level is Level.BAD for check in found):
        yield from _store_alone(settings, command)
        return
    try:
        workspace = assemble(settings, command=command)
    except LockstepError as error:
        yield failed("vector store", error)
        return
    with workspace:
        yield from _workspace(workspace, corpus)


def _workspace(workspace: Workspace, corpus: str | None) -> Iterator[Check]:
    store = workspace.store
    yield from storage.vector_store(workspace.settings, store)
    yield from _guarded("models", partial(storage.models, workspace))
    yield from _guarded("leases", partial(processes.leases, workspace))
    try:
        collections, aliases = store.collections(), store.aliases()
    except LockstepError:
        return  # said above; what follows compares with it
    yield from _guarded("catalog", partial(catalog.catalog, workspace, collections, aliases))
    yield from _guarded("servers", partial(processes.replicas, workspace, aliases))
    for version in catalog.in_use(workspace):
        if version.collection in collections and corpus in (None, version.corpus):
            yield from indexes.index(workspace, version)


def _store_alone(settings: Settings, command: str) -> Iterator[Check]:
    """Without a database nothing can be compared, but the vector store can be reached or not."""
    try:
        store = open_store(settings, command)
    except LockstepError as error:
        yield failed("vector store", error)
        return
    try:
        yield from storage.vector_store(settings, store)
    finally:
        store.close()


def _guarded(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """What a part says; where it fails, that, and the parts after it are looked at all the same."""
    try:
        yield from check()
    except LockstepError as error:
        yield failed(name, error)
