"""Serving: what is let go of, and when."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.errors import ProbeFailed, Unavailable
from lockstep.index import serving as module
from lockstep.index.serving import Serving
from lockstep.store.deadline import within

COLLECTION = "docs--v0002"
VERSION: Any = SimpleNamespace(corpus="docs", number=2, collection=COLLECTION)


class Store:
    def __init__(self) -> None:
        self.released: list[str] = []

    def release(self, collection: str) -> None:
        self.released.append(collection)


def prepare(version: Any) -> None:
    pass


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def serving(store: Store, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Whose generations load at once."""
    nothing: Any = None
    any_store: Any = store
    loaded = SimpleNamespace(version=VERSION, collection=COLLECTION, name="docs v2")
    serving = Serving(nothing, nothing, any_store, nothing)
    monkeypatch.setattr(serving, "_load", lambda version, prepare: loaded)
    return serving


def test_a_version_that_cannot_be_exposed_is_let_go_of(
    serving: Serving, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(version: Any, prepare: Any) -> None:
        raise ProbeFailed("Its vectors are of another model.")

    monkeypatch.setattr(serving, "_load", fail)

    with pytest.raises(ProbeFailed):
        serving.expose(VERSION, prepare)

    assert store.released == [COLLECTION]


def test_what_is_withdrawn_is_let_go_of_at_once(serving: Serving, store: Store) -> None:
    serving.expose(VERSION, prepare)
    serving.withdraw("docs")
    assert store.released == [COLLECTION]


def test_what_a_search_has_pinned_is_let_go_of_a_while_after_it_was_withdrawn(
    serving: Serving, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That search may open it again after the withdrawal."""
    serving.expose(VERSION, prepare)
    assert serving.pinned("docs", 2).collection == COLLECTION

    serving.withdraw("docs")
    serving.end_previews()
    assert store.released == []
    monkeypatch.setattr(module, "PREVIEW_S", -1.0)
    serving.end_previews()

    assert store.released == [COLLECTION]


def test_a_search_waits_for_its_first_generation_no_longer_than_its_deadline(
    serving: Serving,
) -> None:
    serving.followed = True
    lock = serving._locks.setdefault("docs", threading.Lock())
    with lock, within(0.01), pytest.raises(Unavailable, match="is being loaded"):
        serving.current("docs")
