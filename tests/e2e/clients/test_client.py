"""The Python client against a running server."""

from collections.abc import Iterator
from itertools import islice

import anyio
import pytest
from server_process import until

from lockstep.client import (
    AsyncClient,
    Client,
    Conflicting,
    Missing,
    RequestInvalid,
    SearchOptions,
    SearchResponse,
    ServerUnreachable,
)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, timeout_s=30) as client:
        yield client


def test_a_search_is_typed_and_its_options_count(client: Client) -> None:
    answer = client.search(
        "docs",
        "red river",
        limit=3,
        mode="lexical",
        filter={"must": [{"key": "parity", "match": {"value": 1}}]},
        explain=True,
    )
    assert len(answer.hits) == 3
    assert {hit.metadata["parity"] for hit in answer.hits} == {1}
    assert all(hit.explain for hit in answer.hits)
    assert (answer.index_version, answer.model_version) == ("docs--v0001", "tiny@1")
    assert answer.took_ms.total > 0
    assert answer.search_id is not None
    client.feedback("docs", answer.search_id, answer.hits[0].document_id)
    assert client.search("docs", "red", index_version=2).index_version == "docs--v0002"


def test_both_clients_find_the_same(url: str, client: Client) -> None:
    async def ask() -> list[SearchResponse]:
        async with AsyncClient(url, timeout_s=30) as asked:
            found: list[SearchResponse] = []

            async def one(query: str) -> None:
                found.append(await asked.search("docs", query, limit=4))

            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(one, "green cloud")
            return found

    here = client.search("docs", "green cloud", limit=4)
    for there in anyio.run(ask):
        assert there.hits == here.hits


def test_documents_are_written_read_and_deleted(client: Client) -> None:
    odd = "odd/../ä ?#"
    written = client.upsert("docs", [{"id": odd, "text": "A zeppelin.", "title": None}], wait_s=20)
    assert (written.added, written.indexed) == (1, "yes")
    assert client.get("docs", odd).text == "A zeppelin."
    assert client.search("docs", "zeppelin", mode="lexical").hits[0].document_id == odd
    assert client.delete("docs", [odd, "never there"]).missing == 1
    with pytest.raises(Missing, match="odd") as raised:
        client.get("docs", odd)
    assert raised.value.request_id


def test_corpora_and_versions(client: Client) -> None:
    (docs,) = client.corpora()
    assert (docs.name, docs.live) == ("docs", "docs--v0001")
    detail = client.corpus("docs")
    until(lambda: client.corpus("docs").versions == client.versions("docs"))  # equal lags
    assert [version.state for version in detail.versions] == ["live", "candidate"]


def test_the_server_says_what_is_wrong(client: Client) -> None:
    with pytest.raises(RequestInvalid, match="limit") as raised:
        client.search("docs", "tea", limit=-1)
    assert raised.value.status == 422
    with pytest.raises(RequestInvalid, match="Unknown field 'limmit'"):
        client.search("docs", "tea", limmit=1)  # type: ignore[call-arg]
    with pytest.raises(Missing, match="dcos"):
        client.search("dcos", "tea")


def test_a_swap_and_back(url: str) -> None:
    with Client(url) as client:
        swap = client.promote("docs", 2, reason="a test", force=True)
        assert (swap.live.number, swap.changed) == (2, True)
        assert client.rollback("docs", reason="a test").live.number == 1
        with pytest.raises(Conflicting):
            client.rollback("docs")


def test_nobody_listens() -> None:
    with (
        Client("http://127.0.0.1:9", retries=1) as client,
        pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:9"),
    ):
        client.corpora()


def test_pages_go_on_where_the_last_one_ended(client: Client) -> None:
    whole = client.search("docs", "red river", limit=15)
    pages = list(islice(client.pages("docs", "red river", limit=5), 3))
    ids = [hit.document_id for page in pages for hit in page.hits]
    assert ids == [hit.document_id for hit in whole.hits]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group_by", {"field": "parity", "size": 1}),
        ("score_threshold", 0.0),
        ("diversity", {"relevance": 0.5, "candidates": 20}),
        ("fusion", {"method": "rrf", "k": 60, "weights": {"dense": 1.0, "lexical": 1.0}}),
        ("prefilter", False),
        ("traffic_key", "somebody"),
    ],
)
def test_an_option_arrives(client: Client, name: str, value: object) -> None:
    options: SearchOptions = {name: value}  # type: ignore[misc]
    assert client.search("docs", "red river", **options).hits


def test_facets_and_boosts_are_typed(client: Client) -> None:
    answer = client.search(
        "docs",
        "red river",
        limit=2,
        explain=True,
        facets=[{"field": "parity", "limit": 2}],
        boosts=[{"kind": "popularity", "field": "parity", "midpoint": 1.0, "weight": 9.0}],
    )
    counts = (answer.facets or {})["parity"]
    assert sorted((count.value, count.count) for count in counts) == [(0, 30), (1, 30)]
    assert [hit.metadata["parity"] for hit in answer.hits] == [1, 1]
    assert all(hit.boosts for hit in answer.hits)


def test_highlights_are_typed(client: Client) -> None:
    answer = client.search("docs", "red river", limit=1, highlight={"sentences": 1})
    (hit,) = answer.hits
    (sentence,) = hit.highlights or []
    assert hit.text[sentence.start : sentence.end] == sentence.text


def test_more_like_a_document_and_a_batch(client: Client) -> None:
    similar = client.similar("docs", "doc-3", limit=3)
    assert "doc-3" not in [hit.document_id for hit in similar.hits]
    both = client.search_batch("docs", [{"query": "red"}, {"query": "blue", "limit": 2}])
    assert [answer.index_version for answer in both] == ["docs--v0001"] * 2
    assert len(both[1].hits) == 2
