"""One call by either client, against a server that answers by a script."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from lockstep.client import AsyncClient, Client

HIT: dict[str, Any] = {
    "id": "p1",
    "document_id": "a",
    "score": 0.5,
    "title": "Tea",
    "text": "Tea.",
    "metadata": {"language": "en"},
}
ANSWER: dict[str, Any] = {
    "hits": [HIT],
    "index_version": "docs--v0001",
    "model_version": "tiny@1",
    "took_ms": {"encode": 1.0, "search": 1.0, "total": 2.0},
}

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random part of waits is short."""
    monkeypatch.setattr("lockstep.client.retries._LONGEST_WAIT_S", 0.02)


def ask_sync(url: str, method: str = "search", *arguments: Any, **options: Any) -> Any:
    with Client(url, **options) as client:
        return getattr(client, method)(*(arguments or ("docs", "tea")))


def ask_async(url: str, method: str = "search", *arguments: Any, **options: Any) -> Any:
    async def ask() -> Any:
        async with AsyncClient(url, **options) as client:
            return await getattr(client, method)(*(arguments or ("docs", "tea")))

    return anyio.run(ask)


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Call a method of a client; by default a search."""
    chosen: Ask = request.param
    return chosen
