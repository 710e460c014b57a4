"""What is sent, and how answers are read, those of newer servers too."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from scripted_server import Reply, ScriptedServer

import lockstep.client
from lockstep.client import AsyncClient, Client, SearchResponse
from lockstep.errors import InvalidInput

from .conftest import ANSWER, HIT

SOURCE = str(Path(lockstep.client.__file__).parents[2])
HEAVY = (
    "torch",
    "sentence_transformers",
    "transformers",
    "qdrant_client",
    "qdrant_edge",
    "fastapi",
)


def page(name: str, cursor: str | None) -> Reply:
    return Reply(body={**ANSWER, "hits": [{**HIT, "document_id": name}], "next_cursor": cursor})


def test_importing_the_client_loads_nothing_heavy() -> None:
    program = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); import lockstep.client; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_fields_of_a_newer_server_are_kept() -> None:
    newer = {**ANSWER, "mood": "good", "hits": [{**HIT, "colour": "red"}]}
    with ScriptedServer(Reply(body=newer)) as server, Client(server.url) as client:
        answer = client.search("docs", "tea")
    assert answer.model_extra == {"mood": "good"}
    assert answer.hits[0].model_extra == {"colour": "red"}
    assert answer.version_of(answer.hits[0]) == "docs--v0001"


def test_pages_follow_the_cursor_and_send_the_same_search() -> None:
    script = (page("a", "c1"), page("b", "c2"), page("c", None))
    with ScriptedServer(*script) as server, Client(server.url) as client:
        pages = client.pages("docs", "tea", limit=1, offset=4, mode="dense")
        assert [found.hits[0].document_id for found in pages] == ["a", "b", "c"]
    same = {"query": "tea", "limit": 1, "mode": "dense"}
    assert [request.body for request in server.requests] == [
        {**same, "offset": 4},
        {**same, "cursor": "c1"},
        {**same, "cursor": "c2"},
    ]


def test_pages_of_the_async_client() -> None:
    async def ask(url: str) -> list[SearchResponse]:
        async with AsyncClient(url) as client:
            return [found async for found in client.pages("docs", "tea")]

    with ScriptedServer(
        page("a", "c1"), Reply(body={**ANSWER, "hits": [], "next_cursor": "c2"})
    ) as (server):
        pages = anyio.run(ask, server.url)
    assert [len(found.hits) for found in pages] == [1, 0]  # nothing follows an empty page


@pytest.mark.parametrize("document_id", ["a/b", "..", "ä ?#%2F", "a\nb"])
def test_any_id_reaches_the_path_as_it_is(document_id: str) -> None:
    with (
        ScriptedServer(Reply(404, {"status": 404, "title": "No"})) as server,
        Client(server.url + "/") as client,
        pytest.raises(lockstep.client.Missing),
    ):
        client.get("docs", document_id)
    path = server.requests[0].line.split()[1]
    assert path.startswith("/v1/corpora/docs/documents/")
    assert path.count("/") == 5
    assert ".." not in path


def test_what_was_not_chosen_is_not_sent() -> None:
    with ScriptedServer(Reply(body=ANSWER)) as server, Client(server.url) as client:
        client.similar("docs", "a17", filter=None, highlight=False)
    assert server.requests[0].body == {"like": "a17", "highlight": False}


def test_embeddings_come_in_the_order_of_the_texts() -> None:
    data = [{"object": "embedding", "index": n, "embedding": [float(n)]} for n in (1, 0)]
    reply = Reply(body={"object": "list", "data": data, "model": "docs", "usage": {}})
    with ScriptedServer(reply) as server, Client(server.url) as client:
        assert client.embeddings(["a", "b"], model="docs").vectors == [[0.0], [1.0]]
        client.embeddings("a", model="docs")
    assert [request.body for request in server.requests] == [
        {"input": ["a", "b"], "model": "docs"},
        {"input": "a", "model": "docs"},
    ]


def test_what_json_cannot_carry_is_refused() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(InvalidInput, match="cannot be written as JSON"),
    ):
        client.search("docs", "tea", score_threshold=float("nan"))


def test_an_item_that_is_no_dict_is_named() -> None:
    with Client("http://127.0.0.1:9") as client:
        with pytest.raises(InvalidInput, match=r"searches\[0\] is 'tea'; expected a dict like"):
            client.search_batch("docs", ["tea"])  # type: ignore[list-item]
        with pytest.raises(InvalidInput, match=r"documents\[1\] is 'tea'"):
            client.upsert("docs", [{"id": "a", "text": "b"}, "tea"])  # type: ignore[list-item]
