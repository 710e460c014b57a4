"""The product broken on purpose, in the process that is killed: the harness must notice.

Nothing of this exists in the product. A harness that has never found anything proves nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lockstep.bootstrap import Workspace
from lockstep.corpus.change_log import Corpora
from lockstep.index.applier import Applier
from lockstep.index.catalog import IndexCatalog
from lockstep.index.rollouts import Rollouts
from lockstep.store.edge import EdgeStore


def apply(name: str | None) -> None:
    """Break this process in one way; None leaves it whole."""
    if name is not None:
        _WAYS[name]()


def names() -> list[str]:
    return sorted(_WAYS)


def _checkpoint_before_the_points() -> None:
    original = Applier._write

    def early(self: Applier, generation: Any, built: Any, lease: Any) -> None:
        self.catalog.checkpoint(generation.version, built.changes[-1].seq, lease)
        original(self, generation, built, lease)

    # The fault that the crash harness has to find.
    Applier._write = early  # type: ignore[method-assign]


def _deletes_skipped() -> None:
    def nothing(self: EdgeStore, collection: str, filter: Any) -> None: ...

    EdgeStore.delete = nothing  # type: ignore[method-assign]


def _alias_after_the_catalog() -> None:
    original = Rollouts._swap

    def late(self: Rollouts, version: Any, *arguments: Any) -> Any:
        self.catalog.set_live(version.corpus, version.number)
        return original(self, version, *arguments)

    Rollouts._swap = late  # type: ignore[assignment,method-assign]


def _write_acknowledged_before_it_is_kept() -> None:
    original = Corpora.write
    turns = iter(range(10**9))

    def forgetful(self: Corpora, name: str, upserts: Any = (), deletes: Any = ()) -> Any:
        if next(turns) % 3 == 2:
            return original(self, name, (), ())
        return original(self, name, upserts, deletes)

    Corpora.write = forgetful  # type: ignore[method-assign]


def _history_not_written() -> None:
    original = IndexCatalog.record

    def half(self: IndexCatalog, corpus: str, step: str, outcome: str, **more: Any) -> None:
        if outcome != "done":
            original(self, corpus, step, outcome, **more)

    IndexCatalog.record = half  # type: ignore[method-assign]


def _answers_name_another_model() -> None:
    original = Workspace.search

    def mixed(self: Workspace, *arguments: Any) -> Any:
        return replace(original(self, *arguments), model_version="tiny@9")

    Workspace.search = mixed  # type: ignore[assignment,method-assign]


_WAYS: dict[str, Callable[[], None]] = {
    "checkpoint before the points": _checkpoint_before_the_points,
    "deletes skipped": _deletes_skipped,
    "alias after the catalog": _alias_after_the_catalog,
    "write acknowledged before it is kept": _write_acknowledged_before_it_is_kept,
    "history not written": _history_not_written,
    "answers name another model": _answers_name_another_model,
}
